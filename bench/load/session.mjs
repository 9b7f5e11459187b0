import { expect, expectText, messagesOf, resultOf } from './answers.mjs';
import { insertDocument } from './document.mjs';
import { INITIALIZE, INITIALIZED, MODERN_META, MODERN_VERSION, VERSION } from './messages.mjs';

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

const POST_HEADERS = 'Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n';

/** @param {Target} target */
const start = (method, { host, port, path }) => `${method} ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\n`;

const withLength = (head, body) => `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;

let made = 0;

/** One client. Its request IDs count from 0, like those of the SDK's client, so that many clients use the same IDs. */
class Client {
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

/** A client with a session. */
export class Session extends Client {
  #target;
  #headers;

  /**
   * @param {Target} target
   * @param {string} id
   */
  constructor(target, id) {
    super();
    this.#headers = `Mcp-Session-Id: ${id}\r\nMcp-Protocol-Version: ${VERSION}\r\n`;
    this.moveTo(target);
  }

  /** @param {Target} target Another endpoint that serves the same session. */
  moveTo(target) {
    this.#target = target;
    this.postHead = start('POST', target) + POST_HEADERS + this.#headers;
  }

  /**
   * Opens a session as the specification says: initialize, then notifications/initialized.
   *
   * @param {Connection} connection
   * @param {Target} target
   */
  static async open(connection, target) {
    const asking = new Client(start('POST', target) + POST_HEADERS);
    const id = asking.nextId();
    const reply = await asking.post(connection, { ...INITIALIZE, id });
    const { protocolVersion } = resultOf(messagesOf(reply), id);
    expect('the protocol version', protocolVersion, VERSION);
    const [, sessionId] = /\r\nmcp-session-id:[ \t]*([^\r]+)/i.exec(reply.head) ?? [];
    if (sessionId === undefined) throw new Error('initialize was answered without a session ID');

    const session = new Session(target, sessionId);
    const { status } = await session.post(connection, INITIALIZED);
    expect('status of notifications/initialized', status, 202);
    return session;
  }

  /** @param {Connection} connection */
  async end(connection) {
    const { status } = await connection.exchange(`${start('DELETE', this.#target)}${this.#headers}\r\n`);
    expect('a status of 2xx for DELETE', Math.floor(status / 100), 2);
  }

  /**
   * Checks that the session has ended.
   *
   * @param {Connection} connection
   */
  async expectEnded(connection) {
    const message = { jsonrpc: '2.0', id: this.nextId(), method: 'tools/list' };
    expect('status of a request after DELETE', (await this.post(connection, message)).status, 404);
  }

  /**
   * Opens the standalone stream.
   *
   * @param {Connection} connection
   * @param {import('./body.mjs').Sink} onPiece
   */
  async listen(connection, onPiece) {
    const head = `${start('GET', this.#target)}Accept: text/event-stream\r\n${this.#headers}\r\n`;
    const { status } = await connection.stream(head, onPiece);
    expect('status of GET', status, 200);
  }
}

/** @param {Target} target */
export const statelessClient = (target) =>
  new Client(`${start('POST', target)}${POST_HEADERS}Mcp-Protocol-Version: ${VERSION}\r\n`);

/** @param {Target} target */
export const modernClient = (target, tool) =>
  new Client(
    `${start('POST', target)}${POST_HEADERS}Mcp-Protocol-Version: ${MODERN_VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: ${tool}\r\n`,
    MODERN_META,
  );
