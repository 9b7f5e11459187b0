import { execFile } from 'node:child_process';
import { renameSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { buildSync, type BuildOptions } from 'esbuild';

const TIMEOUT_MS = 1_800_000;
const run = promisify(execFile);

const express4 = process.env.EXPRESS === '4';
/** The same suites may run on several versions of Express and Node at once. */
const FOLDER = `.cache/programs/express-${express4 ? 4 : 5}-node-${process.versions.node}`;

/** The published entries, as the sources of this repository. */
export const SOURCES: Readonly<Record<string, string>> = {
  'express-mcp-router': resolve('src/index.ts'),
  'express-mcp-router/admin': resolve('src/admin/index.ts'),
  'express-mcp-router/node': resolve('src/node.ts'),
  'express-mcp-router/otel': resolve('src/otel.ts'),
  'express-mcp-router/redis': resolve('src/stores/redis.ts'),
  'express-mcp-router/stores': resolve('src/stores/index.ts'),
  'express-mcp-router/v2': resolve('src/v2.ts'),
};

/** For the example app. The admin page reads its files beside its source, before `scripts/build.mjs` embeds them. */
export const APP: BuildOptions = { alias: SOURCES, define: { __dirname: JSON.stringify(resolve('src/admin')) } };

/** In CommonJS, which a bundle in ESM may contain, `require` is expected. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
/** With all dependencies in one file, a program starts in half the time. */
export const STANDALONE: BuildOptions = { packages: 'bundle', banner: { js: REQUIRE } };

/**
 * Bundles a program of the tests, to run it in a process of its own.
 *
 * Not by esbuild's `build`, whose service would stay: one for each test file, as long as jest's worker.
 *
 * @returns The bundle's path. It is below the repository, so that the program finds the same dependencies.
 */
export function bundle(entry: string, options: BuildOptions = {}): string {
  const outfile = `${FOLDER}/${entry.replace(/\.ts$/, options.format === 'cjs' ? '.cjs' : '.mjs')}`;
  // Two test files may bundle the same program at once, and run it.
  const unfinished = `${outfile}.${process.pid}`;
  buildSync({
    entryPoints: [entry],
    outfile: unfinished,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    ...options,
    alias: { ...(express4 && { express: 'express4' }), ...options.alias },
  });
  renameSync(unfinished, outfile);
  return outfile;
}

/** Runs a program in a fresh process of this Node, and resolves to what it printed. Rejects when it fails. */
export type Program = (args?: readonly string[], nodeOptions?: readonly string[]) => Promise<string>;

/** Bundles a program of the tests, to run it in a V8 that has run no other test. */
export function buildProgram(entry: string): Program {
  const file = bundle(entry);
  return async (args = [], nodeOptions = []) => {
    const { stdout } = await run(process.execPath, [...nodeOptions, file, ...args], { timeout: TIMEOUT_MS });
    return stdout;
  };
}
