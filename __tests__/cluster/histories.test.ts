import { setTimeout as sleep } from 'node:timers/promises';
import { Random, SEED } from '../chaos/random.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { SteppedClock } from '../support/stepped-clock.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { nodePort, START_TIMEOUT } from './cluster.js';
import { violations, type Effect, type Operation, type Resume } from './history-checker.js';
import { HistoryClient, type Outcome } from './history-client.js';
import { effectsKey, machineTime } from './history-tools.js';
import { ClusterNode } from './node-process.js';

/** `npm run chaos` sets more. */
const OPERATIONS = Number(process.env.CLUSTER_OPERATIONS ?? 300);
const LEASE = 2_500;
const TIMES = { lease: LEASE, renewInterval: 500, fenceAfter: 1_700 };
/** Sessions at a time, and clients that share each. More make a long run shorter. */
const SESSIONS = Math.min(20, Math.ceil(OPERATIONS / 60));
const CLIENTS = 2;
/** A session ends after so many operations: each of its appends writes the whole list. */
const SESSION_LENGTH = 300;
/**
 * Whether an event store keeps each answer before it is sent. By default none does, as it would also keep back the wrong answers
 * of a node that does not reach Redis.
 */
const STORES_EVENTS = process.env.CLUSTER_STORES_EVENTS === 'true';
/** How far a wall clock is from the real one, in seconds. Less than a `ttl`, as a session without an owner ages by that of Redis. */
const OFFSETS = [10, -10, 600, -600] as const;

const faultRandom = new Random(SEED);

interface ProxiedNode {
  readonly node: ClusterNode;
  /** The way of the node to Redis. */
  readonly proxy: FaultProxy;
}

let redisClock: SteppedClock;
/** That of all nodes. */
let nodeClock: SteppedClock;
let redis: RedisServer;
let asked: ConnectedRedis;
const nodes: ProxiedNode[] = [];
beforeAll(async () => {
  const build = ClusterNode.build();
  redisClock = await SteppedClock.build();
  nodeClock = await SteppedClock.build();
  redis = await RedisServer.start({ env: redisClock.env });
  asked = await connectRedis(redis.url);
  while (nodes.length < 3) {
    const proxy = await FaultProxy.start(redis.port);
    const port = await nodePort(nodes.map(({ node }) => node.port));
    const redisUrl = `redis://127.0.0.1:${proxy.port}`;
    const init = { port, redisUrl, effectsUrl: redis.url, storesEvents: STORES_EVENTS, cluster: TIMES };
    nodes.push({ proxy, node: build(init, nodeClock.env) });
  }
  await Promise.all(nodes.map(({ node }) => node.start()));
  await Promise.all(nodes.map(({ node }) => node.ready()));
}, START_TIMEOUT);
afterAll(async () => {
  await Promise.all(nodes.flatMap(({ node, proxy }) => [node.kill(), proxy.close()]));
  asked.close();
  await redis.stop();
  redisClock.remove();
  nodeClock.remove();
});

const resumes: Resume[] = [];

/** Shorter than a lease, or long enough for other nodes to claim the sessions. */
const outage = (isLong: boolean): Promise<void> =>
  isLong ? sleep(faultRandom.integer(1.4 * LEASE, 2 * LEASE)) : sleep(faultRandom.integer(100, LEASE));

const FAULTS: Readonly<Record<string, (target: ProxiedNode, isLong: boolean) => Promise<void>>> = {
  async killed({ node }) {
    await node.kill();
    await sleep(faultRandom.integer(0, 1_000));
    await node.start();
  },
  async stopped({ node }, isLong) {
    node.pause();
    await outage(isLong);
    resumes.push({ owner: node.pid, at: machineTime() });
    node.resume();
  },
  /** What either side sends meanwhile arrives late, as TCP repeats it. */
  async partitioned({ proxy }, isLong) {
    proxy.hold();
    await outage(isLong);
    proxy.release();
  },
  async stepped({ node }) {
    const clock = faultRandom.integer(0, 2) === 0 ? redisClock : nodeClock;
    clock.stepTo(OFFSETS[faultRandom.integer(0, OFFSETS.length)]!);
    await sleep(3 * TIMES.renewInterval);
    // Or nothing would be tried here.
    await until('Redis has that time', async () => redisClock.shows(await redisTime()));
    await until('the node has that time', async () => nodeClock.shows(await node.wallTime()));
  },
};

