import type { Clock } from '../../runtime/clock.js';

/** Lines of one kind in each interval. */
export const MAX_LINES = 100;
/** Milliseconds. */
export const LINE_INTERVAL = 60_000;

/** Keeps a fault that every request meets, such as a full Redis, from filling the log with a line for each request. */
export class LineLimit {
  readonly #clock: Clock;
  /** The current interval of each kind. The kinds are texts of the code, so their number is bounded. */
  readonly #intervals = new Map<string, { readonly start: number; lines: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Counts a line, and tells whether it may be written.
   *
   * @returns Undefined if it may not; else how many lines of its kind were not written in the interval before.
   */
  take(kind: string): number | undefined {
    const now = this.#clock.now();
    const interval = this.#intervals.get(kind);
    if (interval === undefined || now - interval.start >= LINE_INTERVAL) {
      this.#intervals.set(kind, { start: now, lines: 1 });
      return Math.max(0, (interval?.lines ?? 0) - MAX_LINES);
    }
    interval.lines += 1;
    return interval.lines > MAX_LINES ? undefined : 0;
  }
}
