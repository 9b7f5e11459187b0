import { aloneLike } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { number, range, table } from './format.mjs';

const KNOWN = 'fails';

/** @typedef {import('../works/work.mjs').Work} Work @typedef {import('../works/work.mjs').Entry} Entry */

/**
 * Everything that was measured in one work.
 *
 * @param {Work} work
 * @param {readonly Entry[]} entries
 * @param {import('./figures.mjs').Figures} figures
 */
export function workTable(work, entries, figures) {
  const isMemory = work.columns.some(({ metric }) => metric === 'heap');
  const head = ['', ...work.columns.flatMap(titles), ...(isMemory ? ['beyond the server alone, KiB'] : [])];
  const measured = entries.filter(({ name }) => figures.has(work.name, name));
  const rows = measured.map((entry) => {
    const cells = work.columns.flatMap((column) => valueCells(work, entry, column, figures));
    return [entry.title, ...cells, ...(isMemory ? [share(work, entry, figures)] : [])];
  });
  return [table(head, rows), ...remarks(work, measured), ...failures(work, measured, figures)].join('\n');
}

const titles = ({ title, ratio }) => (ratio ? [title, 'ratio'] : [title]);

function valueCells(work, entry, { metric, digits, ratio }, figures) {
  const value = spread(figures.values(work.name, entry.name, metric));
  const cells = [value === undefined ? '—' : number(value.median, digits)];
  if (ratio) cells.push(range(spread(figures.ratios(work.name, entry.name, work.base, metric)), 2));
  return cells;
}

/** What a session takes beyond the SDK's server in it; told only of those who hold one of the same kind. */
function share(work, entry, figures) {
  const { contender, name } = entry;
  if (contender.group !== 'ours' && contender.group !== 'sdk') return '';
  return range(spread(figures.differences(work.name, name, aloneLike(work, entry), 'heap')), 2);
}

const remarks = (work, entries) =>
  entries
    .filter(({ contender }) => contender.remarks?.[work.name] !== undefined)
    .map(({ title, contender }) => `\n**${title}**: ${contender.remarks[work.name]}.`);

function failures(work, entries, figures) {
  return entries
    .filter(({ name }) => figures.failure(work.name, name) !== undefined)
    .map(({ name, title, contender }) => {
      const known = contender.fails?.[work.name];
      return `\n**${title} ${KNOWN}**${known === undefined ? '' : ` (${known})`}: ${figures.failure(work.name, name)}`;
    });
}
