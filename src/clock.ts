import { MAX_TIMER } from './checks.js';

/** The only source of time and timers, injected so that tests turn the hands. */
export interface Clock {
  /** Monotonic milliseconds: wall clocks jump, and a session must not expire because one did. */
  now(): number;
  /** Like the global one; the timer must not keep the process alive. */
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Milliseconds since 1970, for what outlives the process: no monotonic clock does. Default: `Date.now`. */
  wallTime?(): number;
}

/** Node's own clock, its timers unref'ed. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms).unref(),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/**
 * The clock as the router uses it: what a timer's callback throws is reported, where Node would end the process for it; and
 * where a user's clock throws, time stands still, or Node's timers take its place.
 *
 * @param onFailure - Told of each callback that threw, and once of a clock that did.
 */
export function guardClock(clock: Clock, onFailure: (what: string, error: unknown) => void): Clock {
  const guarded = (callback: () => void) => (): void => {
    try {
      callback();
    } catch (error) {
      onFailure('a timer', error);
    }
  };
  if (clock !== systemClock) return new UserClock(clock, guarded, onFailure);
  return { ...systemClock, setTimeout: (callback, ms) => systemClock.setTimeout(guarded(callback), ms) };
}

/** A timer of Node's, where the user's clock could not set one. */
class SystemTimer {
  constructor(readonly timer: unknown) {}
}

class UserClock implements Clock {
  readonly #clock: Clock;
  readonly #guarded: (callback: () => void) => () => void;
  readonly #onFailure: (what: string, error: unknown) => void;
  #last = 0;
  #failed = false;

  constructor(
    clock: Clock,
    guarded: (callback: () => void) => () => void,
    onFailure: (what: string, error: unknown) => void,
  ) {
    this.#clock = clock;
    this.#guarded = guarded;
    this.#onFailure = onFailure;
  }

  now(): number {
    const now = this.#or(
      () => this.#clock.now(),
      () => this.#last,
    );
    this.#last = now;
    return now;
  }

  setTimeout(callback: () => void, ms: number): unknown {
    const guarded = this.#guarded(callback);
    return this.#or(
      () => this.#clock.setTimeout(guarded, ms),
      () => new SystemTimer(systemClock.setTimeout(guarded, ms)),
    );
  }

  clearTimeout(timer: unknown): void {
    if (timer instanceof SystemTimer) systemClock.clearTimeout(timer.timer);
    else
      this.#or(
        () => this.#clock.clearTimeout(timer),
        () => undefined,
      );
  }

  wallTime(): number {
    return this.#or(() => this.#clock.wallTime?.() ?? Date.now(), Date.now);
  }

  #or<T>(ask: () => T, instead: () => T): T {
    try {
      return ask();
    } catch (error) {
      if (!this.#failed) this.#onFailure('option clock', error);
      this.#failed = true;
      return instead();
    }
  }
}

export const wallTime = (clock: Clock): number => clock.wallTime?.() ?? Date.now();

/**
 * What the promise comes to; the process lives at least until then.
 *
 * The timers that bound a wait are unref'ed. Without a socket that is open, Node would exit in the middle of the wait, with
 * code 0 or 13, and what follows the caller's `await` would never run.
 */
export async function keepingAlive<T>(promise: Promise<T>): Promise<T> {
  const handle = setInterval(() => undefined, MAX_TIMER);
  try {
    return await promise;
  } finally {
    clearInterval(handle);
  }
}

/**
 * What the promise comes to, or a rejection with what `late` gives when that takes longer than `ms`.
 *
 * @param left - Milliseconds that are left when `ms` have passed, where the time does not always run. Default: 0.
 */
export async function inTime<T>(
  clock: Clock,
  ms: number,
  promise: Promise<T>,
  late: () => Error,
  left: () => number = () => 0,
): Promise<T> {
  let timer: unknown;
  const over = new Promise<never>((_, reject) => {
    const look = (): void => {
      const more = left();
      if (more <= 0) reject(late());
      else timer = clock.setTimeout(look, more);
    };
    timer = clock.setTimeout(look, ms);
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    clock.clearTimeout(timer);
  }
}
