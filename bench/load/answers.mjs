import { removeDocument } from './document.mjs';

/** An answer that is not what it must be. It ends the contender's run, and is shown. */
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
 * Splits a text of SSE events into what each carries. Events without data (comments, priming events) carry nothing.
 *
 * @param {string} text Whole events.
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
 * The JSON-RPC messages of a reply to a request, whether it came as JSON or as SSE.
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
 * The one result that must be the only message of a reply, or its last after so many others.
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
 * @param {any} result Of a tools/call.
 * @param {string} text What its only content must be.
 */
export function expectText(result, text) {
  if (result.isError === true) throw new WrongAnswer(`the tool failed: ${shortened(result)}`);
  expect('content items', result.content?.length, 1);
  expect('text of the result', result.content[0].text, text);
}
