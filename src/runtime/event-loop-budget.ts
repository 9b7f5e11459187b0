import type { Clock } from './clock.js';

/** How long servers are built in one turn of the event loop, in ms; what comes after that waits for the next turn. */
const BUDGET = 1;

/**
 * Spreads work over turns of the event loop. When many clients come back at once, a server is to be built for each: without
 * this all of it would be done in one turn, and every other request, and the answer to the first of these, would wait for it.
 */
export class EventLoopBudget {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  /** In this turn, in ms. */
  #spent = 0;
  #counting = false;
  /** True while a piece still runs promise jobs in this turn. */
  #busy = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Does the work, in this turn or a later one; each piece in the order in which they came. */
  run<T>(work: () => T): Promise<Awaited<T>> {
    return this.#run(work);
  }

  /** The same for a small piece of work. The time of its promise jobs counts as well, and no other piece begins meanwhile. */
  runPiece<T>(work: () => T): Promise<Awaited<T>> {
    return this.#run(() => {
      this.#busy = true;
      // This job runs before the promise jobs of the work.
      queueMicrotask(() => {
        const begun = this.#clock.now();
        // Runs after all promise jobs (Node.js, `process.nextTick`), as it is called from within one.
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
      // Awaited rather than called from the queue: so it is done in its own `AsyncLocalStorage`.
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
