import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const run = promisify(execFile);
const SESSIONS = Number(process.env.LEAK_SESSIONS ?? 20_000);
/** Below the repository, so that it finds the same dependencies. */
const FILE = '.cache/leak/leak-check.mjs';

test(`${SESSIONS} sessions that are opened over HTTP and abandoned leave nothing: heap and open handles are as before`, async () => {
  await build({
    entryPoints: ['__tests__/sessions/leak-check.ts'],
    outfile: FILE,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
  });
  // A process of its own, as jest's own heap grows meanwhile.
  const { stdout } = await run(process.execPath, ['--expose-gc', FILE, String(SESSIONS)]);
  const { opened, closed, before, after } = JSON.parse(stdout);

  expect(opened).toBe(SESSIONS);
  expect(closed).toEqual({ expired: SESSIONS });
  expect(after.heap).toBeLessThan(before.heap * 1.1);
  expect(after.resources).toEqual(before.resources);
}, 180_000);
