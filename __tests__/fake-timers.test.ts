import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { jest } from '@jest/globals';
import { openSession, post, initializeBody, start } from './support/harness.js';

const TESTING = readFileSync(resolve(__dirname, '../docs/testing.md'), 'utf8');
const IMMEDIATE = ['setImmediate', 'clearImmediate', 'nextTick', 'queueMicrotask'] as const;
const TIMERS = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance', 'hrtime'] as const;

/** The names in a list of the page. */
const namesAfter = (marker: string): string[] => {
  const [, list = ''] = new RegExp(`${marker}: \\[([^\\]]*)\\]`).exec(TESTING) ?? [];
  return [...list.matchAll(/'(\w+)'/g)].map(([, name = '']) => name);
};
const toFake = namesAfter('toFake');

test.each([
  ['vitest', [...IMMEDIATE, ...TIMERS].filter((name) => !toFake.includes(name))],
  ['Jest', IMMEDIATE.filter((name) => namesAfter('doNotFake').includes(name))],
])(
  'with the timers that docs/testing.md fakes for %s, the router answers and a session expires',
  async (_, doNotFake) => {
    expect(doNotFake).toEqual(expect.arrayContaining(IMMEDIATE));
    jest.useFakeTimers({ doNotFake });
    const harness = await start({ ttl: 60_000 });
    try {
      await openSession(harness.url);
      expect(harness.router.sessions.list()).toHaveLength(1);
      // The clock of `until` is faked here, so turns of the event loop are counted. The server may see the end of a reply late.
      for (let turn = 0; turn < 10_000 && harness.router.sessions.list().length > 0; turn += 1) {
        await jest.advanceTimersByTimeAsync(1_000);
        await new Promise(setImmediate);
      }
      expect(harness.router.sessions.list()).toEqual([]);
    } finally {
      jest.useRealTimers();
      await harness.close();
    }
  },
);

test.each([
  ['faked', 1],
  ['left real', 0],
])('when setImmediate is %s, Node warns %d times (docs/testing.md, "Fake timers")', async (how, times) => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const harness = await start();
  const real = setImmediate;
  if (how === 'faked') Object.assign(globalThis, { setImmediate: Object.assign(real.bind(globalThis), { clock: {} }) });
  try {
    for (let request = 0; request < 2; request += 1) await (await post(harness.url, initializeBody())).text();
    expect(warn.mock.calls.filter(([text]) => String(text).includes('setImmediate is faked'))).toHaveLength(times);
  } finally {
    globalThis.setImmediate = real;
    warn.mockRestore();
    await harness.close();
  }
});
