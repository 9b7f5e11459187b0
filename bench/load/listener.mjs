import { StringDecoder } from 'node:string_decoder';
import { eventData, expect } from './answers.mjs';
import { Connection } from './connection.mjs';

/** Reads one session's standalone stream. Its log notifications must be 0, 1, 2 and so on, without gaps. */
export class Listener {
  #decoder = new StringDecoder();
  #rest = '';
  #heard = 0;
  #onHeard;
  #connection;
  #session;

  /**
   * @param {import('./session.mjs').Session} session
   * @param {import('./session.mjs').Target} target
   * @param {(error?: Error) => void} onHeard Called for each notification.
   */
  constructor(session, target, onHeard) {
    this.#session = session;
    this.#onHeard = onHeard;
    this.#connection = new Connection(target, 8192);
  }

  async open() {
    await this.#connection.opened();
    await this.#session.listen(this.#connection, (piece) => this.#take(piece));
  }

  close() {
    this.#connection.close();
  }

  #take(piece) {
    const text = this.#rest + this.#decoder.write(piece);
    const end = text.lastIndexOf('\n\n') + 2;
    this.#rest = end < 2 ? text : text.slice(end);
    if (end < 2) return;
    for (const data of eventData(text.slice(0, end))) this.#hear(JSON.parse(data));
  }

  #hear({ method, params }) {
    // Some contenders ping on this stream.
    if (method !== 'notifications/message') return;
    try {
      expect('a log notification', params.data, this.#heard++);
      this.#onHeard();
    } catch (error) {
      this.#onHeard(error);
    }
  }
}
