import { expect, messagesOf, resultOf } from './answers.mjs';
import { Client, POST_HEADERS, start } from './client.mjs';
import { INITIALIZE, INITIALIZED, LIST_CHANGED, VERSION } from './messages.mjs';

/** @typedef {import('./client.mjs').Target} Target @typedef {import('./connection.mjs').Connection} Connection */

/** A client with a session. */
export class Session extends Client {
  #target;
  #headers;

  /**
   * @param {Target} target
   * @param {string} id
   * @param {string} authorization A header line, or nothing.
   */
  constructor(target, id, authorization) {
    super();
    this.#headers = `Mcp-Session-Id: ${id}\r\nMcp-Protocol-Version: ${VERSION}\r\n${authorization}`;
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
   * @param {string} [authorization] A header line.
   */
  static async open(connection, target, authorization = '') {
    const asking = new Client(start('POST', target) + POST_HEADERS + authorization);
    const id = asking.nextId();
    const reply = await asking.post(connection, { ...INITIALIZE, id });
    const { protocolVersion } = resultOf(messagesOf(reply), id);
    expect('the protocol version', protocolVersion, VERSION);
    const [, sessionId] = /\r\nmcp-session-id:[ \t]*([^\r]+)/i.exec(reply.head) ?? [];
    if (sessionId === undefined) throw new Error('initialize was answered without a session ID');

    const session = new Session(target, sessionId, authorization);
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

  /** Whether a message of the standalone stream announces that the tools have changed. */
  isChange({ method }) {
    return method === LIST_CHANGED;
  }
}
