import { AssertionError } from 'node:assert';
import { memoryStore, type SessionStore } from '../../src/stores/index.js';
import { sessionStoreContract } from '../../src/testing/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { BROKEN, but, type Store } from './broken-stores.js';

/** The names of the cases in which a store fails, and of all there are. */
async function failedCases(open: (right: Store, clock: FakeClock) => SessionStore, instances = 1) {
  const clock = new FakeClock();
  const right = memoryStore({ clock });
  const opened = Array.from({ length: instances }, () => open(right, clock));
  const cases = sessionStoreContract({
    store: () => opened[0]!,
    sameDataAgain: instances > 1 ? () => opened[1]! : undefined,
    pass: async (ms) => clock.advance(ms),
  });
  const failed: string[] = [];
  for (const { name, run } of cases) {
    await run().catch((error: unknown) => {
      if (!(error instanceof AssertionError)) throw error;
      failed.push(name);
    });
  }
  return { failed, all: cases.map(({ name }) => name) };
}

describe('the contract of a session store', () => {
  test('is kept by a right store, with one instance and with two', async () => {
    expect((await failedCases((right) => right)).failed).toEqual([]);
    expect((await failedCases((right) => but(() => ({}))(right, new FakeClock()), 2)).failed).toEqual([]);
  });

  test('is kept by a right store without what is optional', async () => {
    const { failed } = await failedCases((right, clock) => {
      const { create, get, update, destroy, claim } = but(() => ({}))(right, clock);
      return { create, get, update, destroy, claim };
    });
    expect(failed).toEqual([]);
  });

  test.each(BROKEN)('is not when %s', async (_, found, open) => {
    expect((await failedCases(open)).failed).toContain(found);
  });

  test('is not when an instance sees its own records only', async () => {
    const { failed } = await failedCases((_, clock) => memoryStore({ clock }), 2);
    expect(failed).toEqual(expect.arrayContaining(['gives back the very text that was created, in epoch 0']));
  });

  test('has no case that no broken store fails', async () => {
    const { all } = await failedCases((right) => right);
    expect(new Set(BROKEN.map(([, found]) => found))).toEqual(new Set(all));
  });

  test('waits by itself where it is not told how time passes', async () => {
    const cases = sessionStoreContract({ store: () => memoryStore(), resolution: 20 });
    for (const { run } of cases) await run();
  });
});
