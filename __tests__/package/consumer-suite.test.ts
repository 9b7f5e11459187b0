import { execFile } from 'node:child_process';
import { build } from 'esbuild';

/** Below the repository, so that it finds the same dependencies. */
const FOLDER = '.cache/consumer-suite-test';
const CONFIG = { testEnvironment: 'node', testMatch: ['**/*.test.cjs'], transform: {} };

test('a Jest run of an app with the router, tested by supertest, ends by itself and has no open handles', async () => {
  await build({
    entryPoints: ['__tests__/package/consumer-suite.ts'],
    outfile: `${FOLDER}/app.test.cjs`,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    packages: 'external',
    ...(process.env.EXPRESS === '4' && { alias: { express: 'express4' } }),
  });
  const jest = ['node_modules/jest/bin/jest.js', '--ci', '--detectOpenHandles', '--rootDir', FOLDER];
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
