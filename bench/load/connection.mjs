import net from 'node:net';
import { ChunkedBody, SizedBody } from './body.mjs';

const END_OF_HEAD = '\r\n\r\n';

/**
 * @typedef {object} Reply
 * @property {number} status
 * @property {string} head The raw head.
 * @property {Buffer} body
 */

/**
 * One kept-alive socket with one exchange at a time. This minimal HTTP client is fast, so that the generator can check
 * every answer without becoming the bottleneck.
 */
export class Connection {
  #socket;
  /** The bytes of an incomplete head. */
  #rest;
  #body;
  #status = 0;
  #head = '';
  /** @type {Buffer[]} */
  #pieces = [];
  #onPiece;
  #onHead;
  #settle;

  /**
   * @param {{ host: string, port: number }} address
   * @param {number} bufferSize The most bytes of one read.
   */
  constructor({ host, port }, bufferSize = 65_536) {
    const buffer = Buffer.allocUnsafe(bufferSize);
    const callback = (length) => {
      try {
        this.#take(buffer.subarray(0, length));
      } catch (error) {
        this.#fail(error);
        this.#socket.destroy();
      }
      return true;
    };
    this.#socket = net.connect({ host, port, noDelay: true, onread: { buffer, callback } });
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the server closed the socket')));
  }

  /** Resolves when the socket is open. */
  opened() {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.once('connect', resolve);
    });
  }

  /**
   * Sends one request. Resolves to its complete reply.
   *
   * @param {string} head
   * @param {string | Buffer} [body]
   * @returns {Promise<Reply>}
   */
  exchange(head, body) {
    this.#send(head, body);
    return new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
  }

  /**
   * Sends one request with an endless reply. Resolves to the head; pieces of the body go to `onPiece`.
   *
   * @param {string} head
   * @param {import('./body.mjs').Sink} onPiece
   * @returns {Promise<Pick<Reply, 'status' | 'head'>>}
   */
  stream(head, onPiece) {
    this.#onPiece = onPiece;
    this.#send(head);
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#onHead = resolve;
    });
  }

  close() {
    this.#settle = undefined;
    this.#socket.destroy();
  }

  #send(head, body) {
    if (this.#socket.destroyed) throw new Error('the server closed the socket');
    if (typeof body !== 'object') {
      this.#socket.write(body === undefined ? head : head + body);
      return;
    }
    this.#socket.cork();
    this.#socket.write(head);
    this.#socket.write(body);
    this.#socket.uncork();
  }

  #take(data) {
    if (this.#body === undefined) {
      const start = this.#rest === undefined ? data : Buffer.concat([this.#rest, data]);
      const end = start.indexOf(END_OF_HEAD);
      if (end < 0) {
        this.#rest = Buffer.from(start);
        return;
      }
      this.#rest = undefined;
      this.#beginBody(start.latin1Slice(0, end));
      this.#takeBody(start.subarray(end + END_OF_HEAD.length));
      return;
    }
    this.#takeBody(data);
  }

  #beginBody(head) {
    this.#head = head;
    this.#status = Number(head.slice(9, 12));
    const sink = this.#onPiece ?? ((piece) => this.#pieces.push(Buffer.from(piece)));
    const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(head);
    if (length !== null) this.#body = new SizedBody(Number(length[1]), sink);
    else if (/\r\ntransfer-encoding:[ \t]*chunked/i.test(head)) this.#body = new ChunkedBody(sink);
    else if (this.#status === 204) this.#body = new SizedBody(0, sink);
    else throw new Error(`a reply without a length or chunks: ${head}`);
    this.#onHead?.({ status: this.#status, head });
  }

  #takeBody(data) {
    this.#body.take(data);
    if (!this.#body.complete) return;
    if (this.#onPiece !== undefined) throw new Error(`the server ended a stream (status ${this.#status})`);
    const [first] = this.#pieces;
    const body = this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces);
    const reply = { status: this.#status, head: this.#head, body };
    this.#body = undefined;
    this.#pieces = [];
    const { resolve } = this.#settle;
    this.#settle = undefined;
    resolve(reply);
  }

  #fail(error) {
    this.#settle?.reject(error);
    this.#settle = undefined;
  }
}
