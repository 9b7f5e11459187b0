import { jest } from '@jest/globals';
import { post, initializeBody, start } from './support/harness.js';

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
