import { BASE } from '../contenders/list.mjs';

/**
 * A workload of the benchmark, and how the report shows it.
 *
 * @typedef {object} Work
 * @property {string} name
 * @property {string} title
 * @property {string} about A sentence on the workload and its figures.
 * @property {(contender: Contender) => boolean} takes Whether a contender takes part.
 * @property {(contender: Contender) => boolean} [refers] Whether a contender takes part only for ratios to it: with the first of
 * the settings, and held against no other. Default: none does.
 * @property {readonly Settings[]} settings Each contender runs once with each; one without a factory ignores it.
 * @property {string} base The entry that ratios are relative to.
 * @property {readonly Column[]} columns
 * @property {(scene: Scene) => Promise<Sample>} run
 *
 * @typedef {object} Column
 * @property {string} metric
 * @property {string} title
 * @property {'higher' | 'lower'} better
 * @property {number} digits
 * @property {boolean} [ratio] Whether the ratio to the base is shown beside it.
 * @property {boolean} [judged] Whether a worse median than a peer's counts as a loss.
 *
 * @typedef {object} Scene
 * @property {import('../run/child.mjs').Child} host The contender's process.
 * @property {import('../run/child.mjs').Child} load The load generator's.
 * @property {import('../sizes.mjs').Sizes} sizes
 * @property {Entry} entry
 *
 * @typedef {object} Entry One contender with one of its settings.
 * @property {string} name
 * @property {string} title
 * @property {Contender} contender
 * @property {Settings} settings
 *
 * @typedef {Record<string, number>} Sample Metrics by name.
 * @typedef {import('../contenders/list.mjs').Contender} Contender
 * @typedef {import('../contenders/list.mjs').Settings} Settings
 */

export const USUAL = { tools: 10, factory: 'usual' };
export const CHEAP = { tools: 10, factory: 'cheap' };
export const LOW_LEVEL = { tools: 10, factory: 'low-level' };

/** @param {import('../contenders/list.mjs').Field} field */
export const competesIn = (field) => (contender) => contender.fields.includes(field);

/**
 * @param {Work} work
 * @param {readonly Contender[]} contenders
 * @returns {Entry[]}
 */
export function entriesOf(work, contenders) {
  return contenders.filter(work.takes).flatMap((contender) => {
    const settings = work.refers?.(contender) ? work.settings.slice(0, 1) : work.settings;
    const possible = settings.filter(({ factory }) => knows(contender, factory));
    // If a workload has only the cheap factory, contenders without one use the usual factory.
    const [first, ...others] = possible.length > 0 ? possible : [{ ...work.settings[0], factory: 'usual' }];
    return [
      { name: contender.name, title: contender.title, contender, settings: first },
      ...others.map((settings) => ({
        name: entryName(contender.name, settings.factory),
        title: `${contender.title}; ${settings.factory} factory`,
        contender,
        settings,
      })),
    ];
  });
}

const knows = ({ cheap, lowLevel }, factory) =>
  factory === 'usual' || (factory === 'cheap' && cheap) || (factory === 'low-level' && lowLevel);

/**
 * @param {string} contender
 * @param {import('../tools/factories.mjs').FactoryStyle} factory One that is not the first of the work.
 */
export const entryName = (contender, factory) => `${contender}, ${factory}`;

const ALONE = 'server-alone';

/**
 * Finds the entry of the SDK's servers alone with the same factory as another entry.
 *
 * @param {Work} work
 * @param {Entry} entry
 */
export const aloneLike = ({ settings: [first] }, { settings: { factory } }) =>
  factory === first.factory ? ALONE : entryName(ALONE, factory);

/**
 * Runs a task of the load generator, and returns time and CPU for each piece of work.
 *
 * @param {Scene} scene
 * @param {() => Promise<import('../load/window.mjs').Window>} work
 * @param {number} [pieces] How many pieces; default: what the generator counted.
 * @returns {Promise<Sample>}
 */
export async function sample({ host }, work, pieces) {
  const before = await host.ask('cpu');
  const window = await work();
  const cpu = (await host.ask('cpu')) - before;
  const count = pieces ?? window.count;
  return {
    throughput: (count / window.elapsedMs) * 1000,
    cpu: (cpu / count) * 1000,
    ...(window.count > 0 && { p50: window.p50, p99: window.p99 }),
    generator: (window.cpuMs / window.elapsedMs) * 100,
  };
}

/**
 * The columns of most workloads.
 *
 * @param {string} piece
 * @returns {readonly Column[]}
 */
export const columnsPer = (piece) => [
  { metric: 'throughput', title: `${piece}s/s`, better: 'higher', digits: 0, ratio: true, judged: true },
  { metric: 'cpu', title: `CPU µs/${piece}`, better: 'lower', digits: 0, ratio: true, judged: true },
  { metric: 'p50', title: 'p50 ms', better: 'lower', digits: 2 },
  { metric: 'p99', title: 'p99 ms', better: 'lower', digits: 2, ratio: true, judged: true },
  GENERATOR,
];

/**
 * Opens sessions until there are `count`. This is not measured.
 *
 * @param {Scene} scene
 * @param {number} count
 * @param {{ signedIn?: boolean }} [how] `signedIn`: each client sends a token of its own.
 */
export const openSessions = ({ load, sizes, entry }, count, how = {}) =>
  load.ask('open', { ...how, count, concurrency: entry.contender.opening ?? sizes.opening }, 2 * sizes.timeoutMs);

/**
 * Makes a function that calls one tool in a closed loop for a number of ms.
 *
 * @param {Scene} scene
 * @param {keyof typeof import('../load/calls.mjs').CALLS} call
 * @param {number} [concurrency]
 */
export const callsOf =
  ({ load, sizes }, call, concurrency = sizes.concurrency) =>
  (ms) =>
    load.ask('call', { call, concurrency, ms }, sizes.timeoutMs + ms);

/**
 * Makes a function that opens and ends sessions in a closed loop for a number of ms.
 *
 * @param {Scene} scene
 */
export const cyclesOf =
  ({ load, sizes }) =>
  (ms) =>
    load.ask('cycle', { concurrency: sizes.concurrency, ms }, sizes.timeoutMs + ms);

/**
 * Factor of the usual warm-up, where few sessions are compared with many. Opening many gives V8 more time to optimize.
 */
export const LONG_WARM_UP = 3;

/** The load generator's use of one core. Near 100 %, the figures show the generator's limit, not the contender's. */
export const GENERATOR = { metric: 'generator', title: 'generator CPU %', better: 'lower', digits: 0 };

export { BASE };
