import { MAX_TIMER } from './checks.js';

/** The only source of time and timers. It is injected, so that tests control the time. */
export interface Clock {
  /** Monotonic milliseconds. A wall clock may jump, and a session must not expire because of that. */
  now(): number;
  /** Like the global function, but the timer must not keep the process alive. */
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Milliseconds since 1970, for data that outlives the process. A monotonic clock does not. Default: `Date.now`. */
  wallTime?(): number;
}

/** Node's own clock. Its timers are unref'ed. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms).unref(),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/**
 * Makes a clock that never throws. Node ends the process when a timer's callback throws, so the error is reported instead. When
 * the app's clock throws, `now` returns the last time, and Node's own timers are used.
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

/** A timer of Node. It replaces a timer that the app's clock could not set. */
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
    const now = this.#attempt(
      () => this.#clock.now(),
      () => this.#last,
    );
    this.#last = now;
    return now;
  }

  setTimeout(callback: () => void, ms: number): unknown {
    const guarded = this.#guarded(callback);
    return this.#attempt(
      () => this.#clock.setTimeout(guarded, ms),
      () => new SystemTimer(systemClock.setTimeout(guarded, ms)),
    );
  }

  clearTimeout(timer: unknown): void {
    if (timer instanceof SystemTimer) systemClock.clearTimeout(timer.timer);
    else
      this.#attempt(
        () => this.#clock.clearTimeout(timer),
        () => undefined,
      );
  }

  wallTime(): number {
    return this.#attempt(() => this.#clock.wallTime?.() ?? Date.now(), Date.now);
  }

  #attempt<T>(ask: () => T, instead: () => T): T {
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
 * Keeps the process alive until the promise is settled. The result settles in the same way.
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
 * Settles as the promise does. Rejects with the error of `onTimeout` when the promise takes longer than `ms`.
 *
 * @param remaining - The remaining time in ms when `ms` have passed, for a time-out that can be paused. Default: 0.
 */
export async function inTime<T>(
  clock: Clock,
  ms: number,
  promise: Promise<T>,
  onTimeout: () => Error,
  remaining: () => number = () => 0,
): Promise<T> {
  let timer: unknown;
  const timeout = new Promise<never>((_, reject) => {
    const check = (): void => {
      const more = remaining();
      if (more <= 0) reject(onTimeout());
      else timer = clock.setTimeout(check, more);
    };
    timer = clock.setTimeout(check, ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clock.clearTimeout(timer);
  }
}
