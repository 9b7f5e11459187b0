// Builds the package twice (ESM and CommonJS, each with its own types) and the example app against the ESM build.
// `--package-only` leaves the app out; `--if-needed` skips the build when inputs and outputs have not changed since the last one.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const APP_CONFIG = 'example-app/tsconfig.json';
const CONFIGS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', APP_CONFIG];
const INPUTS = ['src', 'example-app/src', 'scripts/build.mjs', ...CONFIGS];
const OUTPUTS = ['dist', 'example-app/dist'];
const { bin } = JSON.parse(readFileSync('package.json', 'utf8'));
/** The program of the package. npm makes it executable when it is installed, but not in a checkout. */
const PROGRAM = bin['express-mcp-router'];
/** Holds the fingerprints of the inputs and of the outputs of the last build. */
const STAMP = '.cache/built';
/** Each process that builds has a folder here, named by its process ID. The folder is both its lock and its work space. */
const BUILDERS = '.cache/build';
const own = join(BUILDERS, String(process.pid));

const remove = (folder) => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

function filesOf(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return found ? [path] : [];
  const names = readdirSync(path).sort();
  return names.flatMap((name) => filesOf(join(path, name)));
}

/** Hashes names and contents: modification times miss a file that was removed, or replaced by an older one. */
function fingerprint(paths) {
  const hash = createHash('sha256');
  for (const file of paths.flatMap(filesOf)) hash.update(JSON.stringify([file, readFileSync(file, 'utf8')]));
  return hash.digest('hex');
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Finds another live process that builds, and removes the folders of dead ones. */
function otherBuilder() {
  const others = readdirSync(BUILDERS).filter((pid) => pid !== String(process.pid));
  for (const pid of others) if (!isAlive(pid)) remove(join(BUILDERS, pid));
  return others.find(isAlive);
}

/** Waits until no other process builds. Two that start together see each other's folders, and both retry after a random pause. */
async function becomeBuilder() {
  mkdirSync(BUILDERS, { recursive: true });
  process.once('exit', () => remove(own));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
  for (let isReported = false; ; isReported = true) {
    // A killed process may have had the same ID.
    remove(own);
    mkdirSync(own);
    const other = otherBuilder();
    if (other === undefined) return;
    remove(own);
    if (!isReported) console.error(`Waiting for process ${other}, which builds in ${join(BUILDERS, other)}`);
    await sleep(50 + 100 * Math.random());
  }
}

async function tsc(...args) {
  const [code] = await once(spawn('npx', ['--no-install', 'tsc', ...args], { stdio: 'inherit' }), 'exit');
  if (code !== 0) process.exit(1);
}

/**
 * Replaces the module that reads the files of the admin page by one that contains them. ES modules and CommonJS have no common
 * way to find a file beside them, and an app may be bundled.
 */
function embedPage() {
  const compiled = readFileSync(join(own, 'dist/cjs/admin/assets.js'), 'utf8');
  const module = {};
  new Function('require', 'exports', '__dirname', compiled)(
    createRequire(import.meta.url),
    module,
    resolve('src/admin'),
  );
  const value = `new Map(${JSON.stringify([...module.ASSETS])})`;
  writeFileSync(join(own, 'dist/esm/admin/assets.js'), `export const ASSETS = ${value};\n`);
  writeFileSync(join(own, 'dist/cjs/admin/assets.js'), `'use strict';\nexports.ASSETS = ${value};\n`);
}

async function buildPackage() {
  const commonjs = ['--module', 'commonjs', '--moduleResolution', 'bundler', '--ignoreDeprecations', '6.0'];
  await tsc('-p', 'tsconfig.build.json', '--outDir', join(own, 'dist/esm'));
  await tsc('-p', 'tsconfig.build.json', '--outDir', join(own, 'dist/cjs'), ...commonjs);
  embedPage();
  chmodSync(join(own, PROGRAM), 0o755);
  writeFileSync(join(own, 'dist/cjs/package.json'), '{"type":"commonjs"}\n');
}

/** Compiles with a copy of the app's configuration beside the new package, so that its `paths` lead to the new package. */
async function buildApp() {
  const { paths } = JSON.parse(readFileSync(APP_CONFIG, 'utf8')).compilerOptions;
  const config = { extends: resolve(APP_CONFIG), compilerOptions: { outDir: 'dist', paths } };
  mkdirSync(join(own, 'example-app'));
  writeFileSync(join(own, APP_CONFIG), JSON.stringify(config));
  await tsc('-p', join(own, APP_CONFIG));
}

/** Moves a complete output to its place. The old one moves away first: `rename` cannot replace a folder that is not empty. */
function install(output) {
  if (existsSync(output)) renameSync(output, join(own, `${output}.old`));
  renameSync(join(own, output), output);
}

await becomeBuilder();
const inputs = fingerprint(INPUTS);
const stamp = () => `${inputs} ${fingerprint(OUTPUTS)}\n`;
const isCurrent = existsSync(STAMP) && readFileSync(STAMP, 'utf8') === stamp();
if (process.argv.includes('--if-needed') && isCurrent) process.exit();

await buildPackage();
if (process.argv.includes('--package-only')) {
  install('dist');
} else {
  await buildApp();
  OUTPUTS.forEach(install);
  writeFileSync(STAMP, stamp());
}
