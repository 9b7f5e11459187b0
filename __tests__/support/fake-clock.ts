import type { Clock } from '../../src/runtime/clock.js';

/** The longest delay that a Node timer takes. */
const MAX_DELAY = 2 ** 31 - 1;

interface Timer {
  readonly dueAt: number;
  readonly callback: () => void;
}

/**
 * A clock that stands still until a test moves it.
 *
 * Its timers behave as Node's do (lib/internal/timers.js): a delay loses its fraction and is at least 1 ms. Where Node would
 * fire at once and warn (a delay that is not a number, or past 2^31 - 1), this one throws; so does a negative one.
 */
export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>();
  #now: number;

  /** @param start - Where the hands stand. Not 0, as neither do those of `performance.now()`. */
  constructor(start = 1_000) {
    this.#now = start;
  }

  /** How many timers are armed. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  /** The time in ms until the next timer is due. Infinity without timers. */
  get untilNext(): number {
    let dueAt = Infinity;
    for (const timer of this.#timers) dueAt = Math.min(dueAt, timer.dueAt);
    return Math.max(0, dueAt - this.#now);
  }

  /** Goes with the hands. */
  wallTime(): number {
    return 1_800_000_000_000 + this.#now;
  }

  setTimeout(callback: () => void, ms: number): unknown {
    if (!(ms >= 0 && ms <= MAX_DELAY)) throw new RangeError(`No delay for a timer: ${ms}`);
    const timer: Timer = { dueAt: this.#now + Math.max(1, Math.trunc(ms)), callback };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as Timer);
  }

  /**
   * Moves on by `ms` and runs every timer that falls due on the way, those armed meanwhile included: in the order in which
   * they are due, those of the same time in the order in which they were armed, each at its own time.
   *
   * What a callback throws comes out here, with the hands at that callback's time; the other timers stay armed. As
   * nothing asynchronous can happen on the way, a test of promises advances in steps and awaits between them.
   */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`Time does not go back: ${ms}`);
    const end = this.#now + ms;
    for (let timer = this.#nextUntil(end); timer !== undefined; timer = this.#nextUntil(end)) {
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, timer.dueAt);
      timer.callback();
    }
    this.#now = Math.max(this.#now, end);
  }

  /** Moves on by `ms` as if something had blocked the event loop: timers that fall due run late, at the next `advance`. */
  block(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`Time does not go back: ${ms}`);
    this.#now += ms;
  }

  #nextUntil(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueAt <= end && (next === undefined || timer.dueAt < next.dueAt)) next = timer;
    }
    return next;
  }
}
