import { setImmediate as turn } from 'node:timers/promises';
import type { SendCommand } from '../../src/stores/redis.js';
import type { FakeClock } from '../support/fake-clock.js';
import { ModelRedis } from './model-redis.js';

/** Has all promises that can settle do so, whatever waits for them. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 2; turns += 1) await turn();
}

/**
 * What Redis does with a command: does it and answers; refuses it; has it wait, and does it when it is told to `answer`; does it
 * at once and answers then.
 */
export type Mode = 'up' | 'down' | 'hang' | 'late';

/** A Redis in memory that fails as the test says. */
export class FakeRedis {
  mode: Mode = 'up';
  /** All that was sent, in order. */
  readonly commands: string[][] = [];
  /** Until when each key could have lived at most, also when it was lost since. */
  readonly granted = new Map<string, number>();
  readonly #clock: FakeClock;
  readonly #waiting: (() => void)[] = [];
  #redis: ModelRedis;

  constructor(clock: FakeClock) {
    this.#clock = clock;
    this.#redis = new ModelRedis(() => clock.now());
  }

  readonly send: SendCommand = (...command) => {
    this.commands.push(command);
    switch (this.mode) {
      case 'up':
        return Promise.resolve(this.#do(command));
      case 'down':
        return Promise.reject(new Error('The client is closed'));
      case 'hang':
        return new Promise((resolve) => this.#waiting.push(() => resolve(this.#do(command))));
      case 'late': {
        const reply = this.#do(command);
        return new Promise((resolve) => this.#waiting.push(() => resolve(reply)));
      }
    }
  };

  /** Does what waits, and answers. */
  answer(): void {
    for (const act of this.#waiting.splice(0)) act();
  }

  /** Loses a key, or all. */
  lose(key?: string): void {
    if (key === undefined) this.#redis = new ModelRedis(() => this.#clock.now());
    else this.#redis.do('DEL', key);
  }

  has(key: string): boolean {
    return this.#redis.do('GET', key) !== null;
  }

  members(key: string): string[] {
    return this.#redis.do('SMEMBERS', key) as string[];
  }

  #do([name, ...args]: string[]): unknown {
    const reply = this.#redis.do(name!, ...args);
    if (name === 'SET' && reply === 'OK') {
      const [key, , px, ms] = args;
      if (px !== 'PX') throw new Error('a lease must have its time from the command that sets it');
      this.granted.set(key!, this.#clock.now() + Number(ms));
    }
    return reply;
  }
}
