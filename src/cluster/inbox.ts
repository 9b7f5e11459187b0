import type { Clock } from '../clock.js';
import { notAReply, type SendCommand } from '../stores/redis-client.js';

/** How often a node looks whether other nodes ask it for sessions, in ms. */
const INTERVAL = 100;

/** Sessions that are taken from an inbox at a time. */
const MOST = '100';

/** How nodes that cannot reach each other ask for sessions: a list in Redis for each node, of the IDs that it is asked for. */
export class Inbox {
  readonly #send: SendCommand;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #onFailure: (error: unknown) => void;
  #closed = false;

  constructor(send: SendCommand, prefix: string, clock: Clock, onFailure: (error: unknown) => void) {
    this.#send = send;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** @param time - How long it may lie there, in ms: nobody waits for longer. */
  async ask(node: string, sessionId: string, time: number): Promise<void> {
    await this.#send('RPUSH', this.#key(node), sessionId);
    await this.#send('PEXPIRE', this.#key(node), String(time));
  }

  /** Hands over what is asked for from now on. */
  async open(node: () => string, onAsked: (sessionId: string) => void): Promise<void> {
    let failing = false;
    while (!this.#closed) {
      try {
        for (const sessionId of await this.#take(node())) onAsked(sessionId);
        failing = false;
      } catch (error) {
        if (!failing) this.#onFailure(error);
        failing = true;
      }
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, INTERVAL));
    }
  }

  close(): void {
    this.#closed = true;
  }

  async #take(node: string): Promise<string[]> {
    const ids = await this.#send('LPOP', this.#key(node), MOST);
    if (ids === null) return [];
    if (!Array.isArray(ids)) throw notAReply(ids);
    return ids.map(String);
  }

  #key(node: string): string {
    return `${this.#prefix}inbox:${node}`;
  }
}
