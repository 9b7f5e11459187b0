// The tarball itself, as npm would publish it: what is in it, how it resolves, and whether strangers can use it.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DOCUMENTS = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md'];
const CONSUMER_TIMEOUT_MS = 60_000;
/** A consumer is outside of this repository, so that nothing resolves from here by accident. */
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

/** Builds, by the `prepack` script, and packs. */
function pack() {
  const [{ filename, files }] = JSON.parse(exec('.', 'npm', 'pack', '--silent', '--json', '--pack-destination', root));
  return { tarball: join(root, filename), files: files.map(({ path }) => path) };
}

function checkContents(files) {
  const strangers = files.filter(
    (path) =>
      !/^(dist\/(esm|cjs)\/[\w/-]+\.(js|d\.ts)|dist\/cjs\/package\.json)$/.test(path) && !DOCUMENTS.includes(path),
  );
  const missing = [...DOCUMENTS, 'dist/esm/index.js', 'dist/cjs/index.js'].filter((path) => !files.includes(path));
  if (strangers.length + missing.length > 0)
    throw new Error(
      `the tarball holds ${strangers.join(', ') || 'nothing else'}, and lacks ${missing.join(', ') || 'nothing'}`,
    );
}

/** Installs the tarball into a new project of one module type, compiles the consumer there and runs it. */
function checkConsumer(type, tarball, peers) {
  const dir = join(root, type);
  mkdirSync(dir);
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: `${type}-consumer`, private: true, type }));
  copyFileSync('__tests__/package/consumer.ts', join(dir, 'consumer.ts'));
  const tools = [installed('zod'), installed('typescript'), installed('@types/node')];
  exec(dir, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--silent', tarball, ...peers, ...tools);
  const flags = [
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
  exec(dir, 'npx', '--no-install', 'tsc', ...flags, 'consumer.ts');
  exec(dir, process.execPath, 'consumer.js');
  console.log(`${type} consumer with ${peers.join(', ')}: compiled, ran, ended by itself`);
}

try {
  const { tarball, files } = pack();
  checkContents(files);
  bin('publint', 'run', tarball, '--strict');
  bin('attw', tarball, '--no-definitely-typed', '--no-emoji');
  const { peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
  const lowest = Object.entries(peerDependencies).map(([name, range]) => `${name}@${/\d+\.\d+\.\d+/.exec(range)[0]}`);
  checkConsumer('module', tarball, ['express', '@modelcontextprotocol/sdk', '@types/express'].map(installed));
  checkConsumer('commonjs', tarball, [...lowest, '@types/express@4']);
} catch (error) {
  console.error(error.stdout ?? '', error.message);
  process.exitCode = 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
