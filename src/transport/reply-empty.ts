import type { ServerResponse } from 'node:http';
import { setImmediate as endOfTurn } from 'node:timers/promises';
import type { TransportOwner } from './context.js';

/**
 * Answers with a status and no body, at the end of the turn of the event loop: for the same reason as a `Reply`.
 *
 * @param owner - Whose answer it is, where another node may own that by then.
 */
export async function replyEmpty(
  res: ServerResponse,
  status: number,
  owner?: Pick<TransportOwner, 'silenced'>,
): Promise<void> {
  await endOfTurn();
  if (owner?.silenced === true) return void res.destroy();
  // Other middleware may have answered in our place (a time-out, say).
  if (res.destroyed || res.headersSent) return;
  res.statusCode = status;
  res.end();
}
