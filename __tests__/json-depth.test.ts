import express, { type RequestHandler } from 'express';
import fc from 'fast-check';
import { isTextDeeperThan, isValueDeeperThan } from '../src/runtime/json-depth.js';
import { initializeBody, post, start, type Harness } from './support/harness.js';
import { expectRow } from './support/rows.js';

/** The reference: by recursion, unlike the code. */
function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

const confusing = fc.string({ unit: fc.constantFrom('[', ']', '{', '}', '"', '\\', ',', 'é', '😀') });
const { value: nested } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 12, withCrossShrink: true },
    fc.oneof(confusing, fc.integer(), fc.constant(null)),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(confusing, tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
}));

describe('the depth of a JSON value (maxDepth)', () => {
  test('is the same for its text and for its value, whatever brackets its strings hold (property)', () => {
    fc.assert(
      fc.property(nested, fc.nat({ max: 12 }), fc.constantFrom(0, 2), (value, max, space) => {
        const deeper = depthOf(value) > max;
        expect(isTextDeeperThan(max, JSON.stringify(value, undefined, space))).toBe(deeper);
        expect(isValueDeeperThan(max, value)).toBe(deeper);
      }),
    );
  });

  test.each(['', '"', '"\\', '[', '[[', ']]]]', '[[[["', '{"a":[{"b":"\\"[[[[["}]', 'x[[{{'])(
    'is found in a text that is not JSON: %j',
    (text) => {
      const wanted = /^x?[[{]{3}/.test(text) || text.startsWith('{"a":[{');
      expect(isTextDeeperThan(2, text)).toBe(wanted);
    },
  );

  test('is found without recursion in a value far deeper than the stack', () => {
    let value: unknown = 1;
    for (let n = 0; n < 100_000; n += 1) value = n % 2 === 0 ? [value] : { value };
    expect(isValueDeeperThan(200, value)).toBe(true);
    expect(isValueDeeperThan(100_000, value)).toBe(false);
  });
});

let harness: Harness | undefined;
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

describe.each<[string, RequestHandler[]]>([
  ['the router', []],
  ['express.json()', [express.json({ limit: '4mb' })]],
  ['express.text()', [express.text({ type: '*/*', limit: '4mb' })]],
])('a body read by %s', (_, parsers) => {
  const initializeWith = (levels: number): string => {
    const body = initializeBody(7);
    const deep = `${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`;
    return JSON.stringify({ ...body, params: { ...body.params, capabilities: { experimental: { x: {} } } } }).replace(
      '"x":{}',
      `"x":{"deep":${deep}}`,
    );
  };

  test.each([
    ['by default', {}, 200],
    ['as maxDepth says', { maxDepth: 20 }, 20],
  ])('may be nested to the limit and no deeper %s', async (_name, options, max) => {
    harness = await start(options, (app, router) => app.use('/mcp', ...parsers, router));
    // The outer levels are the message, its params, capabilities, experimental, and x.
    expect((await post(harness.url, initializeWith(max - 6))).status).toBe(200);
    const refused = await post(harness.url, initializeWith(max - 4));
    expectRow({ status: refused.status, body: await refused.text() }, 'bodyTooDeep');
  });
});

test('a body of two million nested arrays is refused before it is parsed', async () => {
  harness = await start();
  const parse = jest.spyOn(JSON, 'parse');
  const refused = await post(harness.url, '['.repeat(1_900_000) + ']'.repeat(1_900_000));
  const texts = parse.mock.calls.map(([text]) => text.length);
  parse.mockRestore();
  expectRow({ status: refused.status, body: await refused.text() }, 'bodyTooDeep');
  expect(texts.filter((length) => length > 1_000_000)).toEqual([]);
});
