import type { Clock } from './clock.js';

/** How long servers are built in one turn of the event loop, in ms. Further work waits for the next turn. */
const BUDGET = 1;

/**
 * Spreads work over turns of the event loop. When many clients reconnect at once, each of them needs a new server. Without a
 * budget, all servers would be built in one turn, and all other requests and answers would wait for that.
 */
export class EventLoopBudget {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  /** The time that was used in this turn, in ms. */
  #spent = 0;
  #counting = false;
  /** True while a piece still runs promise jobs in this turn. */
  #busy = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Does the work in this turn or in a later one. Work is done in the order of the calls. */
  run<T>(work: () => T): Promise<Awaited<T>> {
    return this.#run(work);
  }

  /** The same for a small piece of work. The time of its promise jobs counts as well. No other piece begins before they end. */
  runPiece<T>(work: () => T): Promise<Awaited<T>> {
    return this.#run(() => {
      this.#busy = true;
      // This job runs before the promise jobs of the work.
      queueMicrotask(() => {
        const begun = this.#clock.now();
        // Runs after all promise jobs, as this is called within one (Node.js, `process.nextTick`).
        process.nextTick(() => {
          this.#busy = false;
          this.#spend(this.#clock.now() - begun);
        });
      });
      return work();
    });
  }

  async #run<T>(work: () => T): Promise<Awaited<T>> {
    if (this.#busy || this.#spent >= BUDGET || this.#waiting.length > 0) {
      // Awaited rather than called from the queue, so that the work runs in its own `AsyncLocalStorage` context.
      await new Promise<void>((wake) => this.#waiting.push(wake));
      this.#waiting.shift();
    }
    const begun = this.#clock.now();
    let done: T;
    try {
      done = work();
    } finally {
      this.#spend(this.#clock.now() - begun);
    }
    return await done;
  }

  #spend(ms: number): void {
    this.#spent += ms;
    if (!this.#counting) setImmediate(this.#newTurn);
    this.#counting = true;
    if (this.#spent < BUDGET && !this.#busy) this.#waiting[0]?.();
  }

  readonly #newTurn = (): void => {
    this.#counting = false;
    this.#spent = 0;
    this.#waiting[0]?.();
  };
}
