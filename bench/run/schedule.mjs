import { entriesOf } from '../works/work.mjs';

/**
 * @typedef {object} Step One measurement.
 * @property {import('../works/work.mjs').Work} work
 * @property {import('../works/work.mjs').Entry} entry
 * @property {number} round
 */

/**
 * Lists all measurements in order. Rounds are interleaved (A B C A B C), so that a slow phase of the machine affects all
 * contenders. If processes are reused, the measurements of one process are adjacent instead.
 *
 * @param {readonly import('../works/work.mjs').Work[]} works
 * @param {readonly import('../contenders/list.mjs').Contender[]} contenders
 * @param {import('../sizes.mjs').Sizes} sizes
 * @returns {Step[]}
 */
export function schedule(works, contenders, { rounds, reuse }) {
  const steps = works.flatMap((work) => {
    const entries = entriesOf(work, contenders);
    return Array.from({ length: rounds }, (_, round) => entries.map((entry) => ({ work, entry, round }))).flat();
  });
  return reuse ? groupedBy(steps, processOf) : steps;
}

/** Identifies how a process is started. Two steps with the same key can share a process. */
export const processOf = ({ entry }) =>
  JSON.stringify([entry.contender.name, entry.settings.tools, entry.settings.factory]);

function groupedBy(steps, key) {
  const groups = new Map();
  for (const step of steps) groups.set(key(step), [...(groups.get(key(step)) ?? []), step]);
  return [...groups.values()].flat();
}
