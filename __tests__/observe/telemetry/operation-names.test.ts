import fc from 'fast-check';
import { OperationNames } from '../../../src/observe/telemetry/operation-names.js';
import type { Target } from '../../../src/observe/telemetry/attributes.js';

const tool = (name: string): Target => ({ kind: 'tool', name });

test('a name of a tool is in the name of a span while there is room for it', () => {
  const names = new OperationNames();
  for (let n = 0; n < 200; n += 1) expect(names.spanName('tools/call', tool(`t${n}`))).toBe(`tools/call t${n}`);
  expect(names.spanName('tools/call', tool('more'))).toBe('tools/call');
  expect(names.labels('tools/call', tool('more'))).toMatchObject({ 'gen_ai.tool.name': '_OTHER' });
});

test('a tool that a server has served takes the place of one that none has', () => {
  const names = new OperationNames();
  for (let n = 0; n < 1_000; n += 1) names.spanName('tools/call', tool(`invented ${n}`));
  names.served('tools/call', tool('real'));
  expect(names.spanName('tools/call', tool('real'))).toBe('tools/call real');
  expect(names.labels('tools/call', tool('real'))).toMatchObject({ 'gen_ai.tool.name': 'real' });
});

test('a method that the conventions do not know is _OTHER once 50 of them are known', () => {
  const names = new OperationNames();
  for (let n = 0; n < 50; n += 1) names.spanName(`x/${n}`, undefined);
  expect(names.spanName('x/more', undefined)).toBe('_OTHER');
  expect(names.spanName('tools/list', undefined)).toBe('tools/list');
});

test('whatever clients send and servers answer, there are at most 400 names of spans for tools', () => {
  const step = fc.record({ name: fc.integer({ min: 0, max: 2_000 }), served: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { minLength: 500, maxLength: 3_000 }), (steps) => {
      const names = new OperationNames();
      const spans = new Set<string>();
      for (const { name, served } of steps) {
        spans.add(names.spanName('tools/call', tool(`t${name}`)));
        if (served) names.served('tools/call', tool(`t${name}`));
      }
      expect(spans.size).toBeLessThanOrEqual(401);
    }),
    { numRuns: 30 },
  );
});
