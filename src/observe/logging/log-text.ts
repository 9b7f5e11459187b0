import { shortId } from '../../sessions/session-ids.js';

/** A value of `Authorization` within a text (RFC 9110, 11.4). */
const CREDENTIALS = /\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi;

/** A shorter ID is no secret. The client sends the ID: with the ID `e`, every e would be removed from the log. */
const MIN_SECRET = 16;

/** The text without the session's full ID and without credentials. */
export function redacted(text: string, sessionId = ''): string {
  const shortened = sessionId.length < MIN_SECRET ? text : text.replaceAll(sessionId, () => shortId(sessionId));
  return shortened.replace(CREDENTIALS, '$1 [redacted]');
}

/** The text, cut to `max` characters. A client may have sent it, so it may be as long as a body. */
export function bounded(text: string, max = 100): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

/** The parts of an error that logs show. */
export interface ErrorLine {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string | number;
  readonly cause?: ErrorLine;
  readonly errors?: readonly ErrorLine[];
}

/** Enough for any stack. The bound is for messages that quote a client's data. */
const MAX_TEXT = 10_000;
/** Causes may form a cycle, and each of `errors` may have causes and errors itself. */
const MAX_DEPTH = 4;
const MAX_ERRORS = 10;

/**
 * An error for the log. Its texts lack the session's full ID and credentials. Of its other properties, only `code` is shown.
 * pino's own serializer shows all, and HTTP clients put the headers of their requests into their errors.
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

// Not `instanceof`, which is false for an error of another realm (`node:vm`).
function isErrorLike(value: unknown): value is ErrorLike {
  return typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string';
}
