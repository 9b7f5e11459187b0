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

/** Bound on the number of known owners. The least recently used entry is dropped first. */
const MAX_OWNERS = 20_000;

/** The last known owner of each session. A wrong entry does no harm: a node refuses requests for sessions of other nodes. */
export class OwnerCache {
  readonly #owners = new Map<string, string>();

  get(sessionId: string): string | undefined {
    const owner = this.#owners.get(sessionId);
    if (owner === undefined) return undefined;
    this.#owners.delete(sessionId);
    this.#owners.set(sessionId, owner);
    return owner;
  }

  set(sessionId: string, owner: string): void {
    this.#owners.set(sessionId, owner);
    const [oldest] = this.#owners.keys();
    if (this.#owners.size > MAX_OWNERS && oldest !== undefined) this.#owners.delete(oldest);
  }

  delete(sessionId: string): void {
    this.#owners.delete(sessionId);
  }
}
