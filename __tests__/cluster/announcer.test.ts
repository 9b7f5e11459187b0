import { buildProgram } from '../support/program.js';

test('announcements without a pause leave nothing behind (docs/two-eras.md, "In a cluster")', async () => {
  const announceSteadily = buildProgram('__tests__/cluster/announce-steadily.ts');
  expect(Number(await announceSteadily([], ['--expose-gc']))).toBeLessThan(20);
});
