import { BASE, callsOf, CHEAP, columnsPer, competesIn, GENERATOR, openSessions, sample, USUAL } from './work.mjs';

/** Whether a contender takes part with sessions, as the reference of ratios. */
const isReference = competesIn('session-reference');

/** Clients with a token each: with a session where the contender is a reference, else of MCP 2026-07-28. */
function makeClients(scene, count) {
  if (isReference(scene.entry.contender)) return openSessions(scene, count, { signedIn: true });
  return scene.load.ask('stateless', { count, modern: true, signedIn: true });
}

/** @type {import('./work.mjs').Work} */
const CALL = {
  name: 'per-request-call',
  title: 'MCP 2026-07-28: tools/call',
  about:
    '`tools/call` of `echo` by clients of MCP 2026-07-28, 32 at once, each by the next of 100 clients. With a server for each ' +
    'request its 10 tools are built for each call, by the usual `serverFactory` and by a cheap one. With a server for each ' +
    'principal, each client is one: an Express middleware sets `req.auth` from its token. Each client calls once before the ' +
    'measurement, so that its server is there. The entries with sessions are there for ratios only, and are no rivals: the SDK ' +
    'v1 wiring, and ours with the same options and the same middleware as with a server for each principal.',
  takes: competesIn('per-request-call'),
  refers: isReference,
  settings: [USUAL, CHEAP],
  base: BASE,
  columns: columnsPer('call'),
  async run(scene) {
    const { load, sizes } = scene;
    await makeClients(scene, sizes.sessions);
    await load.ask('callEach', { call: 'echo', count: sizes.sessions }, sizes.timeoutMs);
    const call = callsOf(scene, 'echo');
    await call(sizes.warmMs);
    return sample(scene, () => call(sizes.measureMs));
  },
};

/** @type {import('./work.mjs').Work} */
const LISTEN = {
  name: 'per-request-listen',
  title: 'MCP 2026-07-28: announcements to 1,000 subscriptions',
  about:
    '1,000 clients of MCP 2026-07-28 have a `subscriptions/listen` open, and are each told 50 times that the tools have changed: ' +
    'by the server of each subscription where it has one of its own, else by the `notify` of its library. Counted is what ' +
    'arrived, each with the ID of its subscription, after the acknowledgement. The entries with sessions are there for ' +
    'ratios only, and are no rivals: their servers tell the same on standalone streams.',
  takes: competesIn('per-request-listen'),
  refers: isReference,
  settings: [USUAL],
  base: BASE,
  columns: [
    { metric: 'throughput', title: 'announcements/s', better: 'higher', digits: 0, ratio: true, judged: true },
    { metric: 'cpu', title: 'CPU µs/announcement', better: 'lower', digits: 1, ratio: true, judged: true },
    GENERATOR,
  ],
  async run(scene) {
    const { host, load, sizes } = scene;
    const { streams, notifications, timeoutMs } = sizes;
    await makeClients(scene, streams);
    await load.ask('listen', { subject: 'changes' }, timeoutMs);

    let total = 0;
    const tell = async (count) => {
      total += count;
      const heard = load.ask('hear', { total }, timeoutMs);
      const [window] = await Promise.all([heard, host.ask('announce', count, timeoutMs)]);
      return window;
    };
    await tell(Math.ceil(notifications / 5));
    return sample(scene, () => tell(notifications), streams * notifications);
  },
};

export const PER_REQUEST_WORKS = [CALL, LISTEN];
