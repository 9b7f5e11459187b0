import { SSE_TYPE } from './reply-form.js';

/** Characters that JSON allows in a string and that some clients take for the end of a line. */
const LINE_BREAKS = /[\u0085\u2028\u2029]/g;

/**
 * The headers of an SSE reply. Without `no-transform`, compressing middleware and proxies buffer events.
 *
 * Each call makes an object from a literal, to which more headers can be added. V8 takes 30 times as long to add them to a
 * spread copy of a constant.
 */
export function sseHeaders(): Record<string, string | number> {
  return {
    'Content-Type': SSE_TYPE,
    'Cache-Control': 'no-cache, no-transform',
    'X-Accel-Buffering': 'no',
  };
}

/** The `retry` field of a stream that the server ends, in ms, when the option `retryInterval` is not set. */
const RETRY = 1_000;

/** A field of an event: the time that the client waits before it reconnects, in ms (HTML, 9.2.6). */
export function retryLine(interval: number): string {
  return `retry: ${interval}\n`;
}

/** The same where no event follows. */
export function retryBlock(interval = RETRY): string {
  return `${retryLine(interval)}\n`;
}

/** One message as an event of a stream (HTML, 9.2.5). */
export function frame(json: string, eventId?: string): string {
  const data = escapeLineBreaks(json);
  return eventId === undefined
    ? `event: message\ndata: ${data}\n\n`
    : `event: message\nid: ${eventId}\ndata: ${data}\n\n`;
}

/**
 * Replaces Unicode line breaks by JSON escapes. In an event stream only CR and LF end a line (HTML, 9.2.6). But httpx-sse before
 * 0.4.2 and others split there, and their clients wait for ever (modelcontextprotocol/python-sdk#1356). Three calls of
 * `includes` take less time than one regular expression.
 */
function escapeLineBreaks(json: string): string {
  if (!json.includes('\u2028') && !json.includes('\u2029') && !json.includes('\u0085')) return json;
  return json.replace(LINE_BREAKS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
