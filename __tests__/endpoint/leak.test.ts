import { buildProgram } from '../support/program.js';

const CALLS = Number(process.env.LEAK_CALLS ?? 2_000);

test(`${CALLS} calls that ask their clients, and their subscriptions, leave nothing: heap and open handles are as before`, async () => {
  const program = buildProgram('__tests__/endpoint/leak-check.ts');
  // A process of its own, as jest's own heap grows meanwhile.
  const stdout = await program([String(CALLS)], ['--expose-gc']);
  const { finished, before, after } = JSON.parse(stdout);

  // Of twenty, one gets no answer, and one loses its client.
  expect(finished).toBe(CALLS * 0.9);
  expect(after.heap).toBeLessThan(before.heap * 1.1);
  expect(after.resources).toEqual(before.resources);
}, 1_800_000);
