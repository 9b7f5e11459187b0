// The benchmark: selects contenders and workloads, measures them, and writes the report.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BASE, CLUSTER_BASE, CONTENDERS, STATELESS_BASE } from './contenders/list.mjs';
import { parseOptions, UsageError } from './options.mjs';
import { describeMachine, load } from './report/machine.mjs';
import { writeReport } from './report/write.mjs';
import { carryOut } from './run/carry-out.mjs';
import { Results } from './run/results.mjs';
import { Runner } from './run/runner.mjs';
import { schedule } from './run/schedule.mjs';
import { FULL, QUICK } from './sizes.mjs';
import { WORKS } from './works/index.mjs';

const BENCH = dirname(fileURLToPath(import.meta.url));
/** Holds the samples of the last run, the output of the processes, and profiles. */
const CACHE = join(BENCH, '.cache');

/** The bases of all ratios. They are measured in every run, whatever contenders are chosen. */
const ALWAYS = [BASE, STATELESS_BASE, CLUSTER_BASE];

const names = (all) => all.map(({ name }) => name);

function choose(all, chosen, always = []) {
  return chosen === undefined ? all : all.filter(({ name }) => chosen.includes(name) || always.includes(name));
}

/** Returns the directory of the report. Only a complete run with enough rounds replaces the record. */
function reportDirectory({ out, quick, profile, works, contenders }, { rounds }) {
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    return resolve(out);
  }
  const whole = works === undefined && contenders === undefined && rounds >= FULL.rounds;
  return whole && !quick && !profile ? BENCH : mkdtempSync(join(tmpdir(), 'bench-'));
}

/** Writes the report of earlier runs again. They may be parts of one run: a ratio never crosses workloads, so never parts. */
function reportAgain({ from, out }) {
  const parts = from.map((file) => JSON.parse(readFileSync(file, 'utf8')));
  const results = new Results(Object.assign({}, ...parts.map(({ outcomes }) => outcomes)));
  const runs = parts.map(({ run }) => run);
  writeReport(out ?? BENCH, { results, runs, works: WORKS, record: out === undefined });
}

async function measureAll(options) {
  const sizes = { ...(options.quick ? QUICK : FULL), ...(options.rounds !== undefined && { rounds: options.rounds }) };
  const directory = reportDirectory(options, sizes);
  const works = choose(WORKS, options.works);
  const contenders = choose(CONTENDERS, options.contenders, ALWAYS);
  mkdirSync(CACHE, { recursive: true });

  const results = new Results();
  const run = { ...describeMachine(), sizes };
  const keep = () => {
    run.finishedAt = new Date().toISOString();
    run.loadAfter = load();
    writeFileSync(join(CACHE, 'samples.json'), JSON.stringify({ run, outcomes: results.outcomes }, undefined, 1));
  };
  const runner = new Runner(sizes, CACHE, results, options.profile);
  const tally = await carryOut(schedule(works, contenders, sizes), runner, keep);

  writeReport(directory, { results, runs: [run], works, record: directory === BENCH });
  console.log(`written: ${join(directory, 'RESULTS.md')}`);
  return tally;
}

async function main() {
  const options = parseOptions(process.argv.slice(2), { works: names(WORKS), contenders: names(CONTENDERS) });
  if (options.list) {
    console.log(`works: ${names(WORKS).join(', ')}\ncontenders: ${names(CONTENDERS).join(', ')}`);
    return 0;
  }
  if (options.from !== undefined) {
    reportAgain(options);
    return 0;
  }
  const { passed, failed, known } = await measureAll(options);
  for (const name of known) console.log(`fails (known): ${name}`);
  for (const name of failed) console.log(`FAILED: ${name}`);
  console.log(`${passed} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
