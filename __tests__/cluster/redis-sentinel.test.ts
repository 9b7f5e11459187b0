import { createClientPool, createSentinel } from 'redis';
import { createClientPool as createClientPool5, createSentinel as createSentinel5 } from 'redis5';
import { redisStore, type NodeRedisSentinel } from '../../src/stores/redis.js';
import { connectRedis, type Connect } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { SentinelServer } from '../support/sentinel-server.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, InProcessNode } from './in-process.js';

let cluster: InProcessCluster;
let sentinel: SentinelServer;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
  sentinel = await SentinelServer.start(cluster.redis.port);
}, 300_000);
afterEach(() => cluster.clear());
afterAll(async () => {
  await sentinel.stop();
  await cluster.stop();
});

const options = ({ port }: SentinelServer) => ({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port }] });

interface Sentinel extends NodeRedisSentinel {
  on(event: 'error', listener: () => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
}

const connected =
  (create: () => Sentinel): Connect =>
  async () => {
    const client = create();
    client.on('error', () => undefined);
    await client.connect();
    let open = true;
    const close = (): unknown => {
      if (open) client.destroy();
      open = false;
      return undefined;
    };
    return { access: { client }, ask: (...args) => client.sendCommand(false, args), close };
  };

const CLIENTS: readonly [string, (server: SentinelServer) => Connect][] = [
  ['redis 6', (server) => connected(() => createSentinel(options(server)))],
  ['redis 5', (server) => connected(() => createSentinel5(options(server)))],
];

test.each(CLIENTS)(
  'a cluster works on the Sentinel client of %s, given as client (docs/scaling.md: any client of Redis)',
  async (_name, connect) => {
    const [a, b] = await cluster.nodes(2, { connect: connect(sentinel) });
    const session = await AnyNodeSession.open(a!.url);
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 1 });
    await a!.close();
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    expect((await session.delete(b!.url)).status).toBe(200);
    expect(b!.lines('failure')).toEqual([]);
  },
);

test.each(CLIENTS)(
  'a fail-over that Sentinel makes costs a cluster on %s no session that the replica had: 503 for a while, then all goes on (docs/scaling.md, "What Redis must be")',
  async (_name, connect) => {
    const [master, replica] = [await RedisServer.start(), await RedisServer.start()];
    const [atMaster, atReplica] = [await connectRedis(master.url), await connectRedis(replica.url)];
    await atReplica.ask('REPLICAOF', '127.0.0.1', String(master.port));
    await until('the replica follows', async () =>
      /slave0:.*state=online/.test(String(await atMaster.ask('INFO', 'replication'))),
    );
    const server = await SentinelServer.start(master.port);
    const nodes: InProcessNode[] = [];
    try {
      await until(
        'Sentinel knows the replica',
        async () => ((await server.ask('SENTINEL', 'REPLICAS', 'main')) as unknown[]).length === 1,
      );
      for (const name of ['a', 'b'])
        nodes.push(await InProcessNode.start(master.url, 'p:', { name, connect: connect(server) }));
      const [a, b] = nodes;
      const session = await AnyNodeSession.open(a!.url);
      expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'a', count: 1 });
      expect(Number(await atMaster.ask('WAIT', '1', '10000'))).toBe(1);

      await master.kill();
      const answers = new Set<number>();
      await until('the nodes serve again', async () => {
        const response = await session.request(b!.url, 'echo');
        await response.text();
        answers.add(response.status);
        return response.status === 200 && String(await atReplica.ask('ROLE')).startsWith('master');
      });
      await until('both are members', async () => (await a!.ready()) + (await b!.ready()) === 400);
      expect([...answers].filter((status) => status !== 200 && status !== 503)).toEqual([]);
      expect(await session.call(b!.url, 'add')).toMatchObject({ count: 2 });
      expect((await session.delete(b!.url)).status).toBe(200);
      for (const { url } of nodes) expect((await session.request(url, 'add')).status).toBe(404);
    } finally {
      await Promise.all(nodes.map((node) => node.close()));
      for (const { close } of [atMaster, atReplica]) close();
      await Promise.all([server.stop(), master.stop(), replica.stop()]);
    }
  },
  120_000,
);

test.each([
  ['redis 6', () => createClientPool({ url: 'redis://127.0.0.1:1' })],
  ['redis 5', () => createClientPool5({ url: 'redis://127.0.0.1:1' })],
])('a pool of %s is refused at construction, and the error says what to hand over', (_name, create) => {
  const refused = (): unknown => redisStore({ client: create() });
  expect(refused).toThrow(TypeError);
  expect(refused).toThrow(/option client must be a client of createClient or createSentinel, and no pool/);
});
