import fc from 'fast-check';
import { memoryStore, type MemoryStoreOptions } from '../../src/stores/index.js';
import { sessionStoreContract } from '../../src/testing/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { commands } from './store-commands.js';

describe('the contract', () => {
  const clock = new FakeClock();
  const store = memoryStore({ clock });
  const pass = async (ms: number): Promise<void> => clock.advance(ms);
  for (const { name, run } of sessionStoreContract({ store: () => store, pass })) test(name, run);
});

test('behaves like a trivial model of a store under any sequence of operations (property)', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (run) => {
      const clock = new FakeClock();
      const store = memoryStore({ clock });
      const model = { now: 0, records: new Map() };
      await fc.asyncModelRun(() => ({ model, real: { store, advance: (ms) => clock.advance(ms) } }), run);
    }),
    { numRuns: 300 },
  );
});

test('applies each operation at its call, so that operations have the order of their calls', async () => {
  const store = memoryStore({ clock: new FakeClock() });
  const done = [
    store.create('a', '1', 'x', 10),
    store.update('a', 0, '2', 10),
    store.claim('a', { owner: 'x', epoch: 0 }, 'y'),
    store.update('a', 0, '3', 10),
    store.destroy('a'),
  ];
  expect(await Promise.all(done)).toEqual([true, true, true, false, true]);
});

describe('expired records', () => {
  // A sweep deletes from a map; a record that is asked for and found to be over would be deleted as well, but none is.
  let deleted: jest.SpyInstance;
  let iterated: jest.SpyInstance;
  beforeEach(() => {
    deleted = jest.spyOn(Map.prototype, 'delete');
    iterated = jest.spyOn(Map.prototype, Symbol.iterator as never);
  });
  afterEach(() => jest.restoreAllMocks());

  test('are removed without a request for them', async () => {
    const clock = new FakeClock();
    const store = memoryStore({ clock });
    for (let id = 0; id < 10_000; id += 1) {
      await store.create(String(id), '{}', undefined, 100);
      clock.advance(1);
    }
    expect(deleted.mock.calls.length).toBeGreaterThan(10_000 - 1_500);
  });

  test('are looked for so seldom that many live records cost nothing', async () => {
    const store = memoryStore({ clock: new FakeClock() });
    for (let id = 0; id < 10_000; id += 1) await store.create(String(id), '{}', undefined, 100);
    expect(deleted).toHaveBeenCalledTimes(0);
    expect(iterated.mock.calls.length).toBeLessThanOrEqual(10);
  });
});

test('arms no timers, which a close would have to clear', async () => {
  const clock = new FakeClock();
  await memoryStore({ clock }).create('a', '{}', undefined, 10);
  expect(clock.pending).toBe(0);
});

test.each<[options: unknown, message: string]>([
  [null, 'memoryStore: options must be an object of clock; got null'],
  [{ ttl: 1 }, 'memoryStore: unknown option ttl; known are clock'],
  [{ clock: Date }, 'memoryStore: option clock must be a Clock; got a function'],
])('%j throws a TypeError that says which, what it got and what it wants', (options, message) => {
  expect(() => memoryStore(options as MemoryStoreOptions)).toThrow(new TypeError(message));
});
