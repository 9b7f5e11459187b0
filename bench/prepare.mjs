// Prepares a run: installs the benchmark's dependencies, builds the current router, and installs it beside its peers.
// `--without-peers` installs only the router: its contenders and those of the SDK then use this repository's dependencies.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BENCH = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(BENCH);
const MODULES = join(BENCH, 'node_modules');
const INSTALLED_LOCK = join(MODULES, '.bench-lock.json');

const npm = (cwd, ...args) => execFileSync('npm', args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });

function install() {
  const lock = readFileSync(join(BENCH, 'package-lock.json'), 'utf8');
  if (existsSync(INSTALLED_LOCK) && readFileSync(INSTALLED_LOCK, 'utf8') === lock) return;
  // Install scripts of peers compile or download parts that serving does not use.
  npm(BENCH, 'ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--loglevel=error');
  writeFileSync(INSTALLED_LOCK, lock);
}

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

if (!process.argv.includes('--without-peers')) install();
installRouter();
bundleSupport();
