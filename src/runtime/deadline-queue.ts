import type { Clock } from './clock.js';
import { Heap, type Slotted } from './heap.js';
import { LinkedList, type Linked } from './linked-list.js';

/** The place of an item in a {@link DeadlineQueue}. It is in one queue at a time. An item creates it once and reuses it. */
export class Deadline<T> implements Slotted, Linked<Deadline<T>> {
  readonly item: T;
  /** When the item is due, by the clock of its queue. */
  at = 0;
  /** Grows with each addition to its queue, so that items which are due at the same time keep their order. */
  order = 0;
  slot = -1;
  queue: DeadlineQueue<T> | undefined;
  list: LinkedList<Deadline<T>> | undefined;
  before: Deadline<T> | undefined;
  after: Deadline<T> | undefined;

  constructor(item: T) {
    this.item = item;
  }

  /** Removes the item from its queue, if it is in one. */
  cancel(): void {
    this.queue?.delete(this);
  }
}

/**
 * Items that are each due a fixed time after they were added. The queue has a single timer.
 *
 * The time is the same for all items, so they are due in the order of insertion. The exception is an item that began to wait
 * before it was added. Such items are in a heap, which is cheap for any order. The timer checks only the oldest item, so its cost
 * grows with the number of due items. Adding an item again moves it to the end.
 */
export class DeadlineQueue<T> {
  readonly #clock: Clock;
  readonly #delay: number;
  readonly #onDue: (item: T) => void;
  readonly #inOrder = new LinkedList<Deadline<T>>();
  readonly #early = new Heap<Deadline<T>>(isBefore);
  #added = 0;
  #size = 0;
  #timer: unknown;
  #timerAt = 0;

  constructor(clock: Clock, delay: number, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#delay = delay;
    this.#onDue = onDue;
  }

  /** @param since - When the item began to wait, if that was earlier than now. */
  add(due: Deadline<T>, since = this.#clock.now()): void {
    // An item of this queue moves without `cancel`, so that the timer is not stopped.
    if (due.queue === this) this.#remove(due);
    else due.cancel();
    due.queue = this;
    due.at = since + this.#delay;
    due.order = this.#added += 1;
    this.#size += 1;
    const { last } = this.#inOrder;
    if (last !== undefined && last.at > due.at) this.#early.add(due);
    else this.#inOrder.append(due);
    if (this.#timer === undefined || due.at < this.#timerAt) this.#arm(due);
  }

  /** Removes an item. The timer is stopped only when the queue is empty. Otherwise it fires with nothing due and is set again. */
  delete(due: Deadline<T>): void {
    if (due.queue !== this) return;
    this.#remove(due);
    if (this.#size === 0) this.#stop();
  }

  /** The item that has waited longest. */
  oldest(): T | undefined {
    return this.#next?.item;
  }

  readonly #run = (): void => {
    const now = this.#clock.now();
    try {
      // An item that its own handler adds again is due after `now`, so the loop ends.
      for (let due = this.#next; due !== undefined && due.at <= now; due = this.#next) {
        this.#remove(due);
        this.#onDue(due.item);
      }
    } finally {
      // Also after a handler threw, as the other items still wait. The oldest item counts, as a handler may have added some.
      this.#stop();
      if (this.#next !== undefined) this.#arm(this.#next);
    }
  };

  /** The item that is due first. */
  get #next(): Deadline<T> | undefined {
    const early = this.#early.first;
    const { first } = this.#inOrder;
    if (early === undefined || first === undefined) return early ?? first;
    return isBefore(early, first) ? early : first;
  }

  #remove(due: Deadline<T>): void {
    due.queue = undefined;
    this.#size -= 1;
    if (due.list === undefined) this.#early.delete(due);
    else due.list.delete(due);
  }

  /** Sets the timer for an item, unless the timer fires earlier already. */
  #arm({ at }: Deadline<T>): void {
    const now = this.#clock.now();
    const delay = Math.max(1, Math.ceil(at - now));
    if (this.#timer !== undefined && this.#timerAt <= now + delay) return;
    if (this.#timer !== undefined) this.#stop();
    this.#timerAt = now + delay;
    this.#timer = this.#clock.setTimeout(this.#run, delay);
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

type Turn = Pick<Deadline<unknown>, 'at' | 'order'>;

function isBefore(a: Turn, b: Turn): boolean {
  return a.at === b.at ? a.order < b.order : a.at < b.at;
}
