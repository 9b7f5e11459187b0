import { isHttpError } from './http-error.js';
import type { RequestId } from './protocol/messages.js';
import { SUPPORTED_PROTOCOL_VERSIONS } from './protocol/session-era.js';

/** One row of the table: the HTTP status, the JSON-RPC error code, and the message. A client gets no other text. */
interface ErrorRow {
  readonly status: number;
  readonly code: number;
  readonly message: string;
}

/**
 * Every error that a client of the router can get. Tests compare `docs/http.md` with this table.
 *
 * Codes:
 * - -32700, -32600, -32602 and -32603 are those of JSON-RPC 2.0.
 * - -32000 is in its range for servers. A client that negotiates the era falls back to `initialize` when it gets this code.
 * - -32001 with 404 is the SDK's answer for an unknown session.
 * - -32020 to -32022 are those of MCP 2026-07-28, which reserves their range. It asks new implementations not to use -32000 to
 *   -32019. The router uses those only for errors that clients of earlier versions can get.
 *
 * A `status` of 200 marks an error inside a reply, as the answer to one request.
 */
export const ERRORS = {
  parseError: { status: 400, code: -32700, message: 'Parse error: the body is not JSON' },
  invalidRequest: { status: 400, code: -32600, message: 'Invalid Request: not a JSON-RPC 2.0 message' },
  bodyTooDeep: { status: 400, code: -32600, message: 'Invalid Request: the JSON is nested too deeply' },
  emptyBatch: { status: 400, code: -32600, message: 'Invalid Request: the batch is empty' },
  batchTooLarge: { status: 400, code: -32600, message: 'Invalid Request: the batch holds more than 100 messages' },
  batchNotAllowed: {
    status: 400,
    code: -32600,
    message: 'Invalid Request: batches were removed from the protocol in 2025-06-18',
  },
  initializeInBatch: { status: 400, code: -32600, message: 'Invalid Request: initialize must not be part of a batch' },
  alreadyInitialized: { status: 400, code: -32600, message: 'Invalid Request: the session is initialized already' },
  requestIdInFlight: {
    status: 400,
    code: -32600,
    message: 'Invalid Request: a request with this ID is in flight already in this session',
  },
  invalidInitialize: { status: 400, code: -32602, message: 'Invalid params: not the params of an initialize request' },
  invalidEnvelope: {
    status: 400,
    code: -32602,
    message: 'Invalid params: _meta lacks the protocol version or the client capabilities, or has a malformed field',
  },
  invalidFilter: {
    status: 400,
    code: -32602,
    message: 'Invalid params: notifications is missing, or no filter of subscriptions',
  },
  perRequestInBatch: { status: 400, code: -32600, message: 'Invalid Request: batches are not part of MCP 2026-07-28' },
  headerMismatch: {
    status: 400,
    code: -32020,
    message: 'Header mismatch: a required header is missing, malformed, or differs from the body',
  },
  missingCapability: { status: 400, code: -32021, message: 'Missing required client capability' },
  versionNotServed: { status: 400, code: -32022, message: 'Unsupported protocol version' },
  sessionRequired: { status: 400, code: -32000, message: 'Bad Request: Mcp-Session-Id header is required' },
  unsupportedProtocolVersion: {
    status: 400,
    code: -32000,
    message: `Bad Request: Unsupported protocol version (supported versions: ${SUPPORTED_PROTOCOL_VERSIONS.join(', ')})`,
  },
  unknownEventId: {
    status: 400,
    code: -32000,
    message: 'Bad Request: Last-Event-ID was not issued by this session, or is no longer kept',
  },
  unauthorized: { status: 401, code: -32000, message: 'Unauthorized' },
  hostNotAllowed: { status: 403, code: -32000, message: 'Forbidden: Host not allowed' },
  originNotAllowed: { status: 403, code: -32000, message: 'Forbidden: Origin not allowed' },
  methodNotFound: { status: 404, code: -32601, message: 'Method not found' },
  sessionNotFound: { status: 404, code: -32001, message: 'Session not found' },
  methodNotAllowed: { status: 405, code: -32000, message: 'Method not allowed' },
  notAcceptable: {
    status: 406,
    code: -32000,
    message: 'Not Acceptable: POST needs Accept: application/json or text/event-stream; GET needs text/event-stream',
  },
  streamConflict: { status: 409, code: -32000, message: 'Conflict: this session has a standalone SSE stream already' },
  bodyTooLarge: { status: 413, code: -32000, message: 'Payload Too Large' },
  unsupportedMediaType: {
    status: 415,
    code: -32000,
    message: 'Unsupported Media Type: Content-Type must be application/json, in UTF-8, without Content-Encoding',
  },
  tooManyRequests: {
    status: 429,
    code: -32000,
    message: 'Too Many Requests: this session has too many requests in flight',
  },
  internalError: { status: 500, code: -32603, message: 'Internal error' },
  bodiesAtCapacity: {
    status: 503,
    code: -32000,
    message: 'Service Unavailable: request bodies take too much memory',
  },
  openTimeout: { status: 503, code: -32000, message: 'Service Unavailable: the session could not be opened in time' },
  atCapacity: { status: 503, code: -32000, message: 'Service Unavailable: too many sessions' },
  principalAtCapacity: {
    status: 503,
    code: -32000,
    message: 'Service Unavailable: too many sessions of this principal',
  },
  draining: { status: 503, code: -32000, message: 'Service Unavailable: shutting down' },
  restoreFailed: { status: 503, code: -32000, message: 'Service Unavailable: the session could not be restored now' },
  ownerUnreachable: {
    status: 503,
    code: -32000,
    message: 'Service Unavailable: the node that holds the session cannot be reached',
  },
  storeUnavailable: { status: 503, code: -32000, message: 'Service Unavailable: the store does not answer' },
  suspendedAtCapacity: { status: 503, code: -32603, message: 'Service Unavailable: too many calls wait for input' },
  subscriptionsAtCapacity: {
    status: 503,
    code: -32603,
    message: 'Service Unavailable: too many subscriptions are open',
  },
  invalidRequestState: {
    status: 200,
    code: -32602,
    message: 'Invalid params: requestState is unknown, has expired, or belongs to another request',
  },
  tooManySubscriptions: { status: 200, code: -32000, message: 'Too many subscriptions in this session' },
  requestTimedOut: { status: 200, code: -32001, message: 'Request timed out' },
  requestCancelled: { status: 200, code: -32000, message: 'Request cancelled' },
  outcomeUnknown: {
    status: 200,
    code: -32000,
    message: 'The server was lost while the request ran: its outcome is unknown',
  },
  answerNotStored: {
    status: 200,
    code: -32000,
    message: 'The answer could not be stored while its client was away: the outcome of the request is unknown',
  },
  sessionClosed: { status: 200, code: -32000, message: 'Session closed' },
} as const satisfies Record<string, ErrorRow>;

