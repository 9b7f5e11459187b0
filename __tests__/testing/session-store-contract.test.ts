import { AssertionError } from 'node:assert';
import { memoryStore, type SessionStore } from '../../src/stores/index.js';
import { sessionStoreContract } from '../../src/testing/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { FLAWS, flawedStore } from './flawed-store.js';

/** The names of all cases, and of those that fail, with a store and perhaps another instance of it. */
async function failedCases(open: (clock: FakeClock) => SessionStore, another?: typeof open) {
  const clock = new FakeClock();
  const store = open(clock);
  const other = another?.(clock);
  const cases = sessionStoreContract({
    store: () => store,
    sameDataAgain: other && (() => other),
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

describe('the contract of a session store (docs/restart.md, "The contract of a store")', () => {
  test.each([
    ['memoryStore', (clock: FakeClock) => memoryStore({ clock })],
    ['a store that has no flaw', (clock: FakeClock) => flawedStore(clock)],
  ])('passes with %s', async (_, open) => {
    expect((await failedCases(open)).failed).toEqual([]);
  });

  test('passes with a store without the optional methods', async () => {
    const { failed } = await failedCases((clock) => {
      const { create, get, update, destroy, claim } = flawedStore(clock);
      return { create, get, update, destroy, claim };
    });
    expect(failed).toEqual([]);
  });

  test.each(FLAWS)('fails when %s, in the case "%s"', async (flaw, name) => {
    expect((await failedCases((clock) => flawedStore(clock, flaw))).failed).toContain(name);
  });

  test('fails when an instance does not see the records of another', async () => {
    const open = (clock: FakeClock) => memoryStore({ clock });
    const { failed } = await failedCases(open, open);
    expect(failed).toContain('returns exactly the text that was created, in epoch 0');
  });

  test('has no case that every flawed store passes', async () => {
    const { all } = await failedCases((clock) => flawedStore(clock));
    expect(new Set<string>(FLAWS.map(([, name]) => name))).toEqual(new Set(all));
  });

  test('waits in real time without the option pass', async () => {
    const cases = sessionStoreContract({ store: () => memoryStore(), resolution: 20 });
    for (const { run } of cases) await run();
  });
});
