import type { RequestListener, ServerResponse } from 'node:http';

/** `ready` when the router accepts new sessions, else the reason why not. */
export type Readiness = 'ready' | 'joining' | 'draining' | 'full';

/** Liveness: 200 as long as the process answers. A stricter check would restart the process, and so end every session. */
export function createHealth(): RequestListener {
  return (_req, res) => answer(res, 200, 'ok');
}

/**
 * Readiness: 200 while the router accepts new sessions, else 503 with the reason.
 *
 * Open sessions are served even while the router is not ready. A load balancer that sends an unready instance no requests cuts
 * these sessions off. That is right only while the instance drains.
 */
export function createReady(state: () => Readiness): RequestListener {
  return (_req, res) => {
    const now = state();
    answer(res, now === 'ready' ? 200 : 503, now);
  };
}

// By Node's own methods: `res.json` of Express would add an ETag, and answer 304 to a probe that sends it back.
function answer(res: ServerResponse, code: number, status: Readiness | 'ok'): void {
  res.statusCode = code;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Cache-Control', 'no-store');
  res.end(JSON.stringify({ status }));
}
