import { entriesOf } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { range } from './format.mjs';

/** Kinds of `serverFactory`, from the cheapest. */
const FACTORIES = ['low-level', 'cheap', 'usual'];

/**
 * One figure in which a peer is ahead of the router.
 *
 * @typedef {object} Loss
 * @property {string} work
 * @property {string} ours
 * @property {string} rival
 * @property {string} what
 * @property {import('./figures.mjs').Spread} ratio Ours to theirs.
 * @property {boolean} always Whether the peer was ahead in every round.
 * @property {boolean} alike False where the rival builds less for a session than ours does with this factory.
 */

/** The factory to compare with a peer that takes none: the kind that builds the same, else the cheap one. */
const kindOf = ({ contender, settings }) => (contender.cheap ? settings.factory : (contender.builds ?? 'cheap'));

/** The rival's kind and the more costly ones, if the router was measured with them. */
const kindsFor = (rival, contender, ours) =>
  FACTORIES.slice(FACTORIES.indexOf(kindOf(rival))).filter((factory) =>
    ours.some((entry) => entry.contender === contender && entry.settings.factory === factory),
  );

/**
 * The reply formats may differ, but the router without `createHttpServer` is not compared with a rival that has it.
 * A factory is compared with its own kind, or the next more costly one. The cheap one is also compared with rivals that build
 * less.
 *
 * @returns {{ alike: boolean } | undefined} Undefined when the two are not compared.
 */
function comparison(our, rival, ours) {
  if (rival.contender.options?.fast && !our.contender.options.fast) return undefined;
  const { factory } = our.settings;
  const [nearest, ...dearer] = kindsFor(rival, our.contender, ours);
  if (factory === nearest) return { alike: true };
  return factory === 'cheap' && dearer.includes(factory) ? { alike: false } : undefined;
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
    const entries = entriesOf(work, contenders).filter(
      ({ contender }) => !contender.options?.observed && !work.refers?.(contender),
    );
    const rivals = entries.filter(({ contender: { group } }) => group === 'sdk' || group === 'peer');
    const ours = entries.filter(
      ({ name, contender: { group, options } }) => group === 'ours' && !options.json && figures.has(work.name, name),
    );
    const judged = work.columns.filter((column) => column.judged);
    return ours.flatMap((our) =>
      rivals.flatMap((rival) => {
        const held = comparison(our, rival, ours);
        if (held === undefined) return [];
        return judged
          .map((column) => compare(work, our, rival, column, figures))
          .filter((loss) => loss !== undefined)
          .map((loss) => ({ ...loss, ...held }));
      }),
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
