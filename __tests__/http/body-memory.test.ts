import { buildProgram } from '../support/program.js';

const KIB = 1024;

test('a body that comes byte by byte costs memory for its length, not a buffer for each byte', async () => {
  // A process of its own, as the heap of this one holds what other tests have left.
  const measure = await buildProgram('__tests__/http/measure-byte-by-byte.ts', 'byte-by-byte');
  const { bytes, messages } = JSON.parse(await measure([String(256 * KIB)], ['--expose-gc']));
  // A Buffer is some 100 bytes of heap, and keeps the 64 KiB alive that it was read into.
  expect(bytes).toBeLessThan(8 * 1024 * KIB);
  expect(messages).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
});
