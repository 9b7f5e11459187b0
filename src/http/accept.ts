import type { IncomingHttpHeaders } from 'node:http';
import { Refusal } from '../errors.js';
import { accepts, SSE_TYPE, type ReplyForm } from '../transport/reply-form.js';

/** Verdicts kept; clients send few different Accept headers, but an attacker any number. */
const MAX_KEPT = 100;

/** The forms of reply that the client accepts. Throws the Refusal `notAcceptable` when it accepts none that the method has. */
export type AcceptCheck = (headers: Pick<IncomingHttpHeaders, 'accept'>) => ReplyForm;

/**
 * Makes a check of the Accept header. The check caches headers, as each client sends the same one with every request.
 *
 * @param formOf - The form of reply that a header allows for the method.
 */
export function createAcceptCheck(formOf: (accept: string) => ReplyForm | undefined): AcceptCheck {
  const kept = new Map<string, ReplyForm | undefined>();
  return ({ accept }) => {
    if (accept === undefined) return 'any';
    let form = kept.get(accept);
    if (form === undefined && !kept.has(accept)) {
      form = formOf(accept);
      if (kept.size >= MAX_KEPT) kept.clear();
      kept.set(accept, form);
    }
    if (form === undefined) throw new Refusal('notAcceptable');
    return form;
  };
}

/** The reply to a GET is always a stream (spec 2025-11-25, "Listening for Messages from the Server"). */
export function streamFormOf(accept: string): ReplyForm | undefined {
  return accepts(accept, SSE_TYPE) ? 'sse' : undefined;
}
