import type { Request } from 'express';
import { Refusal } from '../errors.js';

const WANTED = new Map<string | undefined, readonly string[]>([
  ['POST', ['application/json', 'text/event-stream']],
  ['GET', ['text/event-stream']],
]);

/** Verdicts kept; clients send few different Accept headers, but an attacker any number. */
const MAX_KEPT = 100;

/**
 * Checks that the client takes what its method may be answered with (spec 2025-11-25, basic/transports: POST must accept
 * both JSON and SSE, GET SSE). Remembers headers that it has seen, as each client sends the same one with every request.
 */
export function createAcceptCheck(): (req: Request) => void {
  const kept = new Map<string, boolean>();
  return (req) => {
    const key = `${req.method} ${req.headers.accept ?? '*/*'}`;
    let acceptable = kept.get(key);
    if (acceptable === undefined) {
      acceptable = (WANTED.get(req.method) ?? []).every((type) => req.accepts(type) !== false);
      if (kept.size >= MAX_KEPT) kept.clear();
      kept.set(key, acceptable);
    }
    if (!acceptable) throw new Refusal('notAcceptable');
  };
}
