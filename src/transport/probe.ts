import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../runtime/clock.js';
import type { Reply } from './reply.js';

/** How long the client may take to answer the ping, in ms. */
const PROBE_TIMEOUT = 2_000;

/**
 * Sends a ping to find out whether a stream still has a reader: a proxy may keep the connection of a client that disconnected
 * (spec 2025-11-25, basic/utilities/ping). The ping is never stored, so that no later stream repeats it.
 */
export class Probe {
  readonly id = randomUUID();
  /** Resolves to whether the client still reads the stream. */
  readonly lives: Promise<boolean>;
  readonly #clock: Clock;
  readonly #timer: unknown;
  /** The GETs that wait for the stream, oldest first. */
  readonly #waiting: ServerResponse[] = [];
  #newest: ServerResponse | undefined;
  #resolve: (lives: boolean) => void = () => undefined;

  /** @param onSettled - Called before the promise resolves. */
  constructor(
    clock: Clock,
    readonly reply: Reply,
    readonly onSettled: () => void,
  ) {
    this.#clock = clock;
    this.lives = new Promise((resolve) => (this.#resolve = resolve));
    this.#timer = clock.setTimeout(() => this.settle(false), PROBE_TIMEOUT);
    reply.event(JSON.stringify({ jsonrpc: '2.0', id: this.id, method: 'ping' }));
  }

  wait(res: ServerResponse): void {
    this.#waiting.push(res);
  }

  /** Whether this was the newest GET with a connected client when the ping was settled. That GET takes the stream. */
  isNewest(res: ServerResponse): boolean {
    return this.#newest === res;
  }

  settle(lives: boolean): void {
    this.#clock.clearTimeout(this.#timer);
    this.onSettled();
    this.#newest = this.#waiting.findLast((each) => !each.destroyed);
    this.#resolve(lives);
  }
}
