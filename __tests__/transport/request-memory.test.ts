import fc from 'fast-check';
import { memoryOf } from '../../src/transport/request-memory.js';

describe('memoryOf', () => {
  test('is at least the length of the JSON without its punctuation, whatever the value is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(memoryOf(value)).toBeGreaterThan(JSON.stringify(value).replace(/\\u|[\\[\]{}",:]/g, '').length / 2);
      }),
    );
  });

  test('grows by each value, string and name', () => {
    const empty = memoryOf({});
    expect(memoryOf({ name: 'text' })).toBe(empty + 4 + 64 + 4);
    expect(memoryOf([1, null, true])).toBe(empty + 3 * 64);
  });

  test('walks values that are nested too deep for recursion', () => {
    let value: unknown = [];
    for (let level = 0; level < 100_000; level += 1) value = [value];
    expect(memoryOf(value)).toBeGreaterThan(100_000 * 64);
  });
});
