import { entriesOf } from '../works/work.mjs';

/**
 * @typedef {object} Step One measurement.
 * @property {import('../works/work.mjs').Work} work
 * @property {import('../works/work.mjs').Entry} entry
 * @property {number} round
 */

/**
 * All measurements in the order in which they are made. Rounds are interleaved (A B C A B C), so that whatever happens to
 * the machine meanwhile happens to all alike. Where processes are reused, all that one does stands together instead.
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

/** What a process is started with: two steps that agree in it can be done by the same one. */
export const processOf = ({ entry }) =>
  JSON.stringify([entry.contender.name, entry.settings.tools, entry.settings.factory]);

function groupedBy(steps, key) {
  const groups = new Map();
  for (const step of steps) groups.set(key(step), [...(groups.get(key(step)) ?? []), step]);
  return [...groups.values()].flat();
}
