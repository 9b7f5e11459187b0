// Checks the packed tarball under other package managers and in bundles. The consumer opens a session and calls a tool.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync, transformSync } from 'esbuild';

const TIMEOUT_MS = 300_000;
/** The newest major version that runs on every Node that the package supports. */
const PNPM = 'pnpm@10';
const YARN = '@yarnpkg/cli-dist@4';
/** Consumers are outside of this repository, so that no import resolves from its `node_modules`. */
const root = mkdtempSync(join(tmpdir(), 'express-mcp-router-'));
const consumer = readFileSync('__tests__/package/consumer.ts', 'utf8');

const exec = (cwd, env, file, ...args) =>
  execFileSync(file, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: TIMEOUT_MS,
  });
const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')).version;

function project(name, tarball) {
  const dir = join(root, name);
  mkdirSync(dir);
  const peers = ['express', '@modelcontextprotocol/sdk', 'zod'].map((peer) => [peer, versionOf(peer)]);
  const dependencies = { 'express-mcp-router': `file:${tarball}`, ...Object.fromEntries(peers) };
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name, private: true, dependencies }));
  const formats = { mjs: 'esm', cjs: 'cjs' };
  for (const [extension, format] of Object.entries(formats)) {
    const { code } = transformSync(consumer, { loader: 'ts', format, target: 'node20' });
    writeFileSync(join(dir, `consumer.${extension}`), code);
  }
  return dir;
}

function checkPnpm(tarball) {
  const dir = project('with-pnpm', tarball);
  exec(dir, {}, 'npx', '-y', PNPM, 'install', '--ignore-workspace');
  for (const file of ['consumer.mjs', 'consumer.cjs']) exec(dir, {}, process.execPath, file);
  console.log('pnpm: an ES module and CommonJS installed, ran, ended by themselves');
  return dir;
}

function checkYarn(tarball) {
  const dir = project('with-yarn', tarball);
  // Yarn takes the nearest folder with a lockfile as the root of the project.
  writeFileSync(join(dir, 'yarn.lock'), '');
  const registry = exec('.', {}, 'npm', 'config', 'get', 'registry').trim();
  const env = {
    YARN_NODE_LINKER: 'pnp',
    YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
    YARN_ENABLE_TELEMETRY: 'false',
    YARN_NPM_REGISTRY_SERVER: registry.replace(/\/$/, ''),
    YARN_UNSAFE_HTTP_WHITELIST: new URL(registry).hostname,
  };
  const yarn = (...args) => exec(dir, env, 'npx', '-y', '-p', YARN, 'yarn', ...args);
  yarn('install');
  for (const file of ['consumer.mjs', 'consumer.cjs']) yarn('node', file);
  console.log('Yarn PnP: an ES module and CommonJS installed, ran, ended by themselves');
}

/** Bundles a consumer with all its dependencies, and runs the bundle in a folder without `node_modules`. */
function checkBundles(dir) {
  const isolated = join(root, 'bundled');
  mkdirSync(isolated);
  const require = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`;
  for (const [extension, format] of [
    ['mjs', 'esm'],
    ['cjs', 'cjs'],
  ]) {
    const outfile = join(isolated, `consumer.${extension}`);
    const entryPoints = [join(dir, `consumer.${extension}`)];
    const banner = format === 'esm' ? { js: require } : {};
    buildSync({ entryPoints, outfile, bundle: true, platform: 'node', target: 'node20', format, banner });
    exec(isolated, {}, process.execPath, outfile);
  }
  console.log('esbuild: an ES module and CommonJS bundled, ran, ended by themselves');
}

try {
  const [{ filename }] = JSON.parse(exec('.', {}, 'npm', 'pack', '--silent', '--json', '--pack-destination', root));
  const tarball = join(root, filename);
  checkBundles(checkPnpm(tarball));
  checkYarn(tarball);
} catch (error) {
  console.error(error.stdout ?? '', error.message);
  process.exitCode = 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
