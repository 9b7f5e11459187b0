import { buildProgram } from '../support/program.js';

test('a heap of 64 MiB survives 3,000 abandoned sessions, as the default of maxSessions follows the heap (docs/sessions.md, "Caps")', async () => {
  const program = buildProgram('__tests__/sessions/small-heap.ts');
  const { statuses, active } = JSON.parse(await program([], ['--max-old-space-size=64'])) as {
    statuses: [number, number][];
    active: number;
  };
  const counts = new Map(statuses);
  expect([...counts.keys()].sort()).toEqual([200, 503]);
  expect(counts.get(200)! + counts.get(503)!).toBe(3_000);
  expect(counts.get(200)).toBe(active);
  // Enough for a small service, and few enough to fit into 64 MiB beside the app.
  expect(active).toBeGreaterThanOrEqual(300);
  expect(active).toBeLessThanOrEqual(600);
});
