/** The protocol version that sessions are opened with. */
export const VERSION = '2025-11-25';

/** The next protocol version, without sessions: each request names its client. */
export const MODERN_VERSION = '2026-07-28';

export const LIST_CHANGED = 'notifications/tools/list_changed';

const CLIENT = { name: 'bench-client', version: '1.0.0' };

export const INITIALIZE = {
  jsonrpc: '2.0',
  method: 'initialize',
  params: { protocolVersion: VERSION, capabilities: {}, clientInfo: CLIENT },
};

export const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' };

/** The `_meta` of a request of the next version. */
export const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': MODERN_VERSION,
  'io.modelcontextprotocol/clientInfo': CLIENT,
  'io.modelcontextprotocol/clientCapabilities': {},
};
