// Runs the official conformance suite against the router: each published server scenario, with SSE, with JSON, and without Express.
// One port serves every revision of the specification, with and without sessions. Servers of the SDK's version 2 that serve the
// revision without sessions themselves have another.
// With `--all`: each version of the suite with each revision and mode, and three nodes behind a load balancer, with servers of both
// versions.
import { execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const SUITES = ['0.1.16', '0.2.0-alpha.12'];
const SESSION_VERSIONS = ['2025-11-25', '2025-06-18'];
/** The revision without sessions. Only the newest version of the suite has its scenarios. */
const PER_REQUEST_VERSION = '2026-07-28';
const MODES = new Map([
  ['sse', []],
  ['json', ['--json']],
]);
const NODE = ['node', ['--http']];
/** Servers of the SDK's version 2 that serve MCP 2026-07-28 themselves. */
const NATIVE = ['native', ['--native']];
const NATIVE_JSON = ['native-json', ['--native', '--json']];
const CLUSTER = ['cluster', ['--nodes', '3']];
const NATIVE_CLUSTER = ['native-cluster', ['--native', '--nodes', '3']];
const CACHE = '.cache/conformance';
const SUITE_TIMEOUT_MS = 10 * 60_000;

const run = promisify(execFile);

/** Starts the fixture server, which prints its URL when it listens. */
async function startFixtureServer(file, args) {
  const child = spawn(process.execPath, [file, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise((resolve, reject) => {
    child.stdout.once('data', (line) => resolve(String(line).trim()));
    child.once('exit', (code) => reject(new Error(`the fixture server ended with ${code}`)));
  });
  return { url, stop: () => child.kill() };
}

/** Reads the results of all checks. The suite writes one `checks.json` for each scenario that it could run. */
function readChecks(results) {
  return readdirSync(results, { recursive: true })
    .filter((name) => name.endsWith('checks.json'))
    .flatMap((name) => JSON.parse(readFileSync(join(results, name), 'utf8')));
}

/** Runs one version of the suite against one server, with each revision of the specification. */
async function runSuite(suite, specVersions, [mode, args]) {
  const server = await startFixtureServer(`${CACHE}/fixture-server.mjs`, args);
  try {
    const totals = [];
    for (const specVersion of specVersions) totals.push(await runRevision(suite, specVersion, mode, server.url));
    return totals;
  } finally {
    server.stop();
  }
}

/** Runs one revision. The suite needs Node 22. Its warnings are broken "SHOULD" rules, and count as failures here. */
async function runRevision(suite, specVersion, mode, url) {
  const results = join(CACHE, `${suite}-${specVersion}-${mode}`);
  const command = `conformance server --url ${url} --suite all --spec-version ${specVersion} -o ${results}`;
  const npx = ['-y', '-p', 'node@22', '-p', `@modelcontextprotocol/conformance@${suite}`, '-c', command];
  let output;
  let succeeded = true;
  try {
    ({ stdout: output } = await run('npx', npx, { timeout: SUITE_TIMEOUT_MS, maxBuffer: 2 ** 26 }));
  } catch (error) {
    succeeded = false;
    output = `${error.stdout}\n${error.stderr}\n${error.message}`;
  }

  const checks = readChecks(results);
  const passed = checks.filter(({ status }) => status === 'SUCCESS').length;
  const wrong = checks.filter(({ status }) => ['FAILURE', 'WARNING', 'SKIPPED'].includes(status));
  for (const { id, status, errorMessage } of wrong) console.log(`${status} ${id}: ${errorMessage}`);
  // The suite's own totals must agree: a scenario that threw has no checks.json, and a run without checks proves nothing.
  const total = /^Total: (\d+) passed, (\d+) failed$/m.exec(output);
  const agrees = succeeded && passed > 0 && Number(total?.[1]) === passed && Number(total?.[2]) === 0;
  if (!agrees && wrong.length === 0) console.log(output);
  const failed = agrees ? wrong.length : Math.max(1, wrong.length);
  console.log(`${suite} ${specVersion} ${mode}: ${passed} passed, ${failed} failed`);
  return { passed, failed };
}

rmSync(CACHE, { recursive: true, force: true });
await build({
  entryPoints: ['__tests__/conformance/fixture-server.ts'],
  outfile: `${CACHE}/fixture-server.mjs`,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
});

const [newest, oldest] = [SUITES.at(-1), SUITES[0]];
const [sse] = MODES;
const selected = [
  [newest, [...SESSION_VERSIONS, PER_REQUEST_VERSION], sse],
  ...[...MODES].slice(1).map((mode) => [newest, [SESSION_VERSIONS[0], PER_REQUEST_VERSION], mode]),
  [newest, [SESSION_VERSIONS[0], PER_REQUEST_VERSION], NODE],
  [newest, [PER_REQUEST_VERSION], NATIVE],
  [oldest, SESSION_VERSIONS, sse],
];
const all = [
  ...[...MODES, NODE].map((mode) => [newest, [...SESSION_VERSIONS, PER_REQUEST_VERSION], mode]),
  ...[...MODES].map((mode) => [oldest, SESSION_VERSIONS, mode]),
  ...[NATIVE, NATIVE_JSON, NATIVE_CLUSTER].map((mode) => [newest, [PER_REQUEST_VERSION], mode]),
  [newest, [SESSION_VERSIONS[0], PER_REQUEST_VERSION], CLUSTER],
];

const sum = { passed: 0, failed: 0 };
for (const each of process.argv.includes('--all') ? all : selected) {
  for (const { passed, failed } of await runSuite(...each)) {
    sum.passed += passed;
    sum.failed += failed;
  }
}
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed > 0 ? 1 : 0;
