import type { JSONRPCMessage } from '../protocol/messages.js';

/** The end of a line in an event stream (HTML, 9.2.5). */
const LINE_END = /\r\n|\n|\r/;

/**
 * Reads the messages of a reply, in their order. A reply to a POST is JSON or an event stream, as the client's `Accept` and the
 * server choose.
 *
 * @param body - The text of the reply: `response.text` of supertest, `await response.text()` of `fetch`.
 * @throws SyntaxError when the body is neither.
 *
 * @example
 * ```ts
 * const response = await fetch(url, { method: 'POST', body: '…' });
 * const [answer] = parseReply(await response.text());
 * ```
 */
export function parseReply(body: string): JSONRPCMessage[] {
  const text = body.trimStart();
  if (text === '') return [];
  if (text.startsWith('{') || text.startsWith('[')) return [JSON.parse(text) as JSONRPCMessage].flat();
  return dataOf(body).map((data) => JSON.parse(data) as JSONRPCMessage);
}

/** The data of each event that has some. The router also sends events without data, so that clients learn their IDs. */
function dataOf(stream: string): string[] {
  const events: string[] = [];
  let lines: string[] = [];
  for (const line of stream.split(LINE_END)) {
    const [, data] = /^data: ?(.*)$/s.exec(line) ?? [];
    if (data !== undefined) lines.push(data);
    if (line !== '') continue;
    const event = lines.join('\n');
    if (event !== '') events.push(event);
    lines = [];
  }
  return events;
}
