import { entriesOf } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { range } from './format.mjs';

/**
 * One number in which another is ahead of us.
 *
 * @typedef {object} Loss
 * @property {string} work
 * @property {string} ours
 * @property {string} rival
 * @property {string} what
 * @property {import('./figures.mjs').Spread} ratio Ours to theirs.
 * @property {boolean} always Whether they were ahead in every round.
 */

/**
 * Of two entries in a work, whether it is fair to compare them: the same reply format is not asked for, but who does not have
 * `createHttpServer` is not held against who has it, nor a usual factory against a cheap one. Who takes no factory is held
 * against the kind that builds what it does, or else the cheap one: it has its tools' schemas made once.
 */
function comparable(work, ours, rival) {
  if (rival.contender.options?.fast && !ours.contender.options.fast) return false;
  if (rival.contender.cheap) return rival.settings.factory === ours.settings.factory;
  const kinds = work.settings.map(({ factory }) => factory);
  return ours.settings.factory === ([rival.contender.builds, 'cheap'].find((kind) => kinds.includes(kind)) ?? 'usual');
}

/**
 * Every judged number in which a peer's median is ahead of ours. Ours stands for the router in SSE, its default, with
 * `createHttpServer` and with `app.listen`.
 *
 * @param {readonly import('../works/work.mjs').Work[]} works
 * @param {readonly import('../contenders/list.mjs').Contender[]} contenders
 * @param {import('./figures.mjs').Figures} figures
 * @returns {Loss[]}
 */
export function losses(works, contenders, figures) {
  return works.flatMap((work) => {
    const entries = entriesOf(work, contenders);
    const ours = entries.filter(
      ({ contender: { group, options } }) => group === 'ours' && !options.json && !options.observed,
    );
    const rivals = entries.filter(
      ({ contender: { group, options } }) => (group === 'sdk' || group === 'peer') && !options?.observed,
    );
    const judged = work.columns.filter((column) => column.judged);
    return ours.flatMap((our) =>
      rivals
        .filter((rival) => comparable(work, our, rival))
        .flatMap((rival) => judged.map((column) => compare(work, our, rival, column, figures)))
        .filter((loss) => loss !== undefined),
    );
  });
}

function compare(work, ours, rival, { metric, title, better }, figures) {
  const ratio = spread(figures.ratios(work.name, ours.name, rival.name, metric));
  if (ratio === undefined) return undefined;
  const behind = (value) => (better === 'higher' ? value < 1 : value > 1);
  if (!behind(ratio.median)) return undefined;
  const always = behind(ratio.min) && behind(ratio.max);
  return { work: work.title, ours: ours.title, rival: rival.title, what: title, ratio, always };
}

/**
 * @param {readonly Loss[]} found
 */
export function lossRows(found) {
  return found.map(({ work, ours, rival, what, ratio, always }) => [
    work,
    what,
    ours,
    rival,
    range(ratio, 2),
    always ? 'yes' : 'no',
  ]);
}
