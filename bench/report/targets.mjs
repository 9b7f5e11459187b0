import { BASE } from '../contenders/list.mjs';
import { entryName } from '../works/work.mjs';
import { spread } from './figures.mjs';
import { number, range, table } from './format.mjs';
import { PER_REQUEST_TARGETS } from './per-request-targets.mjs';

const FAST = 'router-fast';
const LISTEN = 'router';

/** The share of its throughput that a contender keeps with 10,000 open sessions. */
export const FLAT = 0.95;

/**
 * A target that this package set itself.
 *
 * @typedef {object} Target
 * @property {string} title
 * @property {'higher' | 'lower'} better
 * @property {number} atLeast
 * @property {number} aim
 * @property {string} [unit]
 * @property {number} [digits]
 * @property {(figures: import('./figures.mjs').Figures) => number[]} values
 */

const ratio =
  (work, metric, entry, base = BASE) =>
  (figures) =>
    figures.ratios(work, entry, base, metric);

/** The same for both ways to listen, where the target names neither. */
const both = (title, rest, values) =>
  [
    ['createHttpServer', FAST],
    ['app.listen', LISTEN],
  ].map(([way, entry]) => ({ title: `${title}, \`${way}\``, ...rest, values: values(entry) }));

const HIBERNATING = 'router-hibernating';

/** With each kind of factory. */
const hibernation = (title, { metric, ...rest }) =>
  [
    ['usual', HIBERNATING],
    ['cheap', entryName(HIBERNATING, 'cheap')],
  ].map(([factory, entry]) => ({
    title: `${title}, ${factory} factory`,
    better: 'lower',
    ...rest,
    values: (figures) => figures.values('hibernation', entry, metric),
  }));

/** @type {readonly Target[]} */
export const TARGETS = [
  {
    title: 'tools/call, 100 sessions, `createHttpServer`: throughput',
    better: 'higher',
    atLeast: 3.5,
    aim: 4.5,
    values: ratio('call-100', 'throughput', FAST),
  },
  {
    title: 'the same, CPU per request',
    better: 'lower',
    atLeast: 0.28,
    aim: 0.21,
    values: ratio('call-100', 'cpu', FAST),
  },
  {
    title: 'the same with `app.listen`: throughput',
    better: 'higher',
    atLeast: 1.9,
    aim: 2.3,
    values: ratio('call-100', 'throughput', LISTEN),
  },
  {
    title: 'the same, `createHttpServer`, share of bare Express served the same way',
    better: 'higher',
    atLeast: 0.5,
    aim: 0.65,
    values: ratio('call-100', 'throughput', FAST, 'express-fast'),
  },
  ...both(
    'the same with metrics and logs on, against the SDK wiring with them wired by hand',
    { better: 'higher', atLeast: 2.2, aim: 3 },
    (entry) => ratio('call-100', 'throughput', `${entry}-observed`, 'sdk-observed'),
  ),
  {
    title: 'p99 latency, `createHttpServer`',
    better: 'lower',
    atLeast: 0.4,
    aim: 0.25,
    values: ratio('call-100', 'p99', FAST),
  },
  ...both(
    'open + initialized + DELETE, the same `serverFactory`',
    { better: 'higher', atLeast: 1.3, aim: 1.6 },
    (entry) => ratio('open', 'throughput', entry),
  ),
  ...both(
    "the same, factory as our docs advise, against the SDK wiring's usual one",
    { better: 'higher', atLeast: 4, aim: 5 },
    (entry) => ratio('open', 'throughput', entryName(entry, 'cheap')),
  ),
  ...both('100 progress notifications a call', { better: 'higher', atLeast: 2.5, aim: 4 }, (entry) =>
    ratio('progress', 'throughput', entry),
  ),
  ...both('1 MiB result', { better: 'higher', atLeast: 1, aim: 1.3 }, (entry) =>
    ratio('large-result', 'throughput', entry),
  ),
  ...both('1 MiB argument', { better: 'higher', atLeast: 1, aim: 1.3 }, (entry) =>
    ratio('large-argument', 'throughput', entry),
  ),
  ...both(
    'throughput at 10,000 open sessions / at 10 (ours)',
    { better: 'higher', atLeast: FLAT, aim: 1 },
    (entry) => (figures) => figures.values('open-sessions', entry, 'flatness'),
  ),
  ...both(
    'our own KiB of heap for each idle session, beyond the SDK server it holds',
    { better: 'lower', atLeast: 4, aim: 2, unit: 'KiB' },
    (entry) => (figures) =>
      figures.differences('memory-10', entryName(entry, 'cheap'), entryName('server-alone', 'cheap'), 'heap'),
  ),
  ...hibernation('heap of a hibernated session of a 50-tool server', {
    metric: 'asleep',
    atLeast: 2,
    aim: 1,
    unit: 'KiB',
  }),
  ...hibernation('a call that wakes it, at the median', { metric: 'waking', atLeast: 5, aim: 2, unit: 'ms' }),
  {
    title: 'Redis commands for each call at the node that owns the session, the leases of three nodes among them',
    better: 'lower',
    atLeast: 0.01,
    aim: 0.01,
    digits: 4,
    values: (figures) => figures.values('cluster-hop', 'cluster-direct', 'ownerRedis'),
  },
  ...PER_REQUEST_TARGETS,
];

/**
 * @param {Target} target
 * @param {number} value
 */
function verdict({ better, atLeast, aim }, value) {
  const reaches = (limit) => (better === 'higher' ? value >= limit : value <= limit);
  if (reaches(aim)) return 'aim reached';
  return reaches(atLeast) ? 'reached' : '**missed**';
}

/**
 * All targets with what was measured; the verdict is on the median.
 *
 * @param {import('./figures.mjs').Figures} figures
 * @param {readonly (readonly string[])[]} more Rows that are no single number.
 */
export function targetTable(figures, more) {
  const rows = TARGETS.map((target) => {
    const { title, better, atLeast, aim, unit, digits = 2 } = target;
    const limit = (value) =>
      `${better === 'higher' ? '≥' : '≤'} ${number(value, 2)}${unit === undefined ? '' : ` ${unit}`}`;
    const measured = spread(target.values(figures));
    return [
      title,
      limit(atLeast),
      limit(aim),
      range(measured, digits),
      measured === undefined ? 'not measured' : verdict(target, measured.median),
    ];
  });
  return table(['work', 'at least', 'aim', 'measured', 'verdict'], [...rows, ...more]);
}
