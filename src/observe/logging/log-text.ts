import { shortId } from '../../sessions/session-ids.js';

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

/** What logs show of an error. */
export interface ErrorLine {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string | number;
  readonly cause?: ErrorLine;
  readonly errors?: readonly ErrorLine[];
}

/** Enough for any stack; messages sometimes quote what a client sent. */
const MAX_TEXT = 10_000;
/** Causes may form a circle, and each of `errors` has some of its own. */
const MAX_DEPTH = 4;
const MAX_ERRORS = 10;

/**
 * An error for the log: its texts without the session's full ID and without credentials, and of its other properties
 * only `code`. pino's own serializer shows them all, and HTTP clients put their request's headers into their errors.
 */
export function errorLine(error: unknown, sessionId?: string, depth = 0): ErrorLine {
  const shown = (text: string) => bounded(redacted(text, sessionId), MAX_TEXT);
  if (!isErrorLike(error)) {
    return { type: typeof error, message: typeof error === 'string' ? shown(error) : 'not an Error' };
  }

  const { name, message, stack, code, cause, errors } = error;
  const inner = (value: unknown) => errorLine(value, sessionId, depth + 1);
  const deeper = depth < MAX_DEPTH;
  return {
    type: typeof name === 'string' ? name : 'Error',
    message: shown(message),
    ...(typeof stack === 'string' && { stack: shown(stack) }),
    ...(typeof code === 'number' && { code }),
    ...(typeof code === 'string' && { code: shown(code) }),
    ...(deeper && cause !== undefined && { cause: inner(cause) }),
    ...(deeper && Array.isArray(errors) && { errors: errors.slice(0, MAX_ERRORS).map(inner) }),
  };
}

type ErrorLike = { readonly message: string } & Readonly<
  Partial<Record<'name' | 'stack' | 'code' | 'cause' | 'errors', unknown>>
>;

// Not `instanceof`: an error of another realm (`node:vm`) is none of this one's.
function isErrorLike(value: unknown): value is ErrorLike {
  return typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string';
}
