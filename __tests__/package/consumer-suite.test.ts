import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { bundle } from '../support/program.js';

const CONFIG = { testEnvironment: 'node', testMatch: ['**/consumer-suite.cjs'], transform: {} };

test('a Jest run of an app with the router, tested by supertest, ends by itself and has no open handles', async () => {
  const folder = dirname(bundle('__tests__/package/consumer-suite.ts', { format: 'cjs' }));
  const jest = ['node_modules/jest/bin/jest.js', '--ci', '--detectOpenHandles', '--rootDir', folder];
  const args = [...jest, '--config', JSON.stringify(CONFIG)];
  const { code, output } = await new Promise<{ code: number | null; output: string }>((resolve) => {
    const child = execFile(process.execPath, args, { timeout: 100_000 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, output: stdout + stderr }),
    );
  });
  expect(output).toContain('2 passed, 2 total');
  expect(output).not.toMatch(/open handle|did not exit/);
  expect(code).toBe(0);
});
