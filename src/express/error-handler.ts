import { STATUS_CODES } from 'node:http';
import type { ErrorRequestHandler } from 'express';
import { Refusal, type ErrorName } from '../errors.js';
import { isHttpError } from '../http-error.js';
import { sendError, sendHttpError, sendJson } from '../http/answer.js';

/** The `error.type` of the body parsers of Express (body-parser, raw-body). */
const PARSER_ERRORS = new Map<unknown, ErrorName>([
  ['entity.parse.failed', 'parseError'],
  ['request.aborted', 'parseError'],
  ['request.size.invalid', 'parseError'],
  ['entity.verify.failed', 'parseError'],
  ['entity.too.large', 'bodyTooLarge'],
  ['charset.unsupported', 'unsupportedMediaType'],
  ['encoding.unsupported', 'unsupportedMediaType'],
]);

/**
 * Turns errors of middleware before the router, such as a body parser, into JSON-RPC errors. Without it, Express answers with an
 * HTML page. Mount it after the router, on the same path.
 *
 * @example
 * ```ts
 * app.use('/mcp', express.json(), mcpRouter({ serverFactory }), mcpErrorHandler());
 * ```
 */
export function mcpErrorHandler(): ErrorRequestHandler {
  return (error: unknown, _req, res, next) => {
    // Express' own handler destroys the socket, so that the client does not take half an answer for a complete one.
    if (res.headersSent) {
      next(error);
      return;
    }
    if (error instanceof Refusal) {
      sendError(res, error.reason, error.id);
      return;
    }
    if (isHttpError(error)) {
      sendHttpError(res, error);
      return;
    }
    const { type, code, status } = (typeof error === 'object' && error !== null ? error : {}) as HttpErrorLike;
    const reason = PARSER_ERRORS.get(type) ?? (isZlibCode(code) ? 'parseError' : undefined);
    if (reason !== undefined) {
      sendError(res, reason);
      return;
    }
    if (isClientStatus(status)) {
      // A status that authentication or a rate limit has set. Its message is not sent, as it may contain internals.
      const message = STATUS_CODES[status] ?? 'Bad Request';
      sendJson(res, status, { jsonrpc: '2.0', error: { code: -32000, message }, id: null });
      return;
    }
    // The client does not get the error itself. pino-http reads it from `res.err` for the log.
    if (error instanceof Error) res.err = error;
    sendError(res, 'internalError');
  };
}

/** The shape of errors of http-errors, which other packages use, too. */
interface HttpErrorLike {
  readonly type?: unknown;
  readonly code?: unknown;
  readonly status?: unknown;
}

/** Whether a body could not be decompressed. The codes of Node's zlib are like Z_DATA_ERROR or ERR__ERROR_FORMAT_PADDING_2. */
function isZlibCode(code: unknown): boolean {
  return typeof code === 'string' && /^(Z_|ERR__ERROR_FORMAT_)/.test(code);
}

function isClientStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 400 && (status as number) < 500;
}
