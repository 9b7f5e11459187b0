/**
 * @typedef {object} Tally Of pairs of work and entry.
 * @property {number} passed
 * @property {string[]} failed
 * @property {string[]} known Known failures.
 */

const nameOf = ({ work, entry }) => `${work.name} ${entry.name}`;
const isKnown = ({ work, entry }) => entry.contender.fails?.[work.name] !== undefined;

/**
 * Makes all measurements, and prints a line for each.
 *
 * @param {readonly import('./schedule.mjs').Step[]} steps
 * @param {import('./runner.mjs').Runner} runner
 * @param {() => void} afterEach
 * @returns {Promise<Tally>}
 */
export async function carryOut(steps, runner, afterEach) {
  const passed = new Set();
  const failed = new Map();
  for (const [index, step] of steps.entries()) {
    const name = nameOf(step);
    if (failed.has(name)) continue;
    const { failure, samples } = await runner.measure(step);
    const place = `${String(index + 1).padStart(5)}/${steps.length} ${name}`;
    if (failure === undefined) {
      passed.add(name);
      console.log(`${place} #${step.round + 1}: ${shown(samples.at(-1))}`);
    } else {
      passed.delete(name);
      failed.set(name, isKnown(step));
      console.log(`${place}: ${isKnown(step) ? 'fails, as is known' : 'FAILED'}: ${failure}`);
    }
    afterEach();
  }
  await runner.end();
  const those = (known) => [...failed].filter(([, isSo]) => isSo === known).map(([name]) => name);
  return { passed: passed.size, failed: those(false), known: those(true) };
}

const shown = (sample) =>
  Object.entries(sample)
    .map(([metric, value]) => `${metric} ${value.toPrecision(4)}`)
    .join(', ');
