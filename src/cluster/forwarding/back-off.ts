import type { Clock } from '../../runtime/clock.js';

/** After a failed restore, this node does not try to restore the session again for this long, in ms. Equals Retry-After. */
export const BACK_OFF = 5_000;

/** Bound on the number of such sessions. Beyond it, the oldest entry is dropped. */
const MAX_SESSIONS = 10_000;

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
    if (this.#until.size > MAX_SESSIONS && oldest !== undefined) this.#until.delete(oldest);
  }

  isOn(sessionId: string): boolean {
    const until = this.#until.get(sessionId);
    if (until === undefined) return false;
    if (this.#clock.now() < until) return true;
    this.#until.delete(sessionId);
    return false;
  }
}
