import { BASE, competesIn, GENERATOR, openSessions, sample, USUAL } from './work.mjs';

/** @type {import('./work.mjs').Work} */
export const FANOUT = {
  name: 'fanout',
  title: 'Notifications to 1,000 GET streams',
  about:
    '1,000 sessions with their standalone stream open are each sent 50 log notifications, all sessions in turn. Counted is ' +
    'what arrived: all of it, in order. Each session’s own server sends to its stream. With `router.notify`, one call sends to all streams.',
  takes: (contender) => competesIn('sessions')(contender) || competesIn('fanout')(contender),
  settings: [USUAL],
  base: BASE,
  columns: [
    { metric: 'throughput', title: 'notifications/s', better: 'higher', digits: 0, ratio: true, judged: true },
    { metric: 'cpu', title: 'CPU µs/notification', better: 'lower', digits: 1, ratio: true, judged: true },
    GENERATOR,
  ],
  async run(scene) {
    const { host, load, sizes } = scene;
    const { streams, notifications, timeoutMs } = sizes;
    await openSessions(scene, streams);
    await load.ask('listen', { subject: 'logs' }, timeoutMs);

    const sent = { warm: Math.ceil(notifications / 5), measured: notifications };
    const send = async (from, count) => {
      const heard = load.ask('hear', { total: from + count }, timeoutMs);
      const [window] = await Promise.all([heard, host.ask('notify', { from, count }, timeoutMs)]);
      return window;
    };
    await send(0, sent.warm);
    return sample(scene, () => send(sent.warm, sent.measured), streams * sent.measured);
  },
};
