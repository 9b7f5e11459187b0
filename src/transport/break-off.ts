import type { ServerResponse } from 'node:http';

/**
 * Ends a response without waiting for its reader.
 *
 * One that waits behind another on its connection (pipelining) has no socket yet. Node only marks it as destroyed: it keeps
 * what was written, and never closes, for as long as the response before it takes. So its connection ends at once.
 */
export function breakOff(res: ServerResponse): void {
  const queued = res.socket === null && !res.writableFinished;
  res.destroy();
  if (queued) res.req.socket.destroy();
}
