import { BASE } from '../contenders/list.mjs';
import { entryName } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { range, table } from './format.mjs';
import { OPENING } from './targets.mjs';

const WORK = 'layers-open';
const LISTEN = 'router';

const ROWS = [
  { title: 'the same `serverFactory`', entry: LISTEN, target: OPENING.usual },
  {
    title: "a cheap one, against the SDK wiring's usual one",
    entry: entryName(LISTEN, 'cheap'),
    target: OPENING.cheap,
  },
];

const ABOUT =
  'What the targets of opening with `app.listen` leave to the router, by CPU time, which bounds both: allowed is what the SDK ' +
  "wiring takes, divided by the target; if the router cost nothing, ours would take what it does less all of the router's own " +
  'time. Where that is more than is allowed, to make the code of the router cheaper does not reach the target.';

/** @param {import('./figures.mjs').Figures} figures */
export function openingLimit(figures) {
  const rows = ROWS.flatMap(({ title, entry, target: { atLeast } }) => {
    const allowed = figures.values(WORK, BASE, 'cpu').map((cpu) => cpu / atLeast);
    const own = figures.values(WORK, entry, 'ours');
    const left = figures.values(WORK, entry, 'cpu').map((cpu, round) => cpu - own[round]);
    const together = left.slice(0, allowed.length).map((value, round) => value / allowed[round]);
    if (together.length === 0) return [];
    return [[title, range(spread(allowed), 0), range(spread(left), 0), range(spread(together), 2)]];
  });
  if (rows.length === 0) return undefined;
  const head = ['', 'allowed, CPU µs/cycle', 'ours if the router cost nothing', 'that / allowed'];
  return `${ABOUT}\n\n${table(head, rows)}`;
}
