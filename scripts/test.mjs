// Runs every check of this package: `npm test`. Names select some of them: `npm test -- lint conformance`.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';

const LOGS = '.cache/test';
const STEP_TIMEOUT_MS = 30 * 60_000;

/**
 * How many processes may run tests or compilers at once. Each waits for the network, timers and other processes for a third of its
 * time, so that three keep two cores busy.
 */
const PROCESSES = 3;

const npm = (name) => ['npm', 'run', '--silent', name];
const jest = (workers, ...args) => [
  'node',
  'node_modules/jest/bin/jest.js',
  '--ci',
  `--maxWorkers=${workers}`,
  ...args,
];
const onNode = (major, command) => ['npx', '-y', '-p', `node@${major}`, '-c', command.join(' ')];
const report = (name) => `${LOGS}/${name}.json`;

/** On another Express or Node, long tests make fewer runs. The step `jest` and `npm run check:long` make more. */
const FEWER = { FUZZ_COUNT: '2000', LEAK_SESSIONS: '1000' };

const suites = (...patterns) => patterns.map((pattern) => `__tests__/${pattern}[.]test`);

/** Suites that depend on Express: its routing, its request and response, its error handling, its body parsers. */
const BY_EXPRESS = suites(
  'http/(answers|async-context|body|body-content|error-handler|http-error|methods|middleware|mount|order|request-info|stop|table)',
  'faults/(failing-answers|fuzz|hang-up|user-code|wrapped-responses)',
  'observe/(health|request-log)',
  'example-app/app',
  'router',
);

/** Suites that depend on Node's own modules (http, streams, timers, fetch), or on V8's heap and hidden classes. */
const BY_NODE = suites(
  'http/(accept|answers|async-context|body|body-memory|few-descriptors|hidden-class|http2|node|pipelining|server|stop)',
  'faults/(disconnect|fuzz|hang-up|slow-readers|stopped-streams|unruly-peers|wrapped-responses)',
  'transport/(reply|resume|stalled-readers|standalone-stream)',
  'observe/(logging|full-disk)',
  'sessions/(leak|small-heap|stop|turns)',
  'clients/clients',
  'clock',
  'heap',
);

/**
 * Suites of what Node 22 may do unlike both Node 20 and Node 24. A change of Node's own modules between major versions stays: Node 20
 * has none of those since, and Node 24 has all. V8's heap and hidden classes are of one version each, and so are the HTTP/2 library
 * and `fetch` that Node bundles.
 */
const BY_NODE_22 = suites(
  'http/(body-memory|hidden-class|http2|stop)',
  'sessions/(leak|small-heap)',
  'clients/clients',
);

/** Suites of what differs without Express: how the request, its body and its end reach the endpoint. */
const WITHOUT_EXPRESS = suites(
  'http/[a-z0-9-]+',
  'faults/(disconnect|failing-answers|fuzz|hang-up|hooks|opening|unruly-peers|wrapped-responses)',
);

/**
 * A step is a command, and a function that reads the totals from its output. A step without totals counts as one check.
 * `processes`: how many it runs at once; default: 1. `builds`: true if it writes `dist`; only one step at a time may do so.
 */
const STEPS = [
  { name: 'typecheck', command: npm('typecheck') },
  { name: 'lint', command: npm('lint') },
  { name: 'format', command: npm('format:check') },
  { name: 'structure', command: npm('structure') },
  { name: 'api', command: npm('api:check') },
  { name: 'build', command: npm('build'), builds: true },
  { ...jestStep('jest', (args) => jest(2, '--coverage', ...args)), processes: 2 },
  jestStep('express4', (args) => jest(1, ...BY_EXPRESS, ...args), { ...FEWER, EXPRESS: '4' }),
  jestStep('node22', (args) => onNode(22, jest(1, ...BY_NODE_22.map(quoted), ...args)), FEWER),
  jestStep('node24', (args) => onNode(24, jest(1, ...BY_NODE.map(quoted), ...args)), FEWER),
  jestStep('node-http', (args) => jest(1, ...WITHOUT_EXPRESS, ...args), { ...FEWER, HTTP: 'node' }),
  { name: 'package', command: npm('package'), builds: true },
  { name: 'conformance', command: npm('conformance') },
  { name: 'smoke', command: npm('smoke'), builds: true },
  // Checks only that the benchmark still runs and writes its report. `npm run check:long` tries every workload and contender.
  { name: 'bench', command: ['npm', '--prefix', 'bench', 'run', '--silent', 'check'], builds: true },
];

