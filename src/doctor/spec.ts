// Pages that the checks name as their sources, and what clients of each era send.

const MCP = 'https://modelcontextprotocol.io/specification';

/** Revision 2025-11-25, the last one of the session era. */
export const BASIC = `${MCP}/2025-11-25/basic`;
export const LIFECYCLE = `${MCP}/2025-11-25/basic/lifecycle`;
export const TRANSPORTS = `${MCP}/2025-11-25/basic/transports`;
export const AUTHORIZATION = `${MCP}/2025-11-25/basic/authorization`;

/** Revision 2026-07-28, the first one of the per-request era. */
export const LATER_BASIC = `${MCP}/2026-07-28/basic`;
export const LATER_HTTP = `${MCP}/2026-07-28/basic/transports/streamable-http`;
export const VERSIONING = `${MCP}/2026-07-28/basic/versioning`;
export const SUBSCRIPTIONS = `${MCP}/2026-07-28/basic/patterns/subscriptions`;
export const DISCOVER = `${MCP}/2026-07-28/server/discover`;
export const CACHING = `${MCP}/2026-07-28/server/utilities/caching`;

export const JSON_RPC = 'https://www.jsonrpc.org/specification';
export const FETCH = 'https://fetch.spec.whatwg.org';
export const HTTP = 'https://www.rfc-editor.org/rfc/rfc9110.html';

export const PER_REQUEST_VERSION = '2026-07-28';

/** The name of a revision. Other text of an endpoint may be no value of a header. */
export const VERSION = /^\d{4}-\d\d-\d\d$/;

/** Error codes of JSON-RPC and of MCP 2026-07-28 (basic, "Error Codes"). */
export const CODES = {
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  headerMismatch: -32020,
  unsupportedVersion: -32022,
} as const;

const META = 'io.modelcontextprotocol/';
export const VERSION_FIELD = `${META}protocolVersion`;
export const CLIENT_INFO_FIELD = `${META}clientInfo`;
export const CAPABILITIES_FIELD = `${META}clientCapabilities`;
export const SERVER_INFO_FIELD = `${META}serverInfo`;
export const SUBSCRIPTION_ID_FIELD = `${META}subscriptionId`;

/** The headers of each POST of a client. */
export const POST_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

/** A version, a method and a session that no endpoint knows. */
export const UNKNOWN_VERSION = '1900-01-01';
export const UNKNOWN_METHOD = 'doctor/unknown';

/** A name that no page can have (RFC 2606, 2). */
export const FOREIGN_HOST = 'doctor.invalid';
export const FOREIGN_ORIGIN = `https://${FOREIGN_HOST}`;
