import type { ServerResponse } from 'node:http';
import { setImmediate as endOfTurn } from 'node:timers/promises';

/** Answers with a status and no body, at the end of the turn of the event loop: for the same reason as a `Reply`. */
export async function replyEmpty(res: ServerResponse, status: number): Promise<void> {
  await endOfTurn();
  // Other middleware may have answered in our place (a time-out, say).
  if (res.destroyed || res.headersSent) return;
  res.statusCode = status;
  res.end();
}