/** The JSON-RPC codes that MCP defines. Those outside of the table: resource not found, URL elicitation required. */
export const MCP_CODES: readonly number[] = [...Object.values(ERRORS).map(({ code }) => code), -32002, -32042];

/** The name of a row in {@link ERRORS}. The set is closed, so a metric can use it as a label. */
export type ErrorName = keyof typeof ERRORS;

/** The error in a reply: a row of {@link ERRORS}, or an `HttpError` of the app. */
export type RepliedError = ErrorName | 'httpError';

export function isRepliedError(name: unknown): name is RepliedError {
  return typeof name === 'string' && (name === 'httpError' || Object.hasOwn(ERRORS, name));
}

/** The Retry-After of every 429 and 503, in seconds. */
export const RETRY_AFTER_SECONDS = 5;

/** The JSON-RPC error response for a row. `id` is null when the ID of the request could not be read (JSON-RPC 2.0, 5). */
export function errorResponse(name: ErrorName, id: RequestId | null = null, data?: unknown) {
  const { code, message } = ERRORS[name];
  return { jsonrpc: '2.0' as const, error: { code, message, ...(data !== undefined && { data }) }, id };
}

/** The error that the client gets when the handling of its request threw. */
export function errorFor(thrown: unknown): { readonly code: number; readonly message: string } {
  const { code, message } = isHttpError(thrown)
    ? thrown
    : ERRORS[thrown instanceof Refusal ? thrown.reason : 'internalError'];
  return { code, message };
}

/** Thrown at any place to refuse a request. One place catches it and answers with the row of the table. */
export class Refusal extends Error {
  readonly reason: ErrorName;
  readonly id: RequestId | null;
  /** The `data` field that the definition of the error requires. */
  readonly data: unknown;

  constructor(reason: ErrorName, options: { id?: RequestId | null; cause?: unknown; data?: unknown } = {}) {
    super(ERRORS[reason].message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Refusal';
    this.reason = reason;
    this.id = options.id ?? null;
    this.data = options.data;
  }
}

/**
 * Waits for the answer of a store.
 *
 * @throws Refusal `storeUnavailable` when the promise rejects. The store may have made the change even then.
 */
export async function orStoreUnavailable<T>(asked: T | Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (cause) {
    throw new Refusal('storeUnavailable', { cause });
  }
}
