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

/**
 * Items that are each due a fixed time after they were added, behind a single timer.
 *
 * As the time is the same for all, insertion order is due order: the timer looks at the oldest only, and its cost follows
 * the number that are due, not the number that wait. Adding an item again moves it to the end.
 */
export class DueQueue<T> {
  readonly #dueAt = new Map<T, number>();
  readonly #clock: Clock;
  readonly #delay: number;
  readonly #onDue: (item: T) => void;
  #timer: unknown;

  constructor(clock: Clock, delay: number, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#delay = delay;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#dueAt.size;
  }

  /** @param since - When the item began to wait, if that was earlier than now; never earlier than that of the one before. */
  add(item: T, since = this.#clock.now()): void {
    this.#dueAt.delete(item);
    this.#dueAt.set(item, since + this.#delay);
    this.#timer ??= this.#clock.setTimeout(this.#run, Math.max(0, since + this.#delay - this.#clock.now()));
  }

  /** A queue without items has no timer; one with later items leaves it to run, find nothing due and set itself anew. */
  delete(item: T): boolean {
    const held = this.#dueAt.delete(item);
    if (this.#dueAt.size === 0) this.clear();
    return held;
  }

  has(item: T): boolean {
    return this.#dueAt.has(item);
  }

  /** The item that has waited longest. */
  oldest(): T | undefined {
    for (const item of this.#dueAt.keys()) return item;
    return undefined;
  }

  /** Forgets every item and stops the timer. */
  clear(): void {
    this.#dueAt.clear();
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #run = (): void => {
    const now = this.#clock.now();
    try {
      for (const [item, dueAt] of this.#dueAt) {
        if (dueAt > now) return;
        this.#dueAt.delete(item);
        // Added again by its own handler, it waits behind `now` and ends the loop above.
        this.#onDue(item);
      }
    } finally {
      // Also when a handler threw, as the others still wait; and for the oldest, whatever a handler has added.
      this.#rearm();
    }
  };

  #rearm(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const dueAt of this.#dueAt.values()) {
      this.#timer = this.#clock.setTimeout(this.#run, Math.max(0, Math.ceil(dueAt - this.#clock.now())));
      return;
    }
  }
}
