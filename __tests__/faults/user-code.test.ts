import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { CASES, WELL } from './user-code-cases.js';

const run = promisify(execFile);
/** Below the repository, so that it finds the same dependencies. */
const FILE = '.cache/user-code/user-code-check.mjs';

const results = new Map<string, { came: unknown; uncaught: string[] }>();

beforeAll(async () => {
  await build({
    entryPoints: ['__tests__/faults/user-code-check.ts'],
    outfile: FILE,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
  });
  // A process of its own: an uncaught error ends it, which jest would hide.
  const { stdout } = await run(process.execPath, [FILE], { maxBuffer: 64 * 1024 * 1024 });
  for (const line of stdout.split('\n').filter((each) => each.startsWith('{'))) {
    const { name, ...result } = JSON.parse(line) as { name: string; came: unknown; uncaught: string[] };
    results.set(name, result);
  }
}, 180_000);

describe('broken user code does not end the process, and costs a client only its own part', () => {
  test.each([...CASES])('%s', (name, { expected }) => {
    const { initialize = 200 } = expected ?? {};
    const came = initialize === 200 ? { ...WELL, ...expected } : expected;
    expect(results.get(name)).toEqual({ came, uncaught: [] });
  });
});
