import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const TIMEOUT_MS = 100_000;
const run = promisify(execFile);

/** Runs a program in a fresh process of this Node, and resolves to what it printed. Rejects when it fails. */
export type Program = (args?: readonly string[], nodeOptions?: readonly string[]) => Promise<string>;

/**
 * Bundles a program of the tests, to run it in a V8 that has run no other test.
 *
 * @param name - A folder below the repository, for one test file alone. There the program finds the same dependencies.
 */
export async function buildProgram(entry: string, name: string): Promise<Program> {
  const outfile = `.cache/${name}/${basename(entry, '.ts')}.mjs`;
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    ...(process.env.EXPRESS === '4' && { alias: { express: 'express4' } }),
  });
  return async (args = [], nodeOptions = []) => {
    const { stdout } = await run(process.execPath, [...nodeOptions, outfile, ...args], { timeout: TIMEOUT_MS });
    return stdout;
  };
}
