import { redisEventStore } from '../../src/stores/redis.js';
import { REDIS_CLIENTS } from '../support/redis-clients.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster } from './in-process.js';

const cluster = InProcessCluster.ofSuite();

const ALICE = { headers: { 'x-principal': 'alice' } };

describe.each(REDIS_CLIENTS)('a cluster on %s (docs/scaling.md: any client of Redis)', (_name, connect) => {
  test('hands over, claims, counts, lists and ends sessions', async () => {
    const [a, b] = await cluster.nodes(2, { connect, maxSessionsPerPrincipal: 2 });
    const session = await AnyNodeSession.open(a!.url, ALICE);
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 1 });
    expect(await b!.router.sessions.list({ cluster: true })).toMatchObject([{ id: session.id }]);

    await a!.close();
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    const c = await cluster.node({ name: 'c', connect });
    const others = [await AnyNodeSession.open(c.url, ALICE), await AnyNodeSession.open(c.url)];
    expect((await others[1]!.delete(b!.url)).status).toBe(200);
    expect(await c.router.sessions.closeByPrincipal('alice')).toBe(2);
    for (const each of [session, ...others]) expect(await each.statuses(c.url)).toEqual([404, 404, 404]);
    for (const node of [b!, c]) expect(node.lines('failure')).toEqual([]);
  });

  test('moves sessions through Redis', async () => {
    const [a, b] = await cluster.nodes(2, { connect, times: { routing: 'migrate' } });
    const session = await AnyNodeSession.open(a!.url);
    expect(await session.call(a!.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 1 });
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    expect((await session.delete(a!.url)).status).toBe(200);
    expect(await session.statuses(b!.url)).toEqual([404, 404, 404]);
    for (const node of [a!, b!]) expect(node.lines('failure')).toEqual([]);
  });

  test('fences the events of an owner that was overtaken', async () => {
    const redis = await connect(cluster.redis.url);
    const eventStore = redisEventStore({ ...redis.access, prefix: cluster.prefix });
    const a = await cluster.node({ name: 'a', connect, eventStore });
    const session = await AnyNodeSession.open(a.url);
    const { key } = await cluster.record();
    await session.call(a.url, 'add');
    await cluster.ask('HSET', key, 'o', 'another node', 'e', '1');
    const events = await cluster.ask('KEYS', `${cluster.prefix}*:events`);
    const stored = () => Promise.all((events as string[]).map((stream) => cluster.ask('XLEN', stream)));
    const before = await stored();
    await session.request(a.url, 'echo').then(
      (response) => response.text().catch(() => undefined),
      () => undefined,
    );
    expect(before).toHaveLength(1);
    expect(await stored()).toEqual(before);
    expect(a.router.sessions.list()).toEqual([]);
    redis.close();
  });
});
