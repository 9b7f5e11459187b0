import { setTimeout as delay } from 'node:timers/promises';
import { BASE, competesIn, openSessions } from './work.mjs';

const TOOLS = 50;

/**
 * Measures memory as the difference between two session counts. Sessions hibernate in batches, because the heap cannot hold
 * the servers of all sessions awake.
 *
 * @type {import('./work.mjs').Work}
 */
export const HIBERNATION = {
  name: 'hibernation',
  title: `10,000 hibernated sessions, ${TOOLS} tools`,
  about:
    `KiB for each of 10,000 sessions of a server with ${TOOLS} tools that hibernate (option \`hibernateAfter\`, no store), after ` +
    'garbage collection, all sockets closed; beside it what one takes while it is awake, told from 800 of them, as 10,000 of ' +
    'the usual servers fill the heap. Then 200 of them are called (`tools/call` of `echo`, one at a time), which wakes them, ' +
    'and called again. Beside it what is not ours: the first call of a server that was never asleep, whose schemas are made ' +
    'ready by it, and how long the `serverFactory` takes.',
  takes: competesIn('hibernation'),
  settings: [
    { tools: TOOLS, factory: 'usual' },
    { tools: TOOLS, factory: 'cheap' },
  ],
  base: BASE,
  columns: [
    { metric: 'awake', title: 'heap KiB/session, awake', better: 'lower', digits: 2 },
    { metric: 'asleep', title: 'hibernated', better: 'lower', digits: 2 },
    { metric: 'first', title: 'p50 ms of a first call, awake', better: 'lower', digits: 2 },
    { metric: 'waking', title: 'one that wakes it', better: 'lower', digits: 2 },
    { metric: 'calling', title: 'the next one', better: 'lower', digits: 2 },
    { metric: 'building', title: '`serverFactory` alone', better: 'lower', digits: 2 },
  ],
  async run(scene) {
    const { host, load, sizes } = scene;
    const { idleSessions, hibernated, woken, settleMs, timeoutMs } = sizes;
    const heap = async () => {
      await delay(settleMs);
      return (await host.ask('memory', 2 * settleMs)).heapUsed;
    };
    const heapWith = async (count) => {
      await openSessions(scene, count);
      return heap();
    };
    const hibernate = () => host.ask('hibernate', undefined, timeoutMs);
    const each = (before, after, [few, many]) => (after - before) / (many - few) / 1024;

    const callEach = () => load.ask('callEach', { call: 'echo', count: woken }, timeoutMs);
    const awake = each(await heapWith(idleSessions[0]), await heapWith(idleSessions[1]), idleSessions);
    const first = await callEach();

    const [few, many] = hibernated;
    const sleeping = async (from, to) => {
      let inUse;
      for (let count = from; count <= to; count += few) {
        await openSessions(scene, count);
        await delay(settleMs);
        await hibernate();
        // Collects after each batch: zod's weak tables of schemas never shrink, so uncollected garbage would enlarge them.
        inUse = await heap();
      }
      return inUse;
    };
    const asleep = each(await sleeping(few, few), await sleeping(2 * few, many), hibernated);

    const waking = await callEach();
    const calling = await callEach();
    const building = await host.ask('build', woken, timeoutMs);
    return { awake, asleep, first: first.p50, waking: waking.p50, calling: calling.p50, building };
  },
};
