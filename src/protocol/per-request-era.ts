// The names and sets that MCP 2026-07-28 puts on the wire (schema/2026-07-28/schema.ts). Its pages are named by their path below
// docs/specification/2026-07-28.

export const LATEST_PER_REQUEST_VERSION = '2026-07-28';

/** The versions that need no session, the newest first. */
export const PER_REQUEST_VERSIONS: readonly string[] = [LATEST_PER_REQUEST_VERSION];

/** The prefix of the fields of `_meta` that the protocol reserves (basic/index, "_meta"). */
export const RESERVED_PREFIX = 'io.modelcontextprotocol/';
export const PROTOCOL_VERSION = `${RESERVED_PREFIX}protocolVersion`;
export const CLIENT_INFO = `${RESERVED_PREFIX}clientInfo`;
export const CLIENT_CAPABILITIES = `${RESERVED_PREFIX}clientCapabilities`;
export const LOG_LEVEL = `${RESERVED_PREFIX}logLevel`;
export const SERVER_INFO = `${RESERVED_PREFIX}serverInfo`;
export const SUBSCRIPTION_ID = `${RESERVED_PREFIX}subscriptionId`;

/** The parameter that `Mcp-Name` mirrors (basic/transports/streamable-http, "Standard Request Headers"; SEP-2663 for tasks). */
export const NAMING_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** Results of these carry caching hints (server/utilities/caching, "Cacheable Results"). */
export const CACHEABLE_METHODS: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);

/** Only these may be answered with `input_required` (basic/patterns/mrtr, "Supported Requests"). */
export const ASKING_METHODS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);
