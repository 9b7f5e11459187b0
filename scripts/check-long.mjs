// Runs the checks that are too long for `npm test`: `npm run check:long`. Names select some: `npm run check:long -- many installs`.
import { spawnSync } from 'node:child_process';

const jest = (...paths) => ['node', 'node_modules/jest/bin/jest.js', '--ci', ...paths];

/** `npm test` runs the same tests with smaller counts. */
const MANY = {
  FUZZ_COUNT: '200000',
  MODEL_RUNS: '3000',
  LEAK_SESSIONS: '20000',
  LEAK_CALLS: '100000',
  ERA_FLIPS: '100000',
  LISTENING: '1000',
  CROWD_CLIENTS: '200',
  RESTART_CLIENTS: '100',
  PROPERTY_FACTOR: '20',
  CROSSING_PRINCIPALS: '1000',
};

const CHECKS = [
  { name: 'chaos', command: ['npm', 'run', '--silent', 'chaos'] },
  {
    name: 'many',
    command: jest(
      '__tests__/(faults/fuzz|endpoint/(leak|crossing)|sessions/(model|session-verbs|leak|principal-name)|clients/(crowd|eras)|cluster/listening|example-app/restart)[.]test',
      '__tests__/(stores/(memory|redis)-event-store|transport/(jsonrpc|pending|replay)|http/identity)[.]test',
    ),
    env: MANY,
  },
  { name: 'express4', command: jest('__tests__/(http|faults|observe|sessions|transport)/'), env: { EXPRESS: '4' } },
  {
    name: 'node22',
    command: [
      'npx',
      '-y',
      '-p',
      'node@22',
      '-c',
      jest("'__tests__/(clients|http|faults|observe|sessions|transport)/'").join(' '),
    ],
  },
  { name: 'node-http', command: jest(), env: { HTTP: 'node' } },
  { name: 'conformance', command: ['node', 'scripts/conformance.mjs', '--all'] },
  // Checks only that every contender still works. The run is too short for its figures to mean anything.
  { name: 'bench', command: ['npm', 'run', '--silent', 'bench', '--', '--quick'] },
  { name: 'docs', command: ['npm', 'run', '--silent', 'docs'] },
  { name: 'package', command: ['node', 'scripts/check-package.mjs', '--all'] },
  { name: 'installs', command: ['node', 'scripts/check-installs.mjs'] },
];

const names = process.argv.slice(2);
const failed = CHECKS.filter(({ name }) => names.length === 0 || names.includes(name)).filter(
  ({ command: [file, ...args], env }) =>
    spawnSync(file, args, { env: { ...process.env, ...env }, stdio: 'inherit' }).status !== 0,
);
console.log(failed.length === 0 ? 'all passed' : `failed: ${failed.map(({ name }) => name).join(', ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
