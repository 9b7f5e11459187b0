import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { Keyv } from 'keyv';
import { keyvStore, type KeyvLike, type KeyvStoreOptions } from '../../src/stores/index.js';
import { sessionStoreContract } from '../../src/testing/index.js';
import { commands } from './store-commands.js';

const TTL = 60_000;

/** A Keyv over a map, with time of its own; Keyv's is Node's, by which little goes by. */
function open(map = new Map<string, string>()) {
  let now = Date.now();
  const store = keyvStore(new Keyv({ store: map, throwOnErrors: true }), { wallClock: () => now });
  return {
    store,
    map,
    advance: (ms: number) => {
      now += ms;
    },
  };
}

/** A slow back end that fails when the test says so. */
class SlowBackEnd extends EventEmitter {
  readonly map = new Map<string, unknown>();
  fails = false;

  async #answer<T>(answer: () => T): Promise<T> {
    await turn();
    if (this.fails) throw new Error('the disk is on fire');
    return answer();
  }

  get(key: string): Promise<unknown> {
    return this.#answer(() => this.map.get(key));
  }

  set(key: string, value: unknown): Promise<boolean> {
    return this.#answer(() => this.map.set(key, value).size > 0);
  }

  delete(key: string): Promise<boolean> {
    return this.#answer(() => this.map.delete(key));
  }

  async clear(): Promise<void> {
    this.map.clear();
  }
}

describe.each([
  ['a map', () => new Map()],
  ['a back end that takes its time', () => new SlowBackEnd()],
])('the contract, over %s', (_, backEnd) => {
  let now = Date.now();
  const store = keyvStore(new Keyv({ store: backEnd(), throwOnErrors: true }), { wallClock: () => now });
  const pass = async (ms: number): Promise<void> => void (now += ms);
  for (const { name, run } of sessionStoreContract({ store: () => store, pass })) test(name, run);
});

// Node's own clock, as Keyv reads it too, and a map that holds what it is given: no text in between.
describe('the contract, over a Keyv that does not serialize', () => {
  beforeAll(() => void jest.useFakeTimers({ now: Date.now(), doNotFake: ['nextTick', 'setImmediate', 'setTimeout'] }));
  afterAll(() => void jest.useRealTimers());

  const map = new Map();
  const pass = async (ms: number): Promise<void> => jest.setSystemTime(Date.now() + ms);
  const store = () => {
    const keyv = new Keyv({ store: map, throwOnErrors: true });
    keyv.serialize = undefined;
    keyv.deserialize = undefined;
    return keyvStore(keyv);
  };
  for (const { name, run } of sessionStoreContract({ store, pass })) test(name, run);
});

test('behaves like a trivial model of a store under any sequence of operations (property)', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (run) => {
      const { store, advance } = open();
      await fc.asyncModelRun(() => ({ model: { now: 0, records: new Map() }, real: { store, advance } }), run);
    }),
    { numRuns: 300 },
  );
});

test('a record outlives the store that wrote it, with its time', async () => {
  const first = open();
  await first.store.create('a', '{}', 'x', 10);
  await first.store.claim('a', { owner: 'x', epoch: 0 }, 'y');
  const second = open(first.map);
  expect(await second.store.get('a')).toEqual({ data: '{}', epoch: 1, owner: 'y' });
  second.advance(TTL);
  expect(await second.store.get('a')).toBeUndefined();
});

test('each write passes the remaining time to Keyv', async () => {
  let now = 1_000;
  const keyv = new Keyv({ throwOnErrors: true });
  const set = jest.spyOn(keyv, 'set');
  const store = keyvStore(keyv, { wallClock: () => now });
  await store.create('a', '{}', 'x', 100);
  now += 30;
  await store.claim('a', { owner: 'x', epoch: 0 }, 'y');
  now += 30;
  await store.release('a', 'y', 1);
  await store.update('a', 1, '{}', 200);
  now += 30;
  await store.touch('a', 1, 300);
  expect(set.mock.calls.map(([, , ttl]) => ttl)).toEqual([100, 70, 40, 200, 300]);
});

