import type { Clock } from '../../src/runtime/clock.js';
import type { FakeClock } from './fake-clock.js';

/** The clock of one process: its timers die with it. */
export class ProcessClock implements Clock {
  readonly #clock: FakeClock;
  readonly #timers = new Set<unknown>();
  #dead = false;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  wallTime(): number {
    return this.#clock.wallTime();
  }

  setTimeout(callback: () => void, ms: number): unknown {
    if (this.#dead) return undefined;
    const timer = this.#clock.setTimeout(() => {
      this.#timers.delete(timer);
      callback();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer);
    this.#clock.clearTimeout(timer);
  }

  die(): void {
    this.#dead = true;
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
  }
}
