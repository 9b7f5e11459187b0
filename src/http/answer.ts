import type { ServerResponse } from 'node:http';
import type { RequestId } from '../protocol/messages.js';
import { isHttpError, type HttpError } from '../http-error.js';
import { streamOf } from '../transport/response.js';
import { noteError } from '../transport/response-facts.js';
import { replyFormOf } from '../transport/reply-form.js';
import { frame, sseHeaders } from '../transport/sse.js';
import { ERRORS, RETRY_AFTER_SECONDS, errorFor, errorResponse, type ErrorName, Refusal } from '../errors.js';
import type { CoreEvents } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { Exchange } from './exchange.js';

const EXTRA_HEADERS = new Map<number, Readonly<Record<string, string>>>([
  [401, { 'WWW-Authenticate': 'Bearer' }],
  [429, { 'Retry-After': String(RETRY_AFTER_SECONDS) }],
  [503, { 'Retry-After': String(RETRY_AFTER_SECONDS) }],
]);

/** Makes the reply end its connection (RFC 9112, 9.6), or its stream in HTTP/2 (RFC 9113, 8.1), without the rest of the request. */
export function closeAfter(res: ServerResponse): void {
  const stream = streamOf(res);
  if (stream !== undefined) stream.once('finish', () => stream.close());
  else if (!res.headersSent) res.setHeader('Connection', 'close');
}

/** How long a client may pause while the rest of its refused request is read, in ms. */
const LINGER = 2_000;

/**
 * Ends a response with its body. If the connection ends with the response, the rest of the request is read first. A socket that
 * closes with unread bytes resets its connection, and the client may lose the response (RFC 9112, 9.6).
 */
export function endWith(res: ServerResponse, bytes: Buffer): void {
  const { req } = res;
  const mustNotWait = res.getHeader('Connection') === 'close';
  if (req.complete || mustNotWait || streamOf(res) !== undefined || res.shouldKeepAlive) {
    res.end(bytes);
    return;
  }
  res.write(bytes);
  const end = (): void => void res.end();
  // The server's `requestTimeout` bounds the whole wait, but no longer after `server.close()`.
  res.setTimeout(LINGER, end);
  req.once('end', end).resume();
}

/** Sends a JSON body, unless the response has ended. */
export function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.destroyed || res.writableEnded) return;
  // The status of a reply that has begun cannot change any more. So the reply only ends.
  if (res.headersSent) {
    res.end();
    return;
  }
  const bytes = Buffer.from(JSON.stringify(body));
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': bytes.length, ...headers });
  endWith(res, bytes);
}

/** Sends one message as a complete event stream, to a client that does not accept JSON. */
export function sendEvent(res: ServerResponse, message: unknown): void {
  if (res.destroyed || res.headersSent) return;
  const bytes = Buffer.from(frame(JSON.stringify(message)));
  res.writeHead(200, { ...sseHeaders(), 'Content-Length': bytes.length });
  endWith(res, bytes);
}

/** Sends an error of the table, with the header that belongs to its status. */
export function sendError(
  res: ServerResponse,
  reason: ErrorName,
  id: RequestId | null = null,
  data?: unknown,
  headers = EXTRA_HEADERS.get(ERRORS[reason].status),
): void {
  noteError(res, reason);
  sendJson(res, ERRORS[reason].status, errorResponse(reason, id, data), headers);
}

/** Sends the error that the app threw to refuse a request. */
export function sendHttpError(res: ServerResponse, error: HttpError, id: RequestId | null = null): void {
  const { status } = error;
  noteError(res, 'httpError');
  // `Headers` ignores the case of a name, so that the app's headers replace the defaults.
  const headers = new Headers(
    // Other middleware may have set them: express-rate-limit knows when a client may try again.
    Object.entries(EXTRA_HEADERS.get(status) ?? {}).filter(([name]) => !res.hasHeader(name)),
  );
  for (const [name, value] of Object.entries(error.headers)) headers.set(name, value);
  for (const name of ['content-type', 'content-length', 'transfer-encoding']) headers.delete(name);
  sendJson(res, status, { jsonrpc: '2.0', error: errorFor(error), id }, Object.fromEntries(headers));
}

/** With status 200 a client reads the body by its type. Errors with another status are JSON for all. */
function mustBeEvent(reason: ErrorName, exchange: Exchange | undefined): boolean {
  return ERRORS[reason].status === 200 && replyFormOf(exchange?.req.headers.accept) === 'sse';
}

/**
 * Makes a function that answers a request with the error that its handling threw. The function never throws.
 *
 * @param resourceMetadataUrl - Tells clients of a 401 where to sign in (RFC 9728, 5.1).
 */
export function createRefuse(
  events: Emitter<CoreEvents>,
  resourceMetadataUrl?: string,
): (res: ServerResponse, error: unknown, exchange: Exchange | undefined) => void {
  const challenge =
    resourceMetadataUrl === undefined
      ? undefined
      : { 'WWW-Authenticate': `Bearer resource_metadata="${resourceMetadataUrl}"` };
  return (res, error, exchange) => {
    const refusal = error instanceof Refusal ? error : undefined;
    const httpError = isHttpError(error) ? error : undefined;
    if (httpError !== undefined) {
      if (httpError.cause !== undefined) {
        events.emit('failure', 'the app refused a request', httpError.cause, exchange?.sessionId);
      }
    } else if (refusal === undefined) events.emit('failure', 'a request failed', error, exchange?.sessionId);
    else if (refusal.cause !== undefined) events.emit('failure', refusal.message, refusal.cause, exchange?.sessionId);
    const reason = refusal?.reason ?? 'internalError';
    try {
      // The rest of the request may never arrive, and the router does not wait for it.
      if (refusal?.reason === 'draining' && exchange?.req.message.complete === false) closeAfter(res);
      const id = refusal?.id ?? exchange?.id;
      if (httpError !== undefined) sendHttpError(res, httpError, id);
      else if (mustBeEvent(reason, exchange)) {
        noteError(res, reason);
        sendEvent(res, errorResponse(reason, id, refusal?.data));
      } else sendError(res, reason, id, refusal?.data, reason === 'unauthorized' ? challenge : undefined);
    } catch (thrown) {
      // Middleware may have wrapped the response.
      events.emit('failure', 'an error could not be sent', thrown, exchange?.sessionId);
      res.destroy();
    }
  };
}
