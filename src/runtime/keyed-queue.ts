import { inTime, type Clock } from './clock.js';

const ignore = (): void => undefined;

/** Work that waits or runs. Neither promise rejects. */
interface Work {
  readonly begun: Promise<void>;
  readonly ended: Promise<void>;
}

/** Runs the work of each key one after another. */
export class KeyedQueue {
  readonly #clock: Clock;
  readonly #longestWait: number;
  /** The work that came last, by key. An entry lasts until that work has ended. */
  readonly #last = new Map<string, Work>();

  /** @param longestWait - In ms. Work that has run so long may hang. The next one then begins beside it. */
  constructor(clock: Clock, longestWait: number) {
    this.#clock = clock;
    this.#longestWait = longestWait;
  }

  /** Keys with work that waits or runs. */
  get size(): number {
    return this.#last.size;
  }

  /** Settles as the work does. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const earlier = this.#last.get(key);
    const begun = earlier === undefined ? Promise.resolve() : this.#endOrLongestWait(earlier);
    const done = earlier === undefined ? work() : begun.then(work);
    const ended = done.then(ignore, ignore).then(() => {
      if (this.#last.get(key)?.ended === ended) this.#last.delete(key);
    });
    this.#last.set(key, { begun, ended });
    return done;
  }

  /** The wait is counted from the begin of the earlier work. Counted from the queueing, all that waits would begin at once. */
  async #endOrLongestWait({ begun, ended }: Work): Promise<void> {
    await begun;
    await inTime(this.#clock, this.#longestWait, ended, () => new Error('the longest wait is over')).catch(ignore);
  }
}
