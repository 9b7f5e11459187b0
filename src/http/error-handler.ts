import type { ErrorRequestHandler } from 'express';
import { Refusal, type ErrorName } from '../errors.js';
import { sendError } from './answer.js';

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
    const reason = reasonOf(error);
    // The client is not told what it was; here pino-http looks for what to log.
    if (reason === 'internalError' && error instanceof Error) res.err = error;
    sendError(res, reason);
  };
}

function reasonOf(error: unknown): ErrorName {
  if (typeof error !== 'object' || error === null) return 'internalError';
  const { type, status } = error as { type?: unknown; status?: unknown };
  // A body that does not decompress has no type, only the status that body-parser gives all such errors.
  return PARSER_ERRORS.get(type) ?? (status === 400 ? 'parseError' : 'internalError');
}
