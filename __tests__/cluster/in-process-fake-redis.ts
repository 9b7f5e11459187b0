import { setImmediate as turn } from 'node:timers/promises';
import type { SendCommand } from '../../src/stores/redis.js';
import type { FakeClock } from '../support/fake-clock.js';

/** Has all promises that can settle do so, whatever waits for them. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 2; turns += 1) await turn();
}

/**
 * What Redis does with a command: does it and answers; refuses it; has it wait, and does it when it is told to `answer`; does it
 * at once and answers then.
 */
export type Mode = 'up' | 'down' | 'hang' | 'late';

interface Value {
  readonly text: string;
  /** When Redis lets it go, by the fake clock. */
  readonly until: number;
}

/** The commands of Redis that nodes use, by a clock that the test moves. */
export class FakeRedis {
  mode: Mode = 'up';
  /** All that was sent, in order. */
  readonly commands: string[][] = [];
  /** Until when each key could have lived at most, also when it was lost since. */
  readonly granted = new Map<string, number>();
  readonly #clock: FakeClock;
  readonly #values = new Map<string, Value>();
  readonly #sets = new Map<string, Set<string>>();
  readonly #waiting: (() => void)[] = [];

  constructor(clock: FakeClock) {
    this.#clock = clock;
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
    if (key !== undefined) this.#values.delete(key);
    else for (const held of [this.#values, this.#sets]) held.clear();
  }

  has(key: string): boolean {
    return this.#get(key) !== null;
  }

  members(key: string): string[] {
    return [...(this.#sets.get(key) ?? [])];
  }

  #get(key: string): string | null {
    const value = this.#values.get(key);
    return value !== undefined && this.#clock.now() < value.until ? value.text : null;
  }

  #do([command, key, ...args]: string[]): unknown {
    const name = key!;
    switch (command) {
      case 'SET':
        return this.#set(name, args);
      case 'GET':
        return this.#get(name);
      case 'DEL': {
        const had = this.has(name);
        this.#values.delete(name);
        return Number(had);
      }
      case 'SADD':
        this.#sets.set(name, (this.#sets.get(name) ?? new Set()).add(args[0]!));
        return 1;
      case 'SREM':
        return Number(this.#sets.get(name)?.delete(args[0]!) ?? false);
      case 'SMEMBERS':
        return this.members(name);
      default:
        throw new Error(`not known to this Redis: ${String(command)}`);
    }
  }

  #set(key: string, [text, px, ms, condition]: string[]): string | null {
    if (px !== 'PX') throw new Error('a lease must have its time from the command that sets it');
    if (condition === 'NX' && this.has(key)) return null;
    if (condition === 'XX' && !this.has(key)) return null;
    const until = this.#clock.now() + Number(ms);
    this.#values.set(key, { text: text!, until });
    this.granted.set(key, until);
    return 'OK';
  }
}
