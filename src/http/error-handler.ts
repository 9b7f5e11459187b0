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
  // Express knows an error handler by its four parameters.
  return (error: unknown, _req, res, _next) => {
    if (error instanceof Refusal) {
      sendError(res, error.reason, error.id);
      return;
    }
    const type = typeof error === 'object' && error !== null && 'type' in error ? error.type : undefined;
    sendError(res, PARSER_ERRORS.get(type) ?? 'internalError');
  };
}
