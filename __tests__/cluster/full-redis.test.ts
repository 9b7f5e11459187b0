import { RENEW } from '../../src/cluster/membership/lease.js';
import { redisEventStore, type SendCommand } from '../../src/stores/redis.js';
import { EventStream } from '../support/event-stream.js';
import { initializeBody, post } from '../support/harness.js';
import { expectRow } from '../support/rows.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, type Tool } from './in-process.js';

const MIB = 1024 * 1024;
const MAX_MEMORY = 16 * MIB;
/** Each session may hold 8 MiB of events. All of them together exceed the memory of Redis. */
const SESSIONS = 6;
const KIB = 1024;
/** Bytes of the results, largest first: smaller ones fill the rest that is too small for a large one. */
const SIZES = [
  [4, MIB - KIB],
  [2, 200 * KIB],
  [4, 50 * KIB],
  [10, 8 * KIB],
  [20, KIB],
].flatMap(([times, bytes]) => Array<number>(times!).fill(bytes!));

let cluster: InProcessCluster;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
  await cluster.ask('CONFIG', 'SET', 'maxmemory', String(MAX_MEMORY), 'maxmemory-policy', 'noeviction');
}, 300_000);
afterEach(async () => {
  await cluster.clear();
  await cluster.ask('FLUSHALL');
});
afterAll(() => cluster.stop());

/** Long, so that only a full Redis can cost a lease here, and not a busy machine. */
const times = { lease: 20_000, renewInterval: 250, fenceAfter: 15_000, claimTimeout: 30_000 };

const tools: Readonly<Record<string, Tool>> = { fill: ({ args }) => ({ text: 'x'.repeat(Number(args.bytes)) }) };

let renewals = 0;
const tap =
  (send: SendCommand): SendCommand =>
  async (...command) => {
    const reply = await send(...command);
    if (command[1] === RENEW.hash && reply === 1) renewals += 1;
    return reply;
  };

async function leasesAreRenewed(): Promise<void> {
  const before = renewals;
  await until('each lease has been renewed again', () => renewals > before + 4);
}

const used = async () => Number(/used_memory:(\d+)/.exec((await cluster.ask('INFO', 'memory')) as string)![1]);

test('when clients fill Redis with events, every lease, answer and record survives (docs/scaling.md, "Events in Redis")', async () => {
  const eventStore = () => redisEventStore({ sendCommand: cluster.ask, prefix: cluster.prefix });
  const nodes = [
    await cluster.node({ name: 'a', tools, times, tap, eventStore: eventStore() }),
    await cluster.node({ name: 'b', tools, times, tap, eventStore: eventStore() }),
  ];
  const sessions = await Promise.all(
    Array.from({ length: SESSIONS }, (_, n) => AnyNodeSession.open(nodes[n % 2]!.url)),
  );
  let most = 0;
  let refused = 0;
  for (const bytes of SIZES) {
    const replies = sessions.map(async (session, n) => {
      const events = await new EventStream(await session.request(nodes[n % 2]!.url, 'fill', { bytes })).blocks();
      // An event that the store refused arrives without an ID.
      if (events.at(-1)!.id === undefined) refused += 1;
      expect(events.at(-1)!.data.length).toBeGreaterThan(bytes);
    });
    await Promise.all(replies);
    most = Math.max(most, await used());
  }
  expect(refused).toBeGreaterThan(0);
  expect(most).toBeLessThan(MAX_MEMORY);
  await leasesAreRenewed();
  for (const [n, session] of sessions.entries()) {
    // State is saved with each of these calls.
    expect(await session.call(nodes[(n + 1) % 2]!.url, 'add')).toMatchObject({ epoch: 0, count: 1 });
  }
  for (const node of nodes) {
    expect(node.lines('cluster node fenced: its sessions are let go of')).toEqual([]);
    expect(await node.ready()).toBe(200);
  }
});

test('when clients fill Redis with sessions, new ones get 503, and every lease and session survives (docs/scaling.md, "What Redis must be")', async () => {
  const nodes = [await cluster.node({ name: 'a', times, tap }), await cluster.node({ name: 'b', times, tap })];
  const session = await AnyNodeSession.open(nodes[0]!.url);
  for (const bytes of [15_000, 5_000, 1_000]) {
    const body = initializeBody();
    Object.assign(body.params.capabilities, { experimental: { x: { text: 'x'.repeat(bytes) } } });
    let response: Response;
    let text: string;
    do {
      response = await post(nodes[0]!.url, body);
      text = await response.text();
    } while (response.status === 200);
    expectRow({ status: response.status, body: text }, 'storeUnavailable');
    expect(response.headers.get('retry-after')).toBe('5');
  }
  expect(await used()).toBeLessThan(0.92 * MAX_MEMORY);
  expect(await nodes[0]!.metrics()).toContain('mcp_sessions_rejected_total{reason="storeUnavailable"} 3');
  await leasesAreRenewed();
  // Each call saves state. The second node claims the session when the first is gone.
  expect(await session.call(nodes[1]!.url, 'add')).toMatchObject({ node: 'a', count: 1 });
  for (const node of nodes) {
    expect(node.lines('cluster node fenced: its sessions are let go of')).toEqual([]);
    expect(await node.ready()).toBe(200);
  }
  await nodes[0]!.close();
  expect(await session.call(nodes[1]!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
});