// To Keyv, a ttl of 0 is none (https://keyv.org/docs/keyv/#setkey-value-ttl).
test('a record that expires while it is written does not stay in Keyv for ever', async () => {
  const times = [1_000, 1_009, 1_010, 1_010];
  const keyv = new Keyv({ throwOnErrors: true });
  const set = jest.spyOn(keyv, 'set');
  const store = keyvStore(keyv, { wallClock: () => times.shift()! });
  await store.create('a', '{}', 'x', 10);
  times.unshift(1_009);
  await store.claim('a', { owner: 'x', epoch: 0 }, 'y');
  expect(set.mock.calls.map(([, , ttl]) => ttl).every((ttl) => ttl! >= 1)).toBe(true);
});

test('reading an expired record removes it', async () => {
  const { store, map, advance } = open();
  await store.create('a', '{}', 'x', 10);
  expect([...map.keys()]).toEqual(['keyv:mcp-session:a']);
  advance(10);
  await store.get('a');
  expect(map.size).toBe(0);
});

// Keyv 5 leaves a key as it is that begins with the namespace: the client would have the session under a second ID.
test('a forged ID that begins with the namespace finds no record', async () => {
  const { store } = open();
  await store.create('a', '{}', undefined, TTL);
  for (const id of ['keyv:a', 'keyv:mcp-session:a', 'mcp-session:a']) expect(await store.get(id)).toBeUndefined();
});

