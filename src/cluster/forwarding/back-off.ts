import type { Clock } from '../../runtime/clock.js';

/** After a failed restore, this node leaves the session to other nodes for so long, in ms. Retry-After is as long. */
export const BACK_OFF = 5_000;

/** Bound on the number of remembered sessions. Past it, the oldest entry is dropped. */
const MOST = 10_000;

/** The sessions that this node recently failed to restore. */
export class BackOff {
  readonly #clock: Clock;
  /** The time at which this node may try each session again, soonest first. */
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
