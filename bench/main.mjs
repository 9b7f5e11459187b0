// The benchmark: who is measured in what, the measurements, and the report of them.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BASE, CONTENDERS, STATELESS_BASE } from './contenders/list.mjs';
import { parseOptions, UsageError } from './options.mjs';
import { describeMachine } from './report/machine.mjs';
import { writeReport } from './report/write.mjs';
import { Results } from './run/results.mjs';
import { Runner } from './run/runner.mjs';
import { schedule } from './run/schedule.mjs';
import { FULL, QUICK } from './sizes.mjs';
import { WORKS } from './works/index.mjs';

const BENCH = dirname(fileURLToPath(import.meta.url));

/** What every ratio is to; it takes part whoever is asked for. */
const ALWAYS = [BASE, STATELESS_BASE];

const nameOf = ({ name }) => name;

function choose(all, chosen, always = []) {
  return chosen === undefined ? all : all.filter(({ name }) => chosen.includes(name) || always.includes(name));
}

/** Only a whole run with rounds enough is for the record. */
function directoryFor({ out, quick, works, contenders }, { rounds }) {
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    return resolve(out);
  }
  const forTheRecord = !quick && works === undefined && contenders === undefined && rounds >= FULL.rounds;
  return forTheRecord ? BENCH : mkdtempSync(join(tmpdir(), 'bench-'));
}

const isExpected = ({ work, entry }) => entry.contender.fails?.[work.name] !== undefined;

/** Makes all measurements and tells of each in a line. Returns the steps that failed though they should not have. */
async function carryOut(steps, runner, afterEach) {
  const failed = new Set();
  for (const [index, step] of steps.entries()) {
    const { work, entry, round } = step;
    const known = new Set(failed);
    const outcome = await runner.measure(step);
    const what = `${String(index + 1).padStart(4)}/${steps.length} ${work.name} ${entry.name}`;
    if (outcome.failure !== undefined) {
      const id = `${work.name} ${entry.name}`;
      if (!isExpected(step)) failed.add(id);
      if (round === 0 || failed.size > known.size) {
        console.log(`${what}: ${isExpected(step) ? 'fails, as is known' : 'FAILED'}: ${outcome.failure}`);
      }
    } else {
      const shown = Object.entries(outcome.samples.at(-1)).map(
        ([metric, value]) => `${metric} ${value.toPrecision(4)}`,
      );
      console.log(`${what} #${round + 1}: ${shown.join(', ')}`);
    }
    afterEach();
  }
  await runner.end();
  return [...failed];
}

async function main() {
  const options = parseOptions(process.argv.slice(2), {
    works: WORKS.map(nameOf),
    contenders: CONTENDERS.map(nameOf),
  });
  if (options.list) {
    console.log(`works: ${WORKS.map(nameOf).join(', ')}\ncontenders: ${CONTENDERS.map(nameOf).join(', ')}`);
    return 0;
  }
  const works = choose(WORKS, options.works);
  if (options.from !== undefined) {
    const { outcomes, run } = JSON.parse(readFileSync(options.from, 'utf8'));
    const directory = options.out === undefined ? BENCH : directoryFor(options, FULL);
    writeReport(directory, { results: new Results(outcomes), run, works });
    return 0;
  }

  const sizes = { ...(options.quick ? QUICK : FULL), ...(options.rounds !== undefined && { rounds: options.rounds }) };
  const directory = directoryFor(options, sizes);
  const logs = join(BENCH, '.cache');
  mkdirSync(logs, { recursive: true });

  const results = new Results();
  const run = { ...describeMachine(), sizes };
  const save = () => {
    writeFileSync(join(logs, 'samples.json'), JSON.stringify({ run, outcomes: results.outcomes }));
  };
  const contenders = choose(CONTENDERS, options.contenders, ALWAYS);
  const steps = schedule(works, contenders, sizes);
  const failed = await carryOut(steps, new Runner(sizes, logs, results), save);
  run.finishedAt = new Date().toISOString();
  run.loadAfter = describeMachine().load;
  save();
  writeReport(directory, { results, run, works });
  console.log(`written: ${join(directory, 'RESULTS.md')}`);
  for (const name of failed) console.error(`FAILED: ${name}`);
  console.log(`${steps.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
