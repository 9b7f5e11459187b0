import { Refusal } from '../errors.js';
import { accepts, replyFormOf, SSE_TYPE, type ReplyForm } from '../transport/reply-form.js';
import type { McpRequest } from './mcp-request.js';

/** Verdicts kept; clients send few different Accept headers, but an attacker any number. */
const MAX_KEPT = 100;

/** The forms of reply that the client accepts. Throws the Refusal `notAcceptable` when the method has no such form. */
export type AcceptCheck = (req: Pick<McpRequest, 'method' | 'headers'>) => ReplyForm;

/**
 * Makes a check of the Accept header. The check caches headers, as each client sends the same one with every request.
 */
export function createAcceptCheck(): AcceptCheck {
  const kept = new Map<string, ReplyForm | undefined>();
  return ({ method, headers: { accept } }) => {
    if (accept === undefined) return 'any';
    const key = `${method} ${accept}`;
    let form = kept.get(key);
    if (form === undefined && !kept.has(key)) {
      form = method === 'GET' ? streamFormOf(accept) : replyFormOf(accept);
      if (kept.size >= MAX_KEPT) kept.clear();
      kept.set(key, form);
    }
    if (form === undefined) throw new Refusal('notAcceptable');
    return form;
  };
}

/** The reply to a GET is always a stream (spec 2025-11-25, "Listening for Messages from the Server"). */
function streamFormOf(accept: string): ReplyForm | undefined {
  return accepts(accept, SSE_TYPE) ? 'sse' : undefined;
}
