/**
 * What the client takes as the reply to a POST: `any`, or only one of the two that there are (spec 2025-11-25,
 * basic/transports, "Sending Messages to the Server").
 */
export type ReplyForm = 'any' | 'json' | 'sse';

const JSON_TYPE = 'application/json';
export const SSE_TYPE = 'text/event-stream';

/**
 * The form that a POST with this Accept header is to be answered in; undefined when the client takes neither. A client that
 * sends no header takes everything (RFC 9110, 12.5.1).
 */
export function replyFormOf(accept: string | undefined): ReplyForm | undefined {
  if (accept === undefined) return 'any';
  const json = accepts(accept, JSON_TYPE);
  const sse = accepts(accept, SSE_TYPE);
  if (json && sse) return 'any';
  if (json) return 'json';
  return sse ? 'sse' : undefined;
}

/** Whether the header accepts a media type: the most specific range that matches decides (RFC 9110, 12.5.1). */
export function accepts(accept: string, type: string): boolean {
  const ranges = rangesOf(accept);
  for (const range of [type, `${type.slice(0, type.indexOf('/'))}/*`, '*/*']) {
    const accepted = ranges.get(range);
    if (accepted !== undefined) return accepted;
  }
  return false;
}

/** The media ranges of the header, and whether each is accepted: not with `q=0`. Other parameters are ignored. */
function rangesOf(accept: string): Map<string, boolean> {
  const ranges = new Map<string, boolean>();
  // A quoted parameter may hold a comma or a semicolon.
  const plain = accept.toLowerCase().replaceAll(/"(?:[^"\\]|\\.)*"/g, '');
  for (const entry of plain.split(',')) {
    const [range = '', ...parameters] = entry.split(';').map((part) => part.trim());
    const refused = parameters.some((parameter) => /^q\s*=\s*0(\.0*)?$/.test(parameter));
    // Of two ranges that differ in their parameters only, one that is accepted will do.
    ranges.set(range, !refused || ranges.get(range) === true);
  }
  return ranges;
}

/**
 * Whether a reply of that form is to be JSON.
 *
 * @param preferred - Whether the router prefers it (`enableJsonResponse`), for a client that takes either.
 */
export function isJson(form: ReplyForm, preferred: boolean): boolean {
  return form === 'any' ? preferred : form === 'json';
}