/** Quotes a pattern for the shell of `npx -c`. */
function quoted(pattern) {
  return `'${pattern}'`;
}

function jestStep(name, command, env = {}) {
  const count = () => {
    const results = JSON.parse(readFileSync(report(name), 'utf8'));
    return {
      passed: results.numPassedTests,
      failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
      skipped: results.numPendingTests + results.numTodoTests,
    };
  };
  return { name, command: command(['--json', `--outputFile=${report(name)}`]), env, count };
}

/** Reads the totals from the last line of a step's output. */
function countFromOutput(output) {
  const [, passed, failed] = /(\d+) passed, (\d+) failed\s*$/.exec(output) ?? [];
  return { passed: Number(passed ?? 1), failed: Number(failed ?? 0), skipped: 0 };
}

/** Runs a command in a process group of its own, so that a step which hangs is killed with all its children. */
function execute([file, ...args], env, log) {
  return new Promise((resolve) => {
    const fd = openSync(log, 'w');
    const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', fd, fd], detached: true });
    const kill = () => process.kill(-child.pid, 'SIGKILL');
    const timer = setTimeout(kill, STEP_TIMEOUT_MS);
    process.once('exit', kill);
    child.on('error', () => resolve(false));
    child.on('close', (code) => {
      clearTimeout(timer);
      process.off('exit', kill);
      closeSync(fd);
      resolve(code === 0);
    });
  });
}

async function runStep({ name, command, env, count }) {
  const log = `${LOGS}/${name}.log`;
  const startedAt = performance.now();
  const succeeded = await execute(command, env, log);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const output = readFileSync(log, 'utf8');

  const lines = [];
  const totals = { passed: 0, failed: 0, skipped: 0 };
  try {
    Object.assign(totals, (count ?? countFromOutput)(output));
  } catch (error) {
    lines.push(`${name}: no report (${error.message})`);
  }
  // A command can fail without a failed test: coverage below its threshold, or a crash. That counts as a failure.
  if (!succeeded && totals.failed === 0) Object.assign(totals, { passed: count ? totals.passed : 0, failed: 1 });
  if (succeeded && totals.passed === 0) totals.failed += 1;

  if (totals.failed > 0) lines.push(output);
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
  const mark = totals.failed > 0 ? '✗' : '✓';
  lines.push(`${mark} ${name.padEnd(12)} ${totals.passed} passed, ${totals.failed} failed${skipped} (${seconds} s)`);
  return { totals, lines };
}

const mayBegin = ({ processes = 1, builds = false }, running) =>
  running.reduce((sum, step) => sum + (step.processes ?? 1), processes) <= PROCESSES &&
  !(builds && running.some((step) => step.builds));

/** Starts the steps in order, each as soon as there is room for it. Returns the results in the same order. */
function runAll(steps) {
  const running = new Map();
  const begin = async (step, previous) => {
    await previous;
    while (!mayBegin(step, [...running.keys()])) await Promise.race(running.values());
    const result = runStep(step);
    running.set(
      step,
      result.finally(() => running.delete(step)),
    );
    return { result };
  };
  let begun;
  return steps.map((step) => {
    begun = begin(step, begun);
    return begun.then(({ result }) => result);
  });
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

const names = process.argv.slice(2);
const unknown = names.filter((name) => !STEPS.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(', ')}. There are: ${STEPS.map((step) => step.name).join(', ')}`);
  process.exit(2);
}

rmSync(LOGS, { recursive: true, force: true });
mkdirSync(LOGS, { recursive: true });
const sum = { passed: 0, failed: 0, skipped: 0 };
for (const result of runAll(STEPS.filter(({ name }) => names.length === 0 || names.includes(name)))) {
  const { totals, lines } = await result;
  for (const line of lines) console.log(line);
  for (const key of Object.keys(sum)) sum[key] += totals[key];
}
if (sum.skipped > 0) console.log(`${sum.skipped} skipped`);
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed > 0 ? 1 : 0;
