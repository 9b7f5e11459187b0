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
 * The clock as the router uses it. Node ends the process when a timer's callback throws, so the error is reported instead.
 * When the user's clock throws, time stands still, or Node's own timers are used.
 *
 * @param onFailure - Called for each callback that threw, and once when the clock threw.
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

/** A timer of Node's. It takes over when the user's clock could not set one. */
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
 * Keeps the process alive until the promise is settled, and settles in the same way.
 *
 * The timers that bound a wait are unref'ed. Without an open socket, Node would exit in the middle of the wait, with code 0
 * or 13, and the code after the caller's `await` would never run.
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
 * Settles as the promise does, or rejects with the error of `late` when the promise takes longer than `ms`.
 *
 * @param left - Milliseconds that remain when `ms` have passed, for a time that can be paused. Default: 0.
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
