// Checks the tarball that npm would publish: its files, its links, how it resolves, and that new projects can use it.
// With `--all`: new projects also compile with the TypeScript of this repository.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkLicenses } from './licenses.mjs';
import { checkQuickStart } from './quick-start.mjs';
import { brokenLinks } from './tarball-links.mjs';

const REQUIRED = [
  'package.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'dist/esm/doctor/bin.js',
  ...['index', 'node'].flatMap((entry) => [`dist/esm/${entry}.js`, `dist/cjs/${entry}.js`]),
];
const ALLOWED = [
  /^dist\/(esm|cjs)\/[\w/-]+\.(js|d\.ts)$/,
  /^dist\/cjs\/package\.json$/,
  // The README links to these files, directly or through another one.
  /^(CONTRIBUTING|docs\/[\w-]+|example-app\/README|bench\/RESULTS)\.md$/,
  /^observability\/(dashboard\.json|rules(\.test)?\.yml)$/,
  /^docs\/[\w-]+\.png$/,
  /^bench\/plots\/[\w-]+\.svg$/,
  /^example-app\/src\/[\w-]+\.ts$/,
  /^examples\/(README\.md|[\w-]+\/(server|handler)\.ts)$/,
  /^deploy\/[\w./-]+$/,
];
const CONSUMER_TIMEOUT_MS = 600_000;
/** Consumers are outside of this repository, so that no import resolves from its `node_modules`. */
const root = mkdtempSync(join(tmpdir(), 'express-mcp-router-'));

const exec = (cwd, file, ...args) =>
  execFileSync(file, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: CONSUMER_TIMEOUT_MS,
  });
const bin = (name, ...args) => console.log(exec('.', 'npx', '--no-install', name, ...args));
const installed = (name) => `${name}@${JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')).version}`;

/** Packs the tarball; the `prepack` script builds the package first. */
function pack() {
  const [{ filename, files }] = JSON.parse(exec('.', 'npm', 'pack', '--silent', '--json', '--pack-destination', root));
  return { tarball: join(root, filename), files: files.map(({ path }) => path) };
}

function checkContents(files) {
  const isAllowed = (path) => REQUIRED.includes(path) || ALLOWED.some((pattern) => pattern.test(path));
  const unexpected = files.filter((path) => !isAllowed(path));
  const missing = REQUIRED.filter((path) => !files.includes(path));
  if (unexpected.length + missing.length > 0)
    throw new Error(
      `unexpected files in the tarball: ${unexpected.join(', ') || 'none'}; missing: ${missing.join(', ') || 'none'}`,
    );
}

/** npm would correct mistakes of package.json while it publishes, and only warn of them. */
function checkPublish() {
  const { status, stderr } = spawnSync('npm', ['publish', '--dry-run', '--ignore-scripts'], { encoding: 'utf8' });
  const corrected = stderr.split('\n').filter((line) => /^npm warn publish/.test(line) && !line.includes('logged in'));
  if (status !== 0 || corrected.length > 0) throw new Error(`npm publish --dry-run: ${stderr}`);
  console.log('npm publish --dry-run: nothing to correct');
}

/** Follows each relative link and image of the packed documents, in the unpacked tarball. */
function checkLinks(tarball, files) {
  const dir = join(root, 'unpacked');
  mkdirSync(dir);
  exec(dir, 'tar', '-xzf', tarball, '--strip-components=1');
  const broken = brokenLinks(files, (path) => readFileSync(join(dir, path), 'utf8'));
  if (broken.length > 0) throw new Error(`broken links in the tarball: ${broken.join(', ')}`);
  console.log(`links of ${files.filter((path) => path.endsWith('.md')).length} packed documents: none is broken`);
}

/**
 * Compilers by the name under which they are installed. Version 7 checks the declarations of all packages in a third of the time
 * that version 6 takes.
 */
const COMPILERS = new Map([
  ['typescript', 'typescript@7'],
  ...(process.argv.includes('--all') ? [['own-typescript', `own-typescript@npm:${installed('typescript')}`]] : []),
]);
const TSC_FLAGS = [
  '--module',
  'nodenext',
  '--target',
  'es2022',
  '--strict',
  '--skipLibCheck',
  'false',
  '--types',
  'node',
];

function runConsumer(dir, name) {
  copyFileSync(`__tests__/package/${name}.ts`, join(dir, `${name}.ts`));
  for (const compiler of COMPILERS.keys())
    exec(dir, process.execPath, `node_modules/${compiler}/bin/tsc`, ...TSC_FLAGS, `${name}.ts`);
  exec(dir, process.execPath, `${name}.js`);
}

const SDK_V1 = ['@modelcontextprotocol/sdk'];
const SDK_V2 = ['@modelcontextprotocol/server', '@modelcontextprotocol/client'];

/** Runs a check while packages are not installed. */
function without(dir, names, check) {
  const places = names.map((name) => [join(dir, 'node_modules', name), join(dir, `hidden-${name.replace('/', '-')}`)]);
  for (const [place, hidden] of places) renameSync(place, hidden);
  check();
  for (const [place, hidden] of places) renameSync(hidden, place);
}

/**
 * Installs the tarball into a new project of one module type. Runs consumers with version 1 of the SDK alone, with Express and
 * without it, then with version 2 alone, and with both.
 */
function checkConsumer(type, tarball, peers) {
  const dir = join(root, type);
  mkdirSync(dir);
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: `${type}-consumer`, private: true, type }));
  const tools = [...SDK_V2.map(installed), installed('zod'), installed('@types/node'), ...COMPILERS.values()];
  exec(dir, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--silent', tarball, ...peers, ...tools);
  without(dir, SDK_V2, () => runConsumer(dir, 'consumer'));
  console.log(`${type} consumer with ${peers.join(', ')}: compiled, ran, ended by itself`);
  // The SDK depends on Express itself, and npm hoists that copy to the top, where the package would find it.
  for (const name of ['express', '@types/express', '@types/express-serve-static-core'])
    rmSync(join(dir, 'node_modules', name), { recursive: true, force: true });
  without(dir, SDK_V2, () => runConsumer(dir, 'node-consumer'));
  console.log(`${type} consumer without Express: compiled, ran, ended by itself`);
  without(dir, SDK_V1, () => runConsumer(dir, 'v2-consumer'));
  runConsumer(dir, 'v2-consumer');
  console.log(`${type} consumer with SDK v2, alone and beside v1: compiled, ran, ended by itself`);
}

try {
  const { tarball, files } = pack();
  checkContents(files);
  checkLinks(tarball, files);
  console.log(`licenses of ${checkLicenses('.')} runtime dependencies: all ask for a notice at most`);
  checkPublish();
  bin('publint', 'run', tarball, '--strict');
  bin('attw', tarball, '--no-definitely-typed', '--no-emoji');
  const { peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
  // Version 2 of the SDK is installed beside its client, as one release.
  const lowest = Object.entries(peerDependencies)
    .filter(([name]) => !SDK_V2.includes(name))
    .map(([name, range]) => `${name}@${/\d+\.\d+\.\d+/.exec(range)[0]}`);
  checkConsumer('module', tarball, ['express', '@modelcontextprotocol/sdk', '@types/express'].map(installed));
  checkConsumer('commonjs', tarball, [...lowest, '@types/express@4']);
  await checkQuickStart(exec, root, tarball);
} catch (error) {
  console.error(error.stdout ?? '', error.message);
  process.exitCode = 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
