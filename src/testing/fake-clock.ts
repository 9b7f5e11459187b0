import type { Clock } from '../runtime/clock.js';

/** The longest delay that a Node timer takes. */
const MAX_DELAY = 2 ** 31 - 1;

interface Timer {
  readonly dueAt: number;
  readonly callback: () => void;
}

/**
 * Makes a clock that stands still until a test moves it, for the option `clock` of a router.
 *
 * @param start - The first time, in ms. Default: 1,000, as a time of 0 would hide mistakes.
 *
 * @example
 * ```ts
 * const clock = fakeClock();
 * const router = mcpRouter({ serverFactory, ttl: 60_000, clock });
 * clock.advance(60_001); // sessions without a client expire
 * ```
 */
export function fakeClock(start?: number): FakeClock {
  return new FakeClock(start);
}

/**
 * A clock that stands still until a test moves it.
 *
 * Its timers behave as Node's do (lib/internal/timers.js): a delay loses its fraction and is at least 1 ms. A delay for which
 * Node's timer would fire at once and warn (not a number, or more than 2^31 - 1) is a RangeError. So is a negative one.
 */
export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>();
  #now: number;

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

  /** Milliseconds since 1970. They advance together with {@link now}. */
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
   * Moves the time on by `ms` and runs each timer that is due until then, at its own time and in order. Timers that are armed
   * meanwhile count, too.
   *
   * An error of a callback comes out here. The other timers stay armed. Nothing asynchronous happens on the way. So a test of
   * promises advances in steps and awaits between them.
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

  /** Moves the time on by `ms` as if the event loop was blocked. Timers that are due run late, at the next `advance`. */
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
