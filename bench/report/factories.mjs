import { readFileSync, writeFileSync } from 'node:fs';
import { BASE } from '../contenders/list.mjs';
import { entryName } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { number, range, table } from './format.mjs';

const DOCS = new URL('../../docs/performance.md', import.meta.url);
const BEGIN = '<!-- bench:factory -->';
const END = '<!-- /bench -->';

const OURS = 'router-fast';

/** @type {readonly { factory: import('../tools/factories.mjs').FactoryStyle, entry: string }[]} */
const ROWS = [
  { factory: 'usual', entry: OURS },
  ...['cheap', 'low-level'].map((factory) => ({ factory, entry: entryName(OURS, factory) })),
];

/** @param {import('./figures.mjs').Figures} figures */
function factoryTable(figures) {
  const heap = (work, entry) => {
    const values = spread(figures.values(work, entry, 'heap'));
    return values === undefined ? '—' : number(values.median, 1);
  };
  const rows = ROWS.map(({ factory, entry }) => [
    factory,
    range(spread(figures.ratios('open', entry, BASE, 'throughput')), 2),
    heap('memory-10', entry),
    heap('memory-50', entry),
  ]);
  const head = [
    "cycles/s, times the SDK wiring's with the usual one",
    'KiB of heap, 10 tools',
    'KiB of heap, 50 tools',
  ];
  return table(['`serverFactory`', ...head], rows);
}

/** Compares the factories, with figures of other workloads of the report. */
export const factorySection = (figures) => `## A cheap \`serverFactory\`

Ours in SSE with \`createHttpServer\`: opening and ending sessions, and what an idle one takes.

${factoryTable(figures)}`;

/** Writes the same table into the docs, between its marks, so that docs and record agree. */
export function writeToDocs(figures) {
  const text = readFileSync(DOCS, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`${DOCS.pathname}: the marks of its table are gone`);
  const before = text.slice(0, begin + BEGIN.length);
  // Prettier would align the columns, and change the generated text.
  writeFileSync(DOCS, `${before}\n\n<!-- prettier-ignore -->\n${factoryTable(figures)}\n\n${text.slice(end)}`);
}
