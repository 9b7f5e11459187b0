import type { Clock } from '../../runtime/clock.js';

/** Lines of one kind in each interval. */
export const MAX_LINES = 100;
/** Milliseconds. */
export const LINE_INTERVAL = 60_000;

/** Limits the lines of one kind. A fault such as a full Redis would otherwise fill the log with a line for each request. */
export class LineLimit {
  readonly #clock: Clock;
  /** The current interval of each kind. The kinds are texts of the code, so their number is bounded. */
  readonly #intervals = new Map<string, { readonly start: number; lines: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Counts a line.
   *
   * @returns Undefined if the line may not be written. Else the number of lines of its kind that the last interval dropped.
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