const redisTime = async (): Promise<number> => 1_000 * Number(((await asked.ask('TIME')) as string[])[0]);

const counts = {
  sessions: 0,
  operations: 0,
  effects: 0,
  claims: 0,
  answered: 0,
  refused: 0,
  failed: 0,
  broken: 0,
  wrong: 0,
};
const wrong: string[] = [];
let isOver = false;

/** Has clients share one session after the other, and checks the history of each. */
async function checkSessions(group: number): Promise<void> {
  for (let round = 0; !isOver; round += 1) {
    const urls = nodes.map(({ node }) => node.url);
    const session = await opened(urls[(group + round) % urls.length]!);
    const clients = Array.from({ length: CLIENTS }, (_, n) => {
      const random = new Random(SEED + 1_000_000 * (group + 1) + 1_000 * round + n);
      return new HistoryClient(`g${group}r${round}c${n}`, session, random);
    });
    const sent = (): number => clients.reduce((sum, { operations }) => sum + operations.length, 0);
    await Promise.all(
      clients.map(async (client) => {
        for (; !isOver && sent() < SESSION_LENGTH; counts.operations += 1) await client.act(urls);
      }),
    );
    // Every node gives the same account of what happened.
    for (const url of urls)
      await until('a node gives the list', async () => (await clients[0]!.send('list', url, 20_000)) === 'answered');
    await check(session, clients);
  }
}

/** A node that is away opens no session, so that the next try may be the first that succeeds. */
async function opened(url: URL): Promise<AnyNodeSession> {
  let session: AnyNodeSession | undefined;
  await until('a session is opened', async () => {
    session = await AnyNodeSession.open(url).catch(() => undefined);
    return session !== undefined;
  });
  return session!;
}

async function check({ id }: AnyNodeSession, clients: readonly HistoryClient[]): Promise<void> {
  const operations: Operation[] = clients.flatMap((client) => client.operations);
  const stored = (await asked.ask('LRANGE', effectsKey(id), '0', '-1')) as string[];
  const effects = stored.map((json) => JSON.parse(json) as Effect);
  wrong.push(
    ...violations({ session: id, operations, effects, resumes }),
    ...clients.flatMap((client) => client.wrong),
  );
  counts.sessions += 1;
  counts.effects += effects.length;
  counts.claims += Math.max(...operations.map(({ answer }) => answer?.epoch ?? 0));
  for (const { outcomes } of clients)
    for (const outcome of Object.keys(outcomes) as Outcome[]) counts[outcome] += outcomes[outcome];
}

test(
  `of ${OPERATIONS} operations, under kill -9, SIGSTOP, partitions from Redis and steps of the wall clocks, each that is acknowledged happens once and in its order, none that is refused happens, and no owner of an older epoch answers (docs/scaling.md, "What is guaranteed")`,
  async () => {
    const checking = Promise.all(Array.from({ length: SESSIONS }, (_, group) => checkSessions(group)));
    // It is awaited below. A failure before that ends the faults.
    checking.catch(() => (isOver = true));
    const faults: string[] = [];
    const names = Object.keys(FAULTS);
    while (!isOver && (counts.operations < OPERATIONS || faults.length < names.length)) {
      const isFirst = faults.length === 0;
      for (const name of faultRandom.shuffled(names, names.length)) {
        const n = faultRandom.integer(0, nodes.length);
        await FAULTS[name]!(nodes[n]!, isFirst || faultRandom.integer(0, 3) > 0);
        faults.push(name);

        await Promise.all(nodes.map(({ node }) => node.ready()));
      }
    }
    isOver = true;

    await checking;

    process.stdout.write(
      `histories, CHAOS_SEED=${SEED}: ${faults.length} faults (${faults.slice(0, 8).join()}), ${JSON.stringify(counts)}\n`,
    );

    expect(wrong).toEqual([]);
    // Or nothing would be tried here. A busy machine fences nodes, so that most operations may be refused.
    expect(counts.answered).toBeGreaterThan(OPERATIONS / 10);
    expect(counts.claims).toBeGreaterThan(0);
    expect(nodes.map(({ node }) => node.health)).toEqual(nodes.map(() => 'alive'));
  },
  120_000 + OPERATIONS * 60,
);
