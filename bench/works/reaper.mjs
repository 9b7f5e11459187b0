import { BASE, competesIn } from './work.mjs';

/** @type {import('./work.mjs').Work} */
export const REAPER = {
  name: 'reaper',
  title: 'The reaper, 100,000 open sessions',
  about:
    "The router's timers, run by a clock of the benchmark's (the `clock` option) while 100,000 sessions with servers that do " +
    'nothing are open, metrics on: when none is due, when all become orphaned, and when all expire. No peer of ours has one ' +
    'that could be called.',
  takes: competesIn('reaper'),
  settings: [{ tools: 10, factory: 'usual' }],
  base: BASE,
  columns: [
    { metric: 'none', title: 'ms a tick, none expiring', better: 'lower', digits: 3 },
    { metric: 'orphaned', title: 'ms, all become orphaned', better: 'lower', digits: 0 },
    { metric: 'expired', title: 'ms, all expire', better: 'lower', digits: 0 },
    { metric: 'expiredEach', title: 'µs for each that expires', better: 'lower', digits: 2 },
  ],
  host: new URL('../reaper/main.mjs', import.meta.url),
  run: ({ host, sizes }) => host.ask('measure', sizes.reaped, 2 * sizes.timeoutMs),
};
