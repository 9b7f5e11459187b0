import { shortId } from '../../sessions/short-id.js';

/** A value of `Authorization` (RFC 9110, 11.4), where somebody wrote one into a text. */
const CREDENTIALS = /\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi;

/** No shorter ID is a secret; and the ID is what a client says, whose `e` must not take every e out of a log. */
const MIN_SECRET = 16;

/** Text that others wrote, without the session's full ID and without credentials. */
export function redacted(text: string, sessionId = ''): string {
  const shortened = sessionId.length < MIN_SECRET ? text : text.replaceAll(sessionId, () => shortId(sessionId));
  return shortened.replace(CREDENTIALS, '$1 [redacted]');
}

/** Text that a client may have a hand in, and so may be as long as a request's body. */
export function bounded(text: string, max = 100): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
