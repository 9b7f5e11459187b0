/** The only source of time and timers, injected so that tests turn the hands. */
export interface Clock {
  /** Monotonic milliseconds: wall clocks jump, and a session must not expire because one did. */
  now(): number;
  /** Like the global one; the timer must not keep the process alive. */
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** Node's own clock, its timers unref'ed. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms).unref(),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};
