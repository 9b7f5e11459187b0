import type { ServerResponse } from 'node:http';
import { setImmediate as endOfTurn } from 'node:timers/promises';
import { Refusal } from '../errors.js';
import type { TransportOwner } from './transport-types.js';

/**
 * Answers with a status and no body, at the end of the turn of the event loop: for the same reason as a `Reply`.
 *
 * @param owner - The session that answers, if one does.
 * @throws Refusal `storeUnavailable` when another node may own the session.
 */
export async function replyEmpty(
  res: ServerResponse,
  status: number,
  owner?: Pick<TransportOwner, 'mayNotRespond'>,
): Promise<void> {
  await endOfTurn();
  // Other middleware may have answered in our place (a time-out, say).
  if (res.destroyed || res.headersSent) return;
  if (owner?.mayNotRespond === true) throw new Refusal('storeUnavailable');
  res.statusCode = status;
  res.end();
}
