import type { RequestListener, ServerResponse } from 'node:http';

/** Whether the router takes new sessions, and if not, why. */
export type Readiness = 'ready' | 'joining' | 'draining' | 'full';

/** Liveness: 200 for as long as the process answers at all. Restarting on anything less would end every session. */
export function createHealth(): RequestListener {
  return (_req, res) => answer(res, 200, 'ok');
}

/**
 * Readiness: 200 while new sessions are taken, else 503 with the reason.
 *
 * Not ready does not mean not serving: the sessions that are open go on. A balancer that sends an unready instance
 * nothing at all cuts them off, which is what is wanted of one that drains.
 */
export function createReady(state: () => Readiness): RequestListener {
  return (_req, res) => {
    const now = state();
    answer(res, now === 'ready' ? 200 : 503, now);
  };
}

// Node's own calls: Express's `res.json` would add an ETag, and answer 304 to a probe that remembers it.
function answer(res: ServerResponse, code: number, status: Readiness | 'ok'): void {
  res.statusCode = code;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Cache-Control', 'no-store');
  res.end(JSON.stringify({ status }));
}
