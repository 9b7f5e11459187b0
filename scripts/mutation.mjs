// Mutation testing with StrykerJS: `npm run mutation`, or `npm run mutation -- http transport` for some folders.
//
// A sample of each folder's mutants is tested with that folder's quick tests. MUTANTS sets its size, SEED repeats a sample.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Instrumenter } from '@stryker-mutator/instrumenter';
import { Stryker } from '@stryker-mutator/core';

const MUTANTS = Number(process.env.MUTANTS ?? 330);
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

/** A mutant may make a test wait for ever. */
const TEST_TIMEOUT_MS = 25_000;

/** Texts are for people: most of their mutants change a message that no rule fixes. */
const EXCLUDED_MUTATIONS = ['StringLiteral'];

/** A range of code is tested with every mutant in it. A larger one than this would fill the sample with one function. */
const MAX_MUTANTS_IN_RANGE = 3;

/** The tests of each folder that run in Jest's process, where a mutant can be switched on, and take seconds. */
const FOLDERS = {
  sessions: ['sessions/!(leak|small-heap|killed-set|stop|turns|model|principal-name)', 'endpoint/*'],
  transport: ['transport/!(stalled-readers)', 'http/accept'],
  http: [
    'http/!(few-descriptors|body-memory|hidden-class|surroundings|middleware|server|error-handler)',
    'http/per-request/*',
    'endpoint/*',
  ],
  cluster: [
    'cluster/@(adopt|back-off|challenges|envelope|fence|forwarding|hops|joining|lease|listener|migration|options)',
    'cluster/@(outcome-unknown|owner-routing|owners|peers|principals|relay|signed-http-port|sweep)',
  ],
};

/** Mulberry32: the same sample for the same seed. */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(items, random) {
  return items
    .map((item) => ({ item, rank: random() }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

const silent = Object.fromEntries(
  ['trace', 'debug', 'info', 'warn', 'error', 'fatal'].flatMap((level) => [
    [level, () => undefined],
    [`is${level[0].toUpperCase()}${level.slice(1)}Enabled`, () => false],
  ]),
);

/** Every mutant of the files of a folder. */
async function mutantsOf(folder) {
  const names = readdirSync(`src/${folder}`, { recursive: true }).filter((name) => name.endsWith('.ts'));
  const files = names
    .map((name) => join(`src/${folder}`, name))
    .map((name) => ({ name, content: readFileSync(name, 'utf8'), mutate: true }));
  const options = { ignorers: [], plugins: null, excludedMutations: EXCLUDED_MUTATIONS };
  const { mutants } = await new Instrumenter(silent).instrument(files, options);
  return mutants.filter(({ status }) => status !== 'Ignored');
}

const rangeOf = ({ fileName, location: { start, end } }) =>
  `${fileName}:${start.line + 1}:${start.column}-${end.line + 1}:${end.column}`;

const isBefore = (a, b) => a.line < b.line || (a.line === b.line && a.column <= b.column);

const contains = (outer, inner) =>
  outer.fileName === inner.fileName &&
  isBefore(outer.location.start, inner.location.start) &&
  isBefore(inner.location.end, outer.location.end);

/** Ranges that hold `size` mutants together, or all there are. */
function sample(mutants, size, random) {
  const chosen = new Set();
  const ranges = new Set();
  for (const mutant of shuffled(mutants, random)) {
    if (chosen.size >= size) break;
    const inside = mutants.filter((other) => contains(mutant, other));
    if (inside.length > MAX_MUTANTS_IN_RANGE) continue;
    ranges.add(rangeOf(mutant));
    for (const other of inside) chosen.add(other);
  }
  return [...ranges];
}

async function mutate(folder) {
  const mutants = await mutantsOf(folder);
  const stryker = new Stryker({
    mutate: sample(mutants, MUTANTS, randomFrom(SEED)),
    mutator: { excludedMutations: EXCLUDED_MUTATIONS },
    testRunner: 'jest',
    jest: {
      config: {
        testMatch: FOLDERS[folder].map((name) => `<rootDir>/__tests__/${name}.test.ts`),
        testSequencer: '<rootDir>/scripts/quick-tests-first.cjs',
        testTimeout: TEST_TIMEOUT_MS,
      },
      enableFindRelatedTests: false,
    },
    coverageAnalysis: 'perTest',
    concurrency: Number(process.env.WORKERS ?? 2),
    // Such mutants run every test, each in a world of its own.
    ignoreStatic: true,
    // A wait that a mutant makes endless ends by its own limit (`__tests__/support/waiting.ts`), or by this one.
    timeoutMS: 10_000,
    timeoutFactor: 3,
    reporters: ['dots'],
    tempDirName: '.cache/mutation',
    // Debian's packages have symbolic links that lead nowhere, which cannot be copied.
    ignorePatterns: ['.cache'],
    allowConsoleColors: false,
    logLevel: 'warn',
  });
  const results = await stryker.runMutationTest();
  const of = (...states) => results.filter(({ status }) => states.includes(status));
  const killed = of('Killed', 'Timeout').length;
  const alive = of('Survived', 'NoCoverage');
  console.log(
    `\n${folder}: ${alive.length} of ${killed + alive.length} mutants of a sample survived (${mutants.length} in all)`,
  );
  for (const { fileName, location, replacement, mutatorName, status } of alive) {
    console.log(
      `  ${fileName}:${location.start.line}:${location.start.column} ${status} ${mutatorName}: ${oneLine(replacement)}`,
    );
  }
  return { folder, tested: killed + alive.length, killed };
}

const oneLine = (text) => text.replaceAll(/\s+/g, ' ').slice(0, 120);

const names = process.argv.slice(2);
const scores = [];
for (const folder of Object.keys(FOLDERS).filter((name) => names.length === 0 || names.includes(name))) {
  scores.push(await mutate(folder));
}
for (const { folder, tested, killed } of scores) {
  console.log(`${folder.padEnd(10)} ${((100 * killed) / tested).toFixed(1)} % of ${tested} killed`);
}
console.log(`SEED=${SEED}`);
