import { FULL } from '../sizes.mjs';
import { BASE, CHEAP, competesIn, LOW_LEVEL } from './work.mjs';
import { LEVELS } from './open-sessions.mjs';

/** @type {import('./work.mjs').Work} */
export const OPEN_SERVERS = {
  name: 'open-servers',
  title: "The SDK's servers alone, by how many there are",
  about:
    "`tools/call` of `echo`, handed to the SDK's `McpServer` itself (or its low-level `Server`), 10 at once, while there are 10, then 1,000, then 10,000 of " +
    'them, all called in turn: no HTTP and no router, only a transport that passes messages on. What a call takes more where ' +
    'there are more servers is what it takes to fetch a server that was not in use for a while from memory, and is part of ' +
    'every number in the table above.',
  takes: competesIn('open-servers'),
  settings: [CHEAP, LOW_LEVEL],
  base: BASE,
  columns: LEVELS.map((level, index) => ({
    metric: `cpu-${level}`,
    title: `CPU µs/call, ${FULL.openSessions[index].toLocaleString('en')} servers`,
    better: 'lower',
    digits: 1,
  })),
  async run({ host, sizes }) {
    const { openSessions: levels, timeoutMs } = sizes;
    const all = {};
    for (const [index, count] of levels.entries()) {
      await host.ask('hold', count, timeoutMs);
      const call = (ms) => host.ask('call', { concurrency: levels[0], ms }, timeoutMs + ms);
      await call(sizes.warmMs);
      const before = await host.ask('cpu');
      const calls = await call(sizes.measureMs);
      all[`cpu-${LEVELS[index]}`] = (((await host.ask('cpu')) - before) / calls) * 1000;
    }
    return all;
  },
};
