// Runs the official conformance suite against the router: each published server scenario, with SSE, with JSON, and without Express.
// With `--all`: each version of the suite with each revision and mode, and three nodes behind a load balancer.
import { execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const SUITES = ['0.1.16', '0.2.0-alpha.12'];
const SPEC_VERSIONS = ['2025-11-25', '2025-06-18'];
const MODES = new Map([
  ['sse', []],
  ['json', ['--json']],
]);
const NODE = ['node', ['--http']];
const CLUSTER = ['cluster', ['--nodes', '3']];
const CACHE = '.cache/conformance';
const SUITE_TIMEOUT_MS = 3 * 60_000;

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

/** Runs one version of the suite, which needs Node 22. Its warnings are broken "SHOULD" rules, and count as failures here. */
async function runSuite(suite, specVersion, [mode, args]) {
  const results = join(CACHE, `${suite}-${specVersion}-${mode}`);
  const server = await startFixtureServer(`${CACHE}/fixture-server.mjs`, args);
  const command = `conformance server --url ${server.url} --suite all --spec-version ${specVersion} -o ${results}`;
  const npx = ['-y', '-p', 'node@22', '-p', `@modelcontextprotocol/conformance@${suite}`, '-c', command];
  let output;
  let succeeded = true;
  try {
    ({ stdout: output } = await run('npx', npx, { timeout: SUITE_TIMEOUT_MS, maxBuffer: 2 ** 26 }));
  } catch (error) {
    succeeded = false;
    output = `${error.stdout}\n${error.stderr}\n${error.message}`;
  } finally {
    server.stop();
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
const selected = [
  ...[...MODES].map((mode) => [newest, SPEC_VERSIONS[0], mode]),
  [newest, SPEC_VERSIONS[0], NODE],
  ...SPEC_VERSIONS.map((specVersion) => [oldest, specVersion, [...MODES][0]]),
];
const all = [
  ...SUITES.flatMap((suite) => SPEC_VERSIONS.flatMap((version) => [...MODES].map((mode) => [suite, version, mode]))),
  ...[NODE, CLUSTER].map((mode) => [newest, SPEC_VERSIONS[0], mode]),
];

const sum = { passed: 0, failed: 0 };
for (const each of process.argv.includes('--all') ? all : selected) {
  const { passed, failed } = await runSuite(...each);
  sum.passed += passed;
  sum.failed += failed;
}
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed > 0 ? 1 : 0;
