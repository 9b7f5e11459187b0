import type { Clock } from './clock.js';

/** The place of an item in a {@link DueQueue}, in one at a time. Made once for each item, and used again. */
export class Due<T> {
  readonly item: T;
  /** By the clock of its queue. */
  at = 0;
  queue: DueQueue<T> | undefined;
  before: Due<T> | undefined;
  after: Due<T> | undefined;

  constructor(item: T) {
    this.item = item;
  }

  /** Leaves the queue that it is in, if any. */
  cancel(): void {
    this.queue?.delete(this);
  }
}

/**
 * Items that are each due a fixed time after they were added, behind a single timer.
 *
 * As the time is the same for all, insertion order is due order, but for an item that began to wait before it came here. The
 * timer looks at the oldest only: its cost follows the number that are due, not the number that wait. Adding an item again
 * moves it to the end.
 *
 * A linked list whose links are cut when an item leaves. A `Map` in which each request is entered for a moment would be
 * rebuilt all the time, and each of its discarded tables keeps what it last held from an early garbage collection, with all
 * that hangs on it: the request, the response and their buffers.
 */
export class DueQueue<T> {
  readonly #clock: Clock;
  readonly #delay: number;
  readonly #onDue: (item: T) => void;
  #first: Due<T> | undefined;
  #last: Due<T> | undefined;
  #timer: unknown;
  #timerAt = 0;

  constructor(clock: Clock, delay: number, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#delay = delay;
    this.#onDue = onDue;
  }

  /** @param since - When the item began to wait, if that was earlier than now. The more began later, the more it costs. */
  add(due: Due<T>, since = this.#clock.now()): void {
    // Within the queue its timer goes on.
    if (due.queue === this) this.#unlink(due);
    else due.cancel();
    due.queue = this;
    due.at = since + this.#delay;
    let before = this.#last;
    while (before !== undefined && before.at > due.at) before = before.before;
    this.#link(due, before);
    if (before === undefined) this.#arm(due);
  }

  /** A queue without items has no timer; one with later items leaves it to run, find nothing due and set itself anew. */
  delete(due: Due<T>): void {
    if (due.queue !== this) return;
    this.#unlink(due);
    if (this.#first === undefined) this.#stop();
  }

  /** The item that has waited longest. */
  oldest(): T | undefined {
    return this.#first?.item;
  }

  readonly #run = (): void => {
    const now = this.#clock.now();
    try {
      // Added again by its own handler, an item waits behind `now` and ends the loop.
      for (let due = this.#first; due !== undefined && due.at <= now; due = this.#first) {
        this.#unlink(due);
        this.#onDue(due.item);
      }
    } finally {
      // Also when a handler threw, as the others still wait; and for the oldest, whatever a handler has added.
      this.#stop();
      if (this.#first !== undefined) this.#arm(this.#first);
    }
  };

  #link(due: Due<T>, before: Due<T> | undefined): void {
    const after = before === undefined ? this.#first : before.after;
    due.before = before;
    due.after = after;
    if (before === undefined) this.#first = due;
    else before.after = due;
    if (after === undefined) this.#last = due;
    else after.before = due;
  }

  #unlink(due: Due<T>): void {
    if (due.before === undefined) this.#first = due.after;
    else due.before.after = due.after;
    if (due.after === undefined) this.#last = due.before;
    else due.after.before = due.before;
    due.queue = due.before = due.after = undefined;
  }

  /** Sets the timer for an item, unless it will look sooner anyway. */
  #arm({ at }: Due<T>): void {
    const now = this.#clock.now();
    const delay = Math.max(1, Math.ceil(at - now));
    if (this.#timer !== undefined && this.#timerAt <= now + delay) return;
    this.#stop();
    this.#timerAt = now + delay;
    this.#timer = this.#clock.setTimeout(this.#run, delay);
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
