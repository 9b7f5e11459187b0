import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { bundle } from '../../support/program.js';

const run = promisify(execFile);
const path = (name: string): string =>
  `${process.cwd()}/${bundle(`__tests__/observe/telemetry/${name}`, { format: 'cjs' })}`;

test.each(['src/index.ts', 'src/node.ts', 'src/v2.ts'])(
  '%s imports nothing of OpenTelemetry, not even later',
  (entry) => {
    const { metafile } = buildSync({
      entryPoints: [entry],
      bundle: true,
      write: false,
      metafile: true,
      platform: 'node',
      packages: 'external',
    });
    const imports = Object.values(metafile.inputs).flatMap((input) => input.imports.map((each) => each.path));
    expect(imports.filter((each) => /opentelemetry|observe\/telemetry|otel/.test(each))).toEqual([]);
    expect(imports.length).toBeGreaterThan(0);
  },
);

describe('without @opentelemetry/api', () => {
  const serve = (...args: string[]) =>
    run(process.execPath, ['--require', path('off-hook.ts'), path('off-program.ts'), ...args]);

  test('a router serves', async () => {
    expect((await serve()).stdout).toContain('served');
  });

  test('openTelemetry() cannot be loaded', async () => {
    await expect(serve('on')).rejects.toThrow('@opentelemetry/api is not installed');
  });
});
