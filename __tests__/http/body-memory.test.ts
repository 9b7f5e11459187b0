import { buildProgram } from '../support/program.js';

const KIB = 1024;

test('a body that arrives byte by byte takes memory for its length, not a buffer for each byte', async () => {
  // A process of its own, as other tests have left their objects in the heap of this one.
  const measure = buildProgram('__tests__/http/measure-byte-by-byte.ts');
  const { bytes, messages } = JSON.parse(await measure([String(256 * KIB)], ['--expose-gc']));
  // A Buffer takes some 100 bytes of heap, and keeps the 64 KiB alive into which it was read.
  expect(bytes).toBeLessThan(8 * 1024 * KIB);
  expect(messages).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
});
