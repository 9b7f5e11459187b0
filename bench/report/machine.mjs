import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';

const PACKAGES = [
  'express-mcp-router',
  '@modelcontextprotocol/sdk',
  'express',
  'zod',
  'mcp-proxy',
  'fastmcp',
  'mcp-framework',
  '@mongodb-js/mcp-http-runners',
  '@modelcontextprotocol/server',
  '@modelcontextprotocol/node',
  'pino-http',
  'prom-client',
  'redis',
];

/** The version of a package; undefined where the run has no peers (`prepare.mjs --without-peers`). */
function versionOf(name) {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : undefined;
}

/** The measured commit, and whether files differ from it; undefined outside a repository. */
function commit() {
  const git = (...args) => execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', ':/src') !== '';
    return git('rev-parse', '--short', 'HEAD') + (changed ? ', with changes in src' : '');
  } catch {
    return undefined;
  }
}

/** The load average of the last minute: processes that run or wait to run. */
export const load = () => os.loadavg()[0];

/** Describes the machine and the versions of the run. */
export function describeMachine() {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model ?? 'unknown',
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release().split('-')[0]} ${os.arch()}`,
    node: process.version,
    v8: process.versions.v8,
    commit: commit(),
    load: load(),
    versions: Object.fromEntries(
      PACKAGES.map((name) => [name, versionOf(name)]).filter(([, version]) => version !== undefined),
    ),
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    startedAt: new Date().toISOString(),
  };
}
