import { CONTENDERS } from '../contenders/list.mjs';
import { LAYERS } from '../host/layers.mjs';
import { spread } from './figures.mjs';
import { range, table } from './format.mjs';

const [FEW, MANY] = ['layers-call-10', 'layers-call-10000'];
const SHOWN = ['router-fast', 'router'].map((name) => CONTENDERS.find((contender) => contender.name === name));

const ABOUT =
  'A call takes more where 10,000 sessions are called in turn. ' +
  "By CPU time: what it takes with 10 sessions, divided by what it takes with 10,000; the same if the router's own code took no " +
  'more with 10,000; and how much more each part takes.';

/** @param {import('./figures.mjs').Figures} figures */
export function flatnessLimit(figures) {
  const rows = SHOWN.flatMap(({ name: entry, title }) => {
    const few = (metric) => figures.values(FEW, entry, metric);
    const many = (metric) => figures.values(MANY, entry, metric);
    const more = (metric) => many(metric).map((value, round) => value - few(metric)[round]);
    if (few('cpu').length === 0 || few('cpu').length !== many('cpu').length) return [];
    const own = more('ours');
    const flat = many('cpu').map((cpu, round) => few('cpu')[round] / cpu);
    const best = many('cpu').map((cpu, round) => few('cpu')[round] / (cpu - own[round]));
    return [
      [
        title,
        range(spread(flat), 2),
        range(spread(best), 2),
        ...LAYERS.map(({ name }) => range(spread(more(name)), 1)),
      ],
    ];
  });
  if (rows.length === 0) return undefined;
  const head = ['', '10 / 10,000', 'if the router took no more', ...LAYERS.map(({ title }) => `more: ${title}`)];
  return `${ABOUT}\n\n${table(head, rows)}`;
}
