import { entriesOf } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { range } from './format.mjs';

/** Kinds of `serverFactory`, from the cheapest. */
const FACTORIES = ['low-level', 'cheap', 'usual'];

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
 * @property {boolean} alike False where the rival builds less for a session than ours does with this factory.
 */

/** Who takes no factory is held against the kind that builds what it does, or else the cheap one: it has its schemas made once. */
const kindOf = ({ contender, settings }) => (contender.cheap ? settings.factory : (contender.builds ?? 'cheap'));

/** Of the rival's kind and the dearer ones, those in which a contender of ours was measured. */
const kindsFor = (rival, contender, ours) =>
  FACTORIES.slice(FACTORIES.indexOf(kindOf(rival))).filter((factory) =>
    ours.some((entry) => entry.contender === contender && entry.settings.factory === factory),
  );

/**
 * The same reply format is not asked for, but who does not have `createHttpServer` is not held against who has it. A factory
 * is held against its own kind, or the next dearer one that was measured; and the cheap one against whoever builds less.
 *
 * @returns {{ alike: boolean } | undefined} Undefined for those who are not held against each other.
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
    const entries = entriesOf(work, contenders).filter(({ contender }) => !contender.options?.observed);
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
