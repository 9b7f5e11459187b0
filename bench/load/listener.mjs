import { StringDecoder } from 'node:string_decoder';
import { sinceEpoch } from '../run/since-epoch.mjs';
import { eventData, expect } from './answers.mjs';
import { Connection } from './connection.mjs';

/**
 * What a listener counts on a stream: log notifications, which must be 0, 1, 2 and so on, without gaps; the same with the time at
 * which each was sent; or announcements that the tools have changed.
 *
 * @typedef {'logs' | 'timed-logs' | 'changes'} Subject
 */

/** Reads the standalone stream of a session, or the subscription of a client without one. */
export class Listener {
  #decoder = new StringDecoder();
  #rest = '';
  #heard = 0;
  #onHeard;
  #connection;
  #client;
  #subject;

  /**
   * @param {import('./session.mjs').Session | import('./modern-client.mjs').ModernClient} client
   * @param {import('./client.mjs').Target} target
   * @param {Subject} subject
   * @param {(error?: Error, ms?: number) => void} onHeard Called for each notification that counts; `ms`: how long a timed one took.
   */
  constructor(client, target, subject, onHeard) {
    this.#client = client;
    this.#subject = subject;
    this.#onHeard = onHeard;
    this.#connection = new Connection(target, 8192);
  }

  async open() {
    await this.#connection.opened();
    await this.#client.listen(this.#connection, (piece) => this.#take(piece));
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

  #hear(message) {
    try {
      if (this.#counts(message)) this.#onHeard(undefined, this.#subject === 'timed-logs' ? timeOf(message) : undefined);
    } catch (error) {
      this.#onHeard(error);
    }
  }

  #counts(message) {
    if (this.#subject === 'changes') return this.#client.isChange(message);
    // Some contenders ping on this stream.
    if (message.method !== 'notifications/message') return false;
    const { data } = message.params;
    expect('a log notification', this.#subject === 'timed-logs' ? data.number : data, this.#heard++);
    return true;
  }
}

const timeOf = ({ params: { data } }) => sinceEpoch() - data.at;
