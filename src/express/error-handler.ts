import { STATUS_CODES } from 'node:http';
import type { ErrorRequestHandler } from 'express';
import { Refusal, type ErrorName } from '../errors.js';
import { sendError, sendJson } from '../http/answer.js';

/** What the body parsers of Express call their errors (body-parser, raw-body: `error.type`). */
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
 * Turns what middleware before the router throws (a body parser, above all) into JSON-RPC errors, where Express would answer
 * with a page of HTML. Mount it behind the router, on the same path.
 *
 * @example
 * ```ts
 * app.use('/mcp', express.json(), mcpRouter({ serverFactory }), mcpErrorHandler());
 * ```
 */
export function mcpErrorHandler(): ErrorRequestHandler {
  return (error: unknown, _req, res, next) => {
    // Express' own handler breaks the socket off: half an answer must not pass for a whole one.
    if (res.headersSent) {
      next(error);
      return;
    }
    if (error instanceof Refusal) {
      sendError(res, error.reason, error.id);
      return;
    }
    const { type, code, status } = (typeof error === 'object' && error !== null ? error : {}) as HttpErrorLike;
    const reason = PARSER_ERRORS.get(type) ?? (isZlibCode(code) ? 'parseError' : undefined);
    if (reason !== undefined) {
      sendError(res, reason);
      return;
    }
    if (isClientStatus(status)) {
      // What an authentication or a rate limit said on purpose; its own words stay here.
      const message = STATUS_CODES[status] ?? 'Bad Request';
      sendJson(res, status, { jsonrpc: '2.0', error: { code: -32000, message }, id: null });
      return;
    }
    // The client is not told what it was; here pino-http looks for what to log.
    if (error instanceof Error) res.err = error;
    sendError(res, 'internalError');
  };
}

/** As http-errors makes them, and whoever follows it. */
interface HttpErrorLike {
  readonly type?: unknown;
  readonly code?: unknown;
  readonly status?: unknown;
}

/** A body that does not decompress: Node's zlib says so by a code such as Z_DATA_ERROR; Brotli, ERR__ERROR_FORMAT_PADDING_2. */
function isZlibCode(code: unknown): boolean {
  return typeof code === 'string' && /^(Z_|ERR__ERROR_FORMAT_)/.test(code);
}

function isClientStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 400 && (status as number) < 500;
}
