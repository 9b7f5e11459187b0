import type { ServerResponse } from 'node:http';
import { Refusal } from '../errors.js';
import type { CoreEvents } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import { closeAfter, sendError } from './answer.js';
import type { Exchange } from './exchange.js';

/** Answers a request with the error that its handling threw. Never throws. */
export function createRefuse(
  events: Emitter<CoreEvents>,
): (res: ServerResponse, error: unknown, exchange: Exchange | undefined) => void {
  return (res, error, exchange) => {
    const refusal = error instanceof Refusal ? error : undefined;
    if (refusal === undefined) events.emit('failure', 'a request failed', error, exchange?.sessionId);
    else if (refusal.cause !== undefined) events.emit('failure', refusal.message, refusal.cause, exchange?.sessionId);
    try {
      // The rest of the request may never arrive, and the router does not wait for it.
      if (refusal?.reason === 'draining' && exchange?.req.message.complete === false) closeAfter(res);
      sendError(res, refusal?.reason ?? 'internalError', refusal?.id ?? exchange?.id);
    } catch (thrown) {
      // Middleware may have wrapped the response.
      events.emit('failure', 'an error could not be sent', thrown, exchange?.sessionId);
      res.destroy();
    }
  };
}
