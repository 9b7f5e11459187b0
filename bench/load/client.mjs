import { expect, expectText, messagesOf, resultOf } from './answers.mjs';
import { insertDocument } from './document.mjs';
import { VERSION } from './messages.mjs';

/**
 * The contender's endpoint.
 *
 * @typedef {object} Target
 * @property {string} host
 * @property {number} port
 * @property {string} path
 *
 * @typedef {import('./connection.mjs').Connection} Connection
 */

export const POST_HEADERS = 'Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n';

/** @param {Target} target */
export const start = (method, { host, port, path }) => `${method} ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\n`;

export const withLength = (head, body) => `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;

let tokens = 0;

/** The header line of a token that no other client has. */
export const newAuthorization = () => `Authorization: Bearer token-${tokens++}\r\n`;

let made = 0;

/** One client. Its request IDs count from 0, like those of the SDK's client, so that many clients use the same IDs. */
export class Client {
  /** Part of every text that this client sends, so that it recognizes an answer to another client. */
  name = `client ${made++}`;
  /** The constant first lines of each POST. */
  postHead;
  #nextId = 0;
  #meta;

  /**
   * @param {string} [postHead]
   * @param {object} [meta]
   */
  constructor(postHead, meta) {
    this.postHead = postHead;
    this.#meta = meta;
  }

  /**
   * Sends a message, and returns the unchecked reply.
   *
   * @param {Connection} connection
   * @param {object} message
   */
  post(connection, message) {
    const body = insertDocument(JSON.stringify(message));
    return connection.exchange(withLength(this.postHead, body), body);
  }

  /**
   * @param {Connection} connection
   * @param {import('./calls.mjs').Call} call
   */
  async call(connection, { tool, input, text, progress = 0 }) {
    const id = this.#nextId++;
    const label = `${this.name}, call ${id}`;
    const meta = progress > 0 ? { ...this.#meta, progressToken: id } : this.#meta;
    const params = { name: tool, arguments: input(label), ...(meta !== undefined && { _meta: meta }) };
    const reply = await this.post(connection, { jsonrpc: '2.0', id, method: 'tools/call', params });

    const messages = messagesOf(reply);
    expectText(resultOf(messages, id, progress), text(label));
    for (let step = 1; step <= progress; step++) {
      const { method, params: reported } = messages[step - 1];
      expect('a message before the result', method, 'notifications/progress');
      expect('the progress', reported.progress, step);
      expect('the progress token', reported.progressToken, id);
    }
  }

  nextId() {
    return this.#nextId++;
  }
}

/** @param {Target} target */
export const statelessClient = (target) =>
  new Client(`${start('POST', target)}${POST_HEADERS}Mcp-Protocol-Version: ${VERSION}\r\n`);
