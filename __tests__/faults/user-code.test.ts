import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CASES, WELL } from './user-code-cases.js';
import { bundle } from '../support/program.js';

const run = promisify(execFile);

const results = new Map<string, { came: unknown; uncaught: string[] }>();

beforeAll(async () => {
  const file = bundle('__tests__/faults/user-code-check.ts');
  // A process of its own: an uncaught error ends it, which jest would hide.
  const { stdout } = await run(process.execPath, [file], { maxBuffer: 64 * 1024 * 1024 });
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
