import { buildProgram } from '../support/program.js';

const SESSIONS = Number(process.env.LEAK_SESSIONS ?? 1_500);

test(`${SESSIONS} sessions that are opened over HTTP and abandoned leave nothing: heap and open handles are as before`, async () => {
  const program = buildProgram('__tests__/sessions/leak-check.ts');
  // A process of its own, as jest's own heap grows meanwhile.
  const stdout = await program([String(SESSIONS)], ['--expose-gc']);
  const { opened, closed, before, after } = JSON.parse(stdout);

  expect(opened).toBe(SESSIONS);
  expect(closed).toEqual({ expired: SESSIONS });
  expect(after.heap).toBeLessThan(before.heap * 1.1);
  expect(after.resources).toEqual(before.resources);
}, 600_000);