// Keyv removes what it finds to be over after it has read it, so that a write in between would be lost.
test('the removal of an expired record never removes a newer record of the same ID', async () => {
  const backEnd = new SlowBackEnd();
  const store = keyvStore(new Keyv({ store: backEnd, throwOnErrors: true }));
  await store.create('a', '"old"', undefined, 1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const [, created, found] = await Promise.all([
    store.get('a'),
    store.create('a', '"new"', undefined, TTL),
    store.get('a'),
  ]);
  expect([created, found?.data]).toEqual([true, '"new"']);
});

test('operations on one ID have the order of the calls, and do not wait for those on another', async () => {
  const backEnd = new SlowBackEnd();
  const store = keyvStore(new Keyv({ store: backEnd, throwOnErrors: true }));
  const order: string[] = [];
  await Promise.all([
    ...['1', '2', '3'].map(async (data) => {
      await store.create('a', data, undefined, TTL);
      order.push(data);
    }),
    store.create('b', 'b', undefined, TTL).then(() => order.push('b')),
  ]);
  expect(order).toEqual(['1', 'b', '2', '3']);
  expect((await store.get('a'))?.data).toBe('1');
});

test('an operation waits for the previous one, also after an earlier one has finished', async () => {
  const store = keyvStore(new Keyv({ store: new SlowBackEnd(), throwOnErrors: true }));
  const created = store.create('a', '{}', undefined, TTL);
  const claims = [store.claim('a', { owner: undefined, epoch: 0 }, 'x')];
  await created;
  claims.push(store.claim('a', { owner: undefined, epoch: 0 }, 'y'));
  expect(await Promise.all(claims)).toEqual([true, false]);
});

test('keeps no entry for an ID after its operations have finished or failed', async () => {
  const sizes: number[] = [];
  const set = jest.spyOn(Map.prototype, 'set');
  const backEnd = new SlowBackEnd();
  const store = keyvStore(new Keyv({ store: backEnd, throwOnErrors: true }));
  await store.create('a', '1', undefined, TTL);
  const turns = set.mock.contexts[set.mock.calls.findIndex(([key]) => key === 'a')] as Map<string, unknown>;
  set.mockRestore();
  await turn();
  sizes.push(turns.size);
  backEnd.fails = true;
  const failing = Promise.allSettled([store.get('a'), store.update('a', 0, '2', TTL), store.destroy('b')]);
  sizes.push(turns.size);
  await failing;
  await turn();
  sizes.push(turns.size);
  expect(sizes).toEqual([0, 2, 0]);
});

describe('a back end that fails', () => {
  /** Each operation, which would resolve as for "no record" if the failure were hidden. */
  const operations: [name: string, run: (store: ReturnType<typeof keyvStore>) => Promise<unknown>][] = [
    ['get', (store) => store.get('a')],
    ['create', (store) => store.create('b', '{}', undefined, TTL)],
    ['update', (store) => store.update('a', 0, '{}', TTL)],
    ['destroy', (store) => store.destroy('a')],
    ['claim', (store) => store.claim('a', { owner: 'x', epoch: 0 }, 'y')],
    ['touch', (store) => store.touch('a', 0, TTL)],
    ['release', (store) => store.release('a', 'x', 0)],
  ];

  test.each(operations)('rejects %s, and the next operation is done when it works again', async (_, run) => {
    const backEnd = new SlowBackEnd();
    const store = keyvStore(new Keyv({ store: backEnd, throwOnErrors: true }));
    await store.create('a', '{}', 'x', TTL);
    backEnd.fails = true;
    const failed = run(store);
    const next = failed.catch(() => {
      backEnd.fails = false;
    });
    await expect(failed).rejects.toThrow(/on fire|back end failed/);
    await next;
    expect(await store.get('a')).toEqual({ data: '{}', epoch: 0, owner: 'x' });
  });

  // So do Keyv 6, where anyone listens for errors, and the adapter for Redis by default.
  test.each(operations)('rejects %s also where the failure is reported as an event only', async (_, run) => {
    const backEnd = new SlowBackEnd();
    const keyv = new Keyv({ store: backEnd, throwOnErrors: true });
    const store = keyvStore(keyv);
    await store.create('a', '{}', 'x', TTL);
    const failure = new Error('connection lost');
    for (const name of ['get', 'set', 'delete'] as const) {
      jest.spyOn(backEnd, name).mockImplementation(async () => {
        await turn();
        backEnd.emit('error', failure);
        return undefined;
      });
    }
    await expect(run(store)).rejects.toMatchObject({ message: 'keyvStore: the back end failed', cause: failure });
  });

  test('rejects destroy also where the record was found, and its removal is reported as an event only', async () => {
    const backEnd = new SlowBackEnd();
    const store = keyvStore(new Keyv({ store: backEnd, throwOnErrors: true }));
    await store.create('a', '{}', 'x', TTL);
    jest.spyOn(backEnd, 'delete').mockImplementation(async () => backEnd.emit('error', new Error('connection lost')));
    await expect(store.destroy('a')).rejects.toThrow('keyvStore: the back end failed');
  });

  test.each(operations.filter(([name]) => name !== 'get' && name !== 'destroy'))(
    'rejects %s where Keyv says that it wrote nothing',
    async (_, run) => {
      const keyv = new Keyv({ throwOnErrors: true });
      const store = keyvStore(keyv);
      await store.create('a', '{}', 'x', TTL);
      jest.spyOn(keyv, 'set').mockResolvedValue(false);
      await expect(run(store)).rejects.toThrow('keyvStore: Keyv did not write the record');
    },
  );

  test('does not affect operations before and after', async () => {
    const keyv = new Keyv({ throwOnErrors: true });
    const store = keyvStore(keyv);
    await store.create('a', '{}', 'x', TTL);
    keyv.emit('error', new Error('connection lost'));
    expect(await store.get('a')).toEqual({ data: '{}', epoch: 0, owner: 'x' });
  });
});

describe('arguments', () => {
  // Keyv 5 catches what its back end throws, by default, and gives undefined.
  test.each([{}, { throwOnErrors: false }])('a Keyv 5 with options %j is refused, saying why', (options) => {
    expect(() => keyvStore(new Keyv(options))).toThrow(
      new TypeError(
        'keyvStore: keyv must be made with throwOnErrors: true; without it, a failing back end reads as one without records',
      ),
    );
  });

  test.each<[keyv: unknown, got: string]>([
    [undefined, 'undefined'],
    [new Map(), 'an object'],
    ['redis://localhost', '"redis://localhost"'],
  ])('%p is no Keyv', (keyv, got) => {
    expect(() => keyvStore(keyv as KeyvLike)).toThrow(
      new TypeError(`keyvStore: keyv must be a Keyv: an object with get, set, delete and on; got ${got}`),
    );
  });

  test.each<[options: unknown, message: string]>([
    [null, 'keyvStore: options must be an object of wallClock; got null'],
    [{ clock: Date }, 'keyvStore: unknown option clock; known are wallClock'],
    [{ wallClock: 5 }, 'keyvStore: option wallClock must be a function; got 5'],
  ])('options %j throw a TypeError that names the option, the value and the rule', (options, message) => {
    expect(() => keyvStore(new Keyv({ throwOnErrors: true }), options as KeyvStoreOptions)).toThrow(
      new TypeError(message),
    );
  });
});
