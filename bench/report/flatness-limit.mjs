import { CONTENDERS } from '../contenders/list.mjs';
import { LAYERS } from '../host/layers.mjs';
import { entriesOf } from '../works/work.mjs';
import { OPEN_SERVERS } from '../works/open-servers.mjs';
import { OPEN_SESSIONS } from '../works/open-sessions.mjs';
import { spread } from './figures.mjs';
import { number, range, table } from './format.mjs';
import { FLAT } from './targets.mjs';

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

const LEFT =
  `What that leaves for the rest, where a call with 10,000 open sessions is to have ${FLAT} of the throughput that it has with 10: ` +
  'how much CPU time it takes with 10 (of the table above), how much more it may then take with 10,000, how much more the ' +
  "SDK's server alone takes, and what is left for all that is beyond it: Node's HTTP, Express, the router, and garbage collection " +
  'in a heap that holds those servers.';

/** @param {import('./figures.mjs').Figures} figures */
export function flatnessAllowance(figures) {
  const alone = new Map(
    entriesOf(OPEN_SERVERS, CONTENDERS).flatMap(({ name, settings }) => {
      const few = figures.values(OPEN_SERVERS.name, name, 'cpu-few');
      const more = spread(figures.values(OPEN_SERVERS.name, name, 'cpu-many').map((many, round) => many - few[round]));
      return more === undefined ? [] : [[settings.factory, more]];
    }),
  );
  const rows = entriesOf(OPEN_SESSIONS, SHOWN).flatMap(({ name, title, settings }) => {
    const few = spread(figures.values(OPEN_SESSIONS.name, name, 'cpu-few'));
    const more = alone.get(settings.factory);
    if (few === undefined || more === undefined) return [];
    const allowed = few.median / FLAT - few.median;
    return [[title, range(few, 0), number(allowed, 1), range(more, 1), number(allowed - more.median, 1)]];
  });
  if (rows.length === 0) return undefined;
  const head = ['', 'CPU µs/call, 10 open', 'more, at most', "more: the SDK's server alone", 'left'];
  return `${LEFT}\n\n${table(head, rows)}`;
}
