import type { Clock } from '../clock.js';

/** How long a node leaves a session to others that it could not restore, in ms. The client's Retry-After is as long. */
export const BACK_OFF = 5_000;

/** Sessions that are remembered; the one that was given up first is forgotten first. */
const MOST = 10_000;

/** The sessions that this node could not restore a short while ago. */
export class BackOff {
  readonly #clock: Clock;
  /** When each may be tried again, the soonest first. */
  readonly #until = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(sessionId: string): void {
    this.#until.delete(sessionId);
    this.#until.set(sessionId, this.#clock.now() + BACK_OFF);
    const [oldest] = this.#until.keys();
    if (this.#until.size > MOST && oldest !== undefined) this.#until.delete(oldest);
  }

  isOn(sessionId: string): boolean {
    const until = this.#until.get(sessionId);
    if (until === undefined) return false;
    if (this.#clock.now() < until) return true;
    this.#until.delete(sessionId);
    return false;
  }
}
