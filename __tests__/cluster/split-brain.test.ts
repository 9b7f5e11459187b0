import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { sessionHash } from '../../src/stores/session-event-store.js';
import { JSON_HEADERS } from '../support/harness.js';
import { requestBytes } from '../support/raw-http.js';
import { answerOf } from '../support/raw-session.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { soon, until } from '../support/waiting.js';
import { Random, SEED } from '../chaos/random.js';
import { AnyNodeSession, toldBy } from './any-node.js';
import { tally } from './clients.js';
import { START_TIMEOUT, startCluster, type Cluster } from './cluster.js';
import type { ClusterNode } from './node-process.js';

/** `npm run chaos` sets more, and the times that are the default. */
const STOPS = Number(process.env.CLUSTER_STOPS ?? 2);
/** Long enough that a busy machine fences no other node. */
const LEASE = Number(process.env.CLUSTER_LEASE ?? 4_000);
const TIMES = { lease: LEASE, renewInterval: 0.3 * LEASE, fenceAfter: 0.66 * LEASE };
const LOAD = 6;
/** Sessions of the node that is stopped, each with a stream that it writes to. */
const WRITTEN = 4;

const random = new Random(SEED);

let cluster: Cluster;
let redis: ConnectedRedis;
beforeAll(async () => {
  cluster = await startCluster({ options: TIMES });
  redis = await connectRedis(cluster.redis.url);
}, START_TIMEOUT);
afterAll(async () => {
  redis.close();
  await cluster.close();
});

/** Of the same clock as `at` in what the tool `write` writes. */
const machineTime = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

/** A chunk of a reply, with one event of `write`, or more; and in each the time at which it was said. */
const CHUNK = /[\da-f]+\r\n(?:event: message\nid: \S+\ndata: \{.*\}\n\n)+\r\n/g;
const SAID_AT = /\\"at\\":([\d.]+)/g;

/** A call on its own socket straight to a node, as every byte of the reply counts. */
class Wire {
  reply = '';
  readonly ended: Promise<unknown>;

  constructor(node: ClusterNode, session: AnyNodeSession, tool: string, args: object) {
    const headers = Object.entries({ ...JSON_HEADERS, ...session.headers });
    const socket = connect(node.port, '127.0.0.1');
    socket.on('data', (data) => (this.reply += data.toString('latin1')));
    // That it is reset is an end as good as any.
    socket.on('error', () => undefined);
    this.ended = once(socket, 'close');
    socket.write(requestBytes('POST', '/mcp', headers, JSON.stringify(session.body(tool, args))));
  }
}

/** What one of the calls of `write` wrote, as Redis has it. */
async function storedOf({ id }: AnyNodeSession): Promise<{ epoch: number; at: number }[]> {
  const [key] = (await redis.ask('KEYS', `*{${sessionHash(id)}}:events`)) as string[];
  const entries = (await redis.ask('XRANGE', key!, '-', '+')) as [string, string[]][];
  return entries
    .map(([, fields]) => JSON.parse(fields[3]!) as { params?: { message?: string } })
    .filter(({ params }) => params?.message !== undefined)
    .map(({ params }) => JSON.parse(params!.message!) as { epoch: number; at: number });
}

async function stopped(node: ClusterNode): Promise<void> {
  node.pause();
  await until('the node is stopped', async () => / T /.test(await readFile(`/proc/${node.pid}/stat`, 'utf8')));
}

/** A session that the node owns, and that it writes to all the time. */
async function written(node: ClusterNode) {
  const session = await AnyNodeSession.open(node.url);
  const wire = new Wire(node, session, 'write', { ms: 20 * LEASE, every: 5 });
  const { pid, epoch, count } = await session.call(node.url, 'add');
  expect({ pid, count }).toEqual({ pid: node.pid, count: 1 });
  await until('it writes', () => wire.reply.length > 1_000);
  return { session, wire, epoch };
}

