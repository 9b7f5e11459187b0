// What a run needs: this package's dependencies, and the router as it is now, built and installed beside its peers.
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
  // What peers compile or download when they are installed has nothing to do with how they serve.
  npm(BENCH, 'ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--loglevel=error');
  writeFileSync(INSTALLED_LOCK, lock);
}

/** A copy, as npm would make it of the tarball, not a link: behind a link it would find an SDK and an Express of its own. */
function installRouter() {
  npm(ROOT, 'run', '--silent', 'build', '--', '--if-needed');
  const target = join(MODULES, 'express-mcp-router');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  cpSync(join(ROOT, 'package.json'), join(target, 'package.json'));
  cpSync(join(ROOT, 'dist'), join(target, 'dist'), { recursive: true });
}

/** What starts a Redis and a balancer, which the tests have already, as modules that need nothing else. */
function bundleSupport() {
  const tools = ['redis-server', 'haproxy'].map((name) => `__tests__/support/${name}.ts`);
  const how = ['--bundle', '--platform=node', '--format=esm', '--out-extension:.js=.mjs', '--log-level=warning'];
  const target = `--outdir=${join(BENCH, '.cache', 'support')}`;
  execFileSync(join(ROOT, 'node_modules', '.bin', 'esbuild'), [...tools, ...how, target], {
    cwd: ROOT,
    stdio: 'inherit',
  });
}

install();
installRouter();
bundleSupport();
