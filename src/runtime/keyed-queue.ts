import { inTime, type Clock } from './clock.js';

const ignore = (): void => undefined;

/** Runs the work of each key one after another. */
export class KeyedQueue {
  readonly #clock: Clock;
  readonly #longestWait: number;
  /** The end of the work that came last, by key. An entry lasts until that work has ended. */
  readonly #ends = new Map<string, Promise<void>>();

  /** @param longestWait - In ms. Work that has waited so long begins beside earlier work that may hang. */
  constructor(clock: Clock, longestWait: number) {
    this.#clock = clock;
    this.#longestWait = longestWait;
  }

  /** Keys with work that waits or runs. */
  get size(): number {
    return this.#ends.size;
  }

  /** Settles as the work does. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const earlier = this.#ends.get(key);
    const done = earlier === undefined ? work() : this.#endOrLongestWait(earlier).then(work);
    const end = done.then(ignore, ignore).then(() => {
      if (this.#ends.get(key) === end) this.#ends.delete(key);
    });
    this.#ends.set(key, end);
    return done;
  }

  #endOrLongestWait(earlier: Promise<void>): Promise<void> {
    return inTime(this.#clock, this.#longestWait, earlier, () => new Error('the longest wait is over')).catch(ignore);
  }
}
