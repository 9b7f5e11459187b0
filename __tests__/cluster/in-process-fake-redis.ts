import { setImmediate as turn } from 'node:timers/promises';
import type { SendCommand } from '../../src/stores/redis.js';
import type { FakeClock } from '../support/fake-clock.js';
import { nodesKey, REMOVE_LAST, RENEW, REPLACE_FIELD } from '../../src/cluster/membership/lease.js';
import { ModelRedis } from './model-redis.js';

export const PREFIX = 'p:';
const NODES = nodesKey(PREFIX);

/** The default of option `lease`. */
const LEASE = 5_000;

/** Has all promises that can settle do so, whatever waits for them. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 2; turns += 1) await turn();
}

/**
 * What Redis does with a command: does it and answers; refuses it; has it wait, and does it when it is told to `answer`; does it
 * at once and answers then; does it twice, as a client may send it again.
 */
export type Mode = 'up' | 'down' | 'hang' | 'late' | 'twice';

/** A Redis in memory that fails as the test says. */
export class FakeRedis {
  mode: Mode = 'up';
  /** All that was sent, in order. */
  readonly commands: string[][] = [];
  /** Until when no node can claim what each membership owns, were it to read each lease at once. */
  readonly granted = new Map<string, number>();
  readonly #clock: FakeClock;
  readonly #waiting: (() => void)[] = [];
  #redis: ModelRedis;

  constructor(clock: FakeClock) {
    this.#clock = clock;
    this.#redis = this.#empty();
  }

  readonly send: SendCommand = (...command) => {
    this.commands.push(command);
    switch (this.mode) {
      case 'up':
        return Promise.resolve().then(() => this.#do(command));
      case 'twice':
        return Promise.resolve()
          .then(() => this.#do(command))
          .then(() => this.#do(command));
      case 'down':
        return Promise.reject(new Error('The client is closed'));
      case 'hang':
        return new Promise<void>((resolve) => this.#waiting.push(resolve)).then(() => this.#do(command));
      case 'late': {
        const reply = Promise.resolve().then(() => this.#do(command));
        return new Promise<void>((resolve) => this.#waiting.push(resolve)).then(() => reply);
      }
    }
  };

  /** Does what waits, and answers. */
  answer(): void {
    for (const act of this.#waiting.splice(0)) act();
  }

  /** Loses everything. */
  lose(): void {
    this.#redis = this.#empty();
  }

  /** The field of a node in the hash of nodes. */
  field(id: string): string | undefined {
    return (this.#redis.do('HGET', NODES, id) as string | null) ?? undefined;
  }

  setField(id: string, text: string): void {
    this.#redis.do('HSET', NODES, id, text);
  }

  removeField(id: string): void {
    this.#redis.do('HDEL', NODES, id);
  }

  #empty(): ModelRedis {
    const redis = new ModelRedis(() => this.#clock.now());
    redis.load(RENEW, REPLACE_FIELD, REMOVE_LAST);
    return redis;
  }

  #do([name, ...args]: string[]): unknown {
    const reply = this.#redis.do(name!, ...args);
    const id = name === 'HSETNX' ? args[1] : args[0] === RENEW.hash ? args[3] : undefined;
    if (id !== undefined && reply === 1) this.granted.set(id, this.#clock.now() + LEASE);
    return reply;
  }
}
