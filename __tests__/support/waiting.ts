import { setTimeout as sleep } from 'node:timers/promises';

/** A promise that the test settles. */
export class Deferred<T = void> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** A promise that never settles. */
export const never = (): Promise<never> => new Promise(() => undefined);

/** In ms. A test that passes never waits so long, and a busy machine must not make one fail. */
const PATIENCE = 50_000;

/** In ms, between two checks of a condition. */
const LONGEST_PAUSE = 50;

/** Waits for what no event tells the test of; fails, saying what, when it does not come. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const from = performance.now();
    if (await holds()) return;
    const to = performance.now();
    if (to > deadline) throw new Error(`still not so after ${PATIENCE} ms: ${what}`);
    // A check over HTTP takes CPU time from the processes that the test waits for, so it runs a fifth of the time at most.
    await sleep(Math.min(1 + 4 * (to - from), LONGEST_PAUSE));
  }
}

/** The value of a promise that must settle soon; one that hangs says so, where jest would only say that a test took too long. */
export async function soon<T>(what: string, promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(PATIENCE, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`still not so after ${PATIENCE} ms: ${what}`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}
