import { BASE, callsOf, columnsPer, competesIn, openSessions, sample, USUAL } from './work.mjs';

/**
 * Makes a workload that calls one tool in a closed loop.
 *
 * @param {object} what
 * @param {string} what.name
 * @param {string} what.title
 * @param {string} what.about
 * @param {keyof typeof import('../load/calls.mjs').CALLS} what.call
 * @param {import('../contenders/list.mjs').Field} what.field
 * @param {(sizes: import('../sizes.mjs').Sizes) => { sessions: number, concurrency: number }} what.how
 * @returns {import('./work.mjs').Work}
 */
const calls = ({ name, title, about, call, field, how }) => ({
  name,
  title,
  about,
  takes: competesIn(field),
  settings: [USUAL],
  base: BASE,
  columns: columnsPer('call'),
  async run(scene) {
    const { sizes } = scene;
    const { sessions, concurrency } = how(sizes);
    await openSessions(scene, sessions);
    const doCalls = callsOf(scene, call, concurrency);
    await doCalls(sizes.warmMs);
    return sample(scene, () => doCalls(sizes.measureMs));
  },
});

export const CALL_WORKS = [
  calls({
    name: 'call-100',
    title: 'tools/call, 100 sessions',
    about:
      '`tools/call` of `echo`, 32 at once, each in the next of 100 sessions. Metrics and logs of ours are options of the router, ' +
      'which is given a pino logger and has a pino-http within; the SDK wiring has pino-http and a histogram put before its route.',
    call: 'echo',
    field: 'call',
    how: ({ sessions, concurrency }) => ({ sessions, concurrency }),
  }),
  calls({
    name: 'call-1',
    title: 'tools/call, 1 session',
    about: '`tools/call` of `echo`, 32 at once, all in one session.',
    call: 'echo',
    field: 'call-1',
    how: ({ concurrency }) => ({ sessions: 1, concurrency }),
  }),
  calls({
    name: 'progress',
    title: '100 progress notifications a call',
    about: '`tools/call` of a tool that reports 100 times before its result, 32 at once, 100 sessions.',
    call: 'progress',
    field: 'sessions',
    how: ({ sessions, concurrency }) => ({ sessions, concurrency }),
  }),
  calls({
    name: 'large-result',
    title: '1 MiB result',
    about:
      '`tools/call` of a tool that returns 1 MiB of text, 8 at once, 8 sessions. The text is compared byte for byte.',
    call: 'result',
    field: 'sessions',
    how: ({ largeConcurrency }) => ({ sessions: largeConcurrency, concurrency: largeConcurrency }),
  }),
  calls({
    name: 'large-argument',
    title: '1 MiB argument',
    about: '`tools/call` of a tool that takes 1 MiB of text and returns its length, 8 at once, 8 sessions.',
    call: 'argument',
    field: 'sessions',
    how: ({ largeConcurrency }) => ({ sessions: largeConcurrency, concurrency: largeConcurrency }),
  }),
];
