import { FULL } from '../sizes.mjs';
import { BASE, callsOf, CHEAP, competesIn, GENERATOR, LONG_WARM_UP, LOW_LEVEL, openSessions, sample } from './work.mjs';

export const LEVELS = ['few', 'some', 'many'];

/** Factor of the usual time, because the report also compares the levels with each other. */
const LONGER = 4;

/** @type {import('./work.mjs').Work} */
export const OPEN_SESSIONS = {
  name: 'open-sessions',
  title: 'Throughput by open sessions',
  about:
    '`tools/call` of `echo`, 32 at once, while 10, then 1,000, then 10,000 sessions are open, all of them called in turn. ' +
    'With the cheap `serverFactory` where the contender takes one, as 10,000 of the usual servers fill the heap by ' +
    "themselves; ours also with one that makes the SDK's low-level `Server`, whose handlers all sessions share. Unmeasured " +
    `before the first level is ${LONG_WARM_UP} times as long as elsewhere, so that V8 has optimized by then. Each level begins ` +
    'with a full collection, so that none pays for what opening the sessions left behind, and is measured for ' +
    `${LONGER} times as long as elsewhere. The load generator's share is the greatest of the three.`,
  takes: competesIn('many'),
  settings: [CHEAP, LOW_LEVEL],
  base: BASE,
  columns: [
    ...LEVELS.map((level, index) => ({
      metric: `throughput-${level}`,
      title: `calls/s, ${FULL.openSessions[index].toLocaleString('en')} open`,
      better: 'higher',
      digits: 0,
      ratio: true,
      judged: true,
    })),
    { metric: 'flatness', title: '10,000 / 10', better: 'higher', digits: 2 },
    ...LEVELS.map((level, index) => ({
      metric: `cpu-${level}`,
      title: `CPU µs/call, ${FULL.openSessions[index].toLocaleString('en')} open`,
      better: 'lower',
      digits: 0,
    })),
    ...LEVELS.map((level, index) => ({
      metric: `p99-${level}`,
      title: `p99 ms, ${FULL.openSessions[index].toLocaleString('en')} open`,
      better: 'lower',
      digits: 2,
    })),
    GENERATOR,
  ],
  async run(scene) {
    const { sizes } = scene;
    const call = callsOf(scene, 'echo');
    const all = { generator: 0 };
    for (const [index, count] of sizes.openSessions.entries()) {
      await openSessions(scene, count);
      await scene.host.ask('collect');
      await call((index === 0 ? LONG_WARM_UP : 1) * sizes.warmMs);
      const { throughput, cpu, p99, generator } = await sample(scene, () => call(LONGER * sizes.measureMs));
      all[`throughput-${LEVELS[index]}`] = throughput;
      all[`cpu-${LEVELS[index]}`] = cpu;
      all[`p99-${LEVELS[index]}`] = p99;
      all.generator = Math.max(all.generator, generator);
    }
    return { ...all, flatness: all['throughput-many'] / all['throughput-few'] };
  },
};