/** Stops a node until others have its sessions, lets it go on, and looks for what it still does to them. */
async function splitBrain(node: ClusterNode): Promise<void> {
  const others = cluster.nodes.filter((other) => other !== node);
  const other = (): ClusterNode => others[random.integer(0, others.length)]!;
  const owned = await Promise.all(Array.from({ length: WRITTEN }, () => written(node)));
  await stopped(node);
  const from = machineTime();

  // Held until the lease is gone, and then claimed by the node that got the request.
  const claims = await Promise.all(owned.map(({ session }) => session.call(other().url, 'add')));
  for (const [n, { pid, epoch, count }] of claims.entries()) {
    expect(others.map((each) => each.pid)).toContain(pid);
    expect({ epoch, count }).toEqual({ epoch: owned[n]!.epoch + 1, count: 2 });
  }
  // Sent to the old owner, that reads them when it goes on.
  const late = owned.map(({ session }) => session.request(node.url, 'add'));
  await sleep(Math.max(0, 2 * LEASE - (machineTime() - from)));
  const before = owned.map(({ wire }) => wire.reply.length);
  node.resume();

  await soon('the streams are broken', Promise.all(owned.map(({ wire }) => wire.ended)));
  for (const [n, { wire }] of owned.entries()) {
    // Nothing, but what was written when it was stopped: Node hands that to the kernel at the end of the tick
    // (`OutgoingMessage.write` corks its socket), which may come only when it goes on.
    const more = wire.reply.slice(before[n]);
    expect(more.replace(CHUNK, '')).toBe('');
    for (const [, at] of more.matchAll(SAID_AT)) expect(Number(at)).toBeLessThan(from);
    // Which both find what they look for, where there is something.
    expect([wire.reply.search(CHUNK), wire.reply.search(SAID_AT)]).not.toContain(-1);
  }
  await node.ready();
  for (const [n, { session, epoch }] of owned.entries()) {
    const answer = await late[n]!;
    const answered = answer.status === 200 ? toldBy(await answerOf(answer)) : undefined;
    if (answered === undefined) expect(answer.status).toBe(503);
    else expect(answered).toMatchObject({ pid: claims[n]!.pid, epoch: epoch + 1, count: 3 });
    // Wherever it is asked from now on, it is what the new owner made of it.
    for (const [more, { url }] of cluster.nodes.entries()) {
      const count = (answered?.count ?? 2) + more + 1;
      expect(await session.call(url, 'add')).toMatchObject({ pid: claims[n]!.pid, epoch: epoch + 1, count });
    }
    const writes = await storedOf(session);
    expect(writes.length).toBeGreaterThan(0);
    expect(writes.filter((write) => write.epoch === epoch && write.at > from + TIMES.fenceAfter)).toEqual([]);
    await session.delete(node.url);
  }
}

test(
  `an owner that is stopped for twice its lease, ${STOPS} times under load, begins no write after its fence deadline (docs/scaling.md): no byte to its clients but of what it had written, no event, one history`,
  async () => {
    const clients = await cluster.clients(LOAD);
    const ended = { well: 0, failed: 0 };
    const load = cluster.load(
      clients.map((client) => async () => {
        // A request in flight at a node that fences itself fails. It must get no answer of another request, and no second answer.
        await client.add().then(
          () => (ended.well += 1),
          () => (ended.failed += 1),
        );
        await client.echo().catch(() => (ended.failed += 1));
      }),
    );
    for (let n = 0; n < STOPS; n += 1) {
      await splitBrain(cluster.nodes[random.integer(0, cluster.nodes.length)]!);
      await cluster.ready();
    }
    await load.stop();
    process.stdout.write(
      `split-brain, CHAOS_SEED=${SEED}: ${STOPS} stops, calls of others: ${JSON.stringify(ended)}\n`,
    );

    expect(ended.well).toBeGreaterThan(0);
    expect(tally(clients.flatMap(({ wrong }) => wrong))).toEqual({});
    for (const client of clients) await client.add();
    expect(tally(clients.flatMap(({ wrong }) => wrong))).toEqual({});
    expect(cluster.nodes.map(({ health }) => health)).toEqual(cluster.nodes.map(() => 'alive'));
  },
  60_000 + STOPS * (2 * LEASE + 20_000),
);
