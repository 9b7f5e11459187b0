import { CLUSTER_BASE } from '../contenders/list.mjs';
import { callsOf, competesIn, GENERATOR, openSessions, sample, USUAL } from './work.mjs';

/**
 * Samples a workload, and adds the Redis commands for each piece of work. Reading the counter is one command, which is subtracted.
 *
 * @param {number} [pieces] How many pieces; default: what the generator counted.
 */
async function sampled(scene, work, pieces) {
  const { host } = scene;
  let count;
  const counted = async () => {
    const window = await work();
    count = window.count;
    return window;
  };
  const before = await host.ask('redisCommands');
  const measured = await sample(scene, counted, pieces);
  const commands = (await host.ask('redisCommands')) - before - 1;
  return { ...measured, redis: commands / (pieces ?? count) };
}

/** @type {import('./work.mjs').Work} */
export const CLUSTER = {
  name: 'cluster',
  title: 'A cluster of 3 nodes, 100 sessions',
  about:
    '`tools/call` of `echo`, 32 at once, each in the next of 100 sessions, on three nodes (option `cluster`, each a process of ' +
    'its own with `createHttpServer`, no event store) behind an HAProxy that keeps its connections: once with sticky routing ' +
    '(by the session ID, in a table of its own), once with plain round-robin, so that two of three calls are handed over to ' +
    'the node that owns the session. Unmeasured is three times as long as elsewhere. Ratios are to sticky routing. CPU is the ' +
    'sum over the three nodes, without the balancer and without Redis. All of it, the load generator too, shares the ' +
    'processors of one machine, so that throughput and latency are those of a machine that is full, and CPU is the number ' +
    'that holds on others. Redis commands are all that Redis carried out meanwhile; among them are the leases of the three ' +
    'nodes, two commands a second.',
  takes: competesIn('cluster'),
  settings: [USUAL],
  base: CLUSTER_BASE,
  columns: [
    { metric: 'throughput', title: 'calls/s', better: 'higher', digits: 0, ratio: true },
    { metric: 'cpu', title: 'CPU µs/call', better: 'lower', digits: 0, ratio: true },
    { metric: 'p50', title: 'p50 ms', better: 'lower', digits: 2 },
    { metric: 'p99', title: 'p99 ms', better: 'lower', digits: 2, ratio: true },
    { metric: 'redis', title: 'Redis commands/call', better: 'lower', digits: 4 },
    GENERATOR,
  ],
  async run(scene) {
    const { host, sizes } = scene;
    const { sessions, warmMs, measureMs } = sizes;
    const nodes = await host.ask('nodes');
    await openSessions(scene, sessions);
    const call = callsOf(scene, 'echo');
    // Each node gets only its share of the calls, so the warm-up is longer.
    await call(nodes.length * warmMs);
    return sampled(scene, () => call(measureMs));
  },
};

/** @type {import('./work.mjs').Work} */
export const CLUSTER_HOP = {
  name: 'cluster-hop',
  title: 'A cluster of 3 nodes: one hop',
  about:
    'The same three nodes without a balancer, and `tools/call` of `echo` one at a time, in 100 sessions that one node owns: ' +
    'called at that node, then the same sessions at another one, which hands each call over. What the hop adds is the ' +
    'difference of the two medians. CPU and Redis commands are told as above.',
  takes: competesIn('cluster-hop'),
  settings: [USUAL],
  base: CLUSTER_BASE,
  columns: [
    { metric: 'owner', title: 'p50 ms at the owner', better: 'lower', digits: 2 },
    { metric: 'other', title: 'at another node', better: 'lower', digits: 2 },
    { metric: 'hop', title: 'the hop', better: 'lower', digits: 2 },
    { metric: 'ownerCpu', title: 'CPU µs/call at the owner', better: 'lower', digits: 0 },
    { metric: 'otherCpu', title: 'at another node', better: 'lower', digits: 0 },
    { metric: 'ownerRedis', title: 'Redis commands/call at the owner', better: 'lower', digits: 4 },
    { metric: 'otherRedis', title: 'at another node', better: 'lower', digits: 4 },
  ],
  async run(scene) {
    const { host, load, sizes } = scene;
    const { sessions, concurrency, warmMs, measureMs } = sizes;
    const [ownerUrl, otherUrl] = await host.ask('nodes');
    const callAt = async (url, ms, atOnce) => {
      await load.ask('move', url);
      return callsOf(scene, 'echo', atOnce)(ms);
    };
    await load.ask('move', ownerUrl);
    await openSessions(scene, sessions);
    for (const url of [ownerUrl, otherUrl]) await callAt(url, warmMs, concurrency);

    const owner = await sampled(scene, () => callAt(ownerUrl, measureMs, 1));
    const other = await sampled(scene, () => callAt(otherUrl, measureMs, 1));
    return {
      owner: owner.p50,
      other: other.p50,
      hop: other.p50 - owner.p50,
      ownerCpu: owner.cpu,
      otherCpu: other.cpu,
      ownerRedis: owner.redis,
      otherRedis: other.redis,
    };
  },
};

/** @type {import('./work.mjs').Work} */
export const CLUSTER_NOTIFY = {
  name: 'cluster-notify',
  title: 'A cluster of 3 nodes: router.notify',
  about:
    'The same three nodes, each with 10 sessions whose standalone stream is open. One node sends 10,000 log notifications to all ' +
    'of them by `router.notify`, one after the other. Each stream must get each of them once, in order. The time is from the call ' +
    'to the arrival at a client. CPU is the sum over the three nodes, for each notification on each stream.',
  takes: competesIn('cluster-notify'),
  settings: [USUAL],
  base: CLUSTER_BASE,
  columns: [
    { metric: 'throughput', title: 'arrivals/s', better: 'higher', digits: 0 },
    { metric: 'cpu', title: 'CPU µs/arrival', better: 'lower', digits: 1 },
    { metric: 'p50', title: 'p50 ms', better: 'lower', digits: 2 },
    { metric: 'p99', title: 'p99 ms', better: 'lower', digits: 2 },
    { metric: 'redis', title: 'Redis commands/arrival', better: 'lower', digits: 4 },
    GENERATOR,
  ],
  async run(scene) {
    const { host, load, sizes } = scene;
    const { clusterStreams, clusterNotifications, timeoutMs } = sizes;
    const nodes = await host.ask('nodes');
    for (const [index, url] of nodes.entries()) {
      await load.ask('move', url);
      await openSessions(scene, (index + 1) * clusterStreams);
      await load.ask('listen', { subject: 'timed-logs' }, timeoutMs);
    }
    const send = async (from, count) => {
      const heard = load.ask('hear', { total: from + count }, 5 * timeoutMs);
      const [window] = await Promise.all([heard, host.ask('notifyTimed', { from, count }, 5 * timeoutMs)]);
      return window;
    };
    const warm = Math.ceil(clusterNotifications / 5);
    await send(0, warm);
    return sampled(scene, () => send(warm, clusterNotifications));
  },
};
