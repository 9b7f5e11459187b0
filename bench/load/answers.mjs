import { removeDocument } from './document.mjs';

/** An answer is wrong. The error ends the contender's run, and is printed. */
export class WrongAnswer extends Error {}

const shortened = (value) => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text;
};

/**
 * @param {string} what
 * @param {unknown} got
 * @param {unknown} wanted
 */
export function expect(what, got, wanted) {
  if (got !== wanted) throw new WrongAnswer(`${what}: got ${shortened(got)}, wanted ${shortened(wanted)}`);
}

/**
 * Returns the data of each SSE event. Events without data (comments, priming events) are skipped.
 *
 * @param {string} text Complete events.
 * @returns {string[]}
 */
export function eventData(text) {
  const data = [];
  for (const event of text.split('\n\n')) {
    const lines = event.split('\n').filter((line) => line.startsWith('data:'));
    const joined = lines.map((line) => line.slice(line[5] === ' ' ? 6 : 5)).join('\n');
    if (joined !== '') data.push(joined);
  }
  return data;
}

/**
 * Returns the JSON-RPC messages of a reply, as JSON or as SSE.
 *
 * @param {import('./connection.mjs').Reply} reply
 * @returns {any[]}
 */
export function messagesOf({ status, head, body }) {
  const text = removeDocument(body);
  if (status !== 200) throw new WrongAnswer(`status ${status}: ${shortened(text)}`);
  if (/\r\ncontent-type:[ \t]*text\/event-stream/i.test(head)) return eventData(text).map((data) => JSON.parse(data));
  if (/\r\ncontent-type:[ \t]*application\/json/i.test(head)) return [JSON.parse(text)];
  throw new WrongAnswer(`a reply that is neither JSON nor SSE: ${shortened(head)}`);
}

/**
 * Returns the result of a reply. It must be the last message, after exactly `before` others.
 *
 * @param {any[]} messages
 * @param {number} id
 * @param {number} before
 */
export function resultOf(messages, id, before = 0) {
  const answer = messages.at(-1);
  if (answer?.error !== undefined) throw new WrongAnswer(`an error: ${shortened(answer.error)}`);
  expect('messages in the reply', messages.length, before + 1);
  expect('id of the answer', answer.id, id);
  if (answer.result === undefined) throw new WrongAnswer(`no result: ${shortened(answer)}`);
  return answer.result;
}

/**
 * @param {any} result The result of a tools/call.
 * @param {string} text The expected text of its only content.
 */
export function expectText(result, text) {
  if (result.isError === true) throw new WrongAnswer(`the tool failed: ${shortened(result)}`);
  expect('content items', result.content?.length, 1);
  expect('text of the result', result.content[0].text, text);
}
