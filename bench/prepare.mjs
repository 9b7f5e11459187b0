// Prepares a run: installs the benchmark's dependencies, builds the current router, and installs it beside its peers.
// `--without-peers` installs only the router: its contenders and those of the SDK then use this repository's dependencies.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../scripts/install-locked.mjs';

const BENCH = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(BENCH);
const MODULES = join(BENCH, 'node_modules');

const npm = (cwd, ...args) => execFileSync('npm', args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });

/** Copies the router, as npm does. A link would resolve the SDK and Express of this repository instead. */
function installRouter() {
  npm(ROOT, 'run', '--silent', 'build', '--', '--if-needed');
  const target = join(MODULES, 'express-mcp-router');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(target, 'package.json'));
  cpSync(join(ROOT, 'dist'), join(target, 'dist'), { recursive: true });
}

/** Bundles the test helpers that start Redis and HAProxy, as modules without dependencies. */
function bundleSupport() {
  const tools = ['redis-server', 'haproxy'].map((name) => `__tests__/support/${name}.ts`);
  const how = ['--bundle', '--platform=node', '--format=esm', '--out-extension:.js=.mjs', '--log-level=warning'];
  const target = `--outdir=${join(BENCH, '.cache', 'support')}`;
  execFileSync(join(ROOT, 'node_modules', '.bin', 'esbuild'), [...tools, ...how, target], {
    cwd: ROOT,
    stdio: 'inherit',
  });
}

if (!process.argv.includes('--without-peers')) installLocked(BENCH, '--omit=optional');
installRouter();
bundleSupport();
