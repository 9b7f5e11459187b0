// Builds the package twice (ESM and CommonJS, each with its own types) and the example app against the ESM build.
// `--package-only` leaves the app out; `--if-needed` does nothing when all is there as it would be built.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const APP_CONFIG = 'example-app/tsconfig.json';
const CONFIGS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', APP_CONFIG];
const INPUTS = ['src', 'example-app/src', 'scripts/build.mjs', ...CONFIGS];
const OUTPUTS = ['dist', 'example-app/dist'];
/** The fingerprints of the inputs, and of what was built of them. */
const STAMP = '.cache/built';
/** Holds a folder of each process that builds, named by its ID: the sign that it does, and the place where. */
const BUILDERS = '.cache/build';
const own = join(BUILDERS, String(process.pid));

const remove = (folder) => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

function filesOf(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return found ? [path] : [];
  const names = readdirSync(path).sort();
  return names.flatMap((name) => filesOf(join(path, name)));
}

/** Of names and contents: times do not tell of a file that was removed, or replaced by an older one. */
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

/** What a killed process left is removed on the way. */
function otherBuilder() {
  const others = readdirSync(BUILDERS).filter((pid) => pid !== String(process.pid));
  for (const pid of others) if (!isAlive(pid)) remove(join(BUILDERS, pid));
  return others.find(isAlive);
}

/** Never lets two build: those that come at once see each other, and step back for a while. */
async function becomeBuilder() {
  mkdirSync(BUILDERS, { recursive: true });
  process.once('exit', () => remove(own));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
  for (let told = false; ; told = true) {
    // A killed process may have had the same ID.
    remove(own);
    mkdirSync(own);
    const other = otherBuilder();
    if (other === undefined) return;
    remove(own);
    if (!told) console.error(`Waiting for process ${other}, which builds in ${join(BUILDERS, other)}`);
    await sleep(50 + 100 * Math.random());
  }
}

async function tsc(...args) {
  const [code] = await once(spawn('npx', ['--no-install', 'tsc', ...args], { stdio: 'inherit' }), 'exit');
  if (code !== 0) process.exit(1);
}

async function buildPackage() {
  const commonjs = ['--module', 'commonjs', '--moduleResolution', 'bundler', '--ignoreDeprecations', '6.0'];
  await tsc('-p', 'tsconfig.build.json', '--outDir', join(own, 'dist/esm'));
  await tsc('-p', 'tsconfig.build.json', '--outDir', join(own, 'dist/cjs'), ...commonjs);
  writeFileSync(join(own, 'dist/cjs/package.json'), '{"type":"commonjs"}\n');
}

/** By a configuration beside the new package, where the paths of the app's lead to it, and not to the old one. */
async function buildApp() {
  const { paths } = JSON.parse(readFileSync(APP_CONFIG, 'utf8')).compilerOptions;
  const config = { extends: resolve(APP_CONFIG), compilerOptions: { outDir: 'dist', paths } };
  mkdirSync(join(own, 'example-app'));
  writeFileSync(join(own, APP_CONFIG), JSON.stringify(config));
  await tsc('-p', join(own, APP_CONFIG));
}

/** Puts in its place what is whole; a folder with something in it cannot be replaced at once. */
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
