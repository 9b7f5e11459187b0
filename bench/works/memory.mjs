import { setTimeout as delay } from 'node:timers/promises';
import { BASE, competesIn, openSessions } from './work.mjs';

/**
 * Makes a workload that measures the memory of an idle session: the difference between two session counts, after garbage
 * collection and without open sockets.
 *
 * @param {number} tools
 * @returns {import('./work.mjs').Work}
 */
const memory = (tools) => ({
  name: `memory-${tools}`,
  title: `An idle session, ${tools} tools`,
  about:
    `KiB for each idle session of a server with ${tools} tools, after garbage collection, all sockets closed. The SDK's ` +
    'server alone is measured on a transport that does nothing; what is beyond it is the share of whoever holds it. Of RSS ' +
    'no such share can be told: it moves by pages, and by when the garbage collector gives memory back.',
  takes: competesIn('memory'),
  settings: [
    { tools, factory: 'usual' },
    { tools, factory: 'cheap' },
    { tools, factory: 'low-level' },
  ],
  base: BASE,
  columns: [
    { metric: 'heap', title: 'heap KiB/session', better: 'lower', digits: 2, ratio: true, judged: true },
    { metric: 'rss', title: 'RSS KiB/session', better: 'lower', digits: 1 },
  ],
  async run(scene) {
    const { host, sizes, entry } = scene;
    // A cheap server is so small that only more of them stand out from the noise.
    const factor = entry.settings.factory === 'usual' ? 1 : 4;
    const [few, many] = sizes.idleSessions.map((count) => count * factor);
    const hold = (count) =>
      entry.contender.group === 'alone' ? host.ask('hold', count, sizes.timeoutMs) : openSessions(scene, count);
    const inUse = async (count) => {
      await hold(count);
      await delay(sizes.settleMs);
      return host.ask('memory', sizes.settleMs);
    };
    const before = await inUse(few);
    const after = await inUse(many);
    const each = (metric) => (after[metric] - before[metric]) / (many - few) / 1024;
    return { heap: each('heapUsed'), rss: each('rss') };
  },
});

export const MEMORY_WORKS = [memory(10), memory(50)];
