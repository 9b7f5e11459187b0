import { Redis as IoRedis } from 'ioredis';
import { Redis as IoValkey } from 'iovalkey';
import { createCluster } from 'redis';
import { SessionEventLog } from '../../src/transport/session-events.js';
import { systemClock } from '../../src/runtime/clock.js';
import { redisEventStore, redisStore, type RedisStoreOptions } from '../../src/stores/redis.js';
import type { SessionStore } from '../../src/stores/session-store.js';
import { sessionStoreContract } from '../../src/testing/session-store-contract.js';
import { REDIS_CLIENTS, connectCluster, connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';

const TTL = 60_000;

/** Each of the store's methods, in an order in which all of them find what they expect. */
const CALLS: readonly (readonly [
  name: string,
  call: (store: Required<SessionStore>, id: string) => Promise<unknown>,
])[] = [
  ['create', (store, id) => store.create(id, 'data', undefined, TTL)],
  ['get', (store, id) => store.get(id)],
  ['update', (store, id) => store.update(id, 0, 'new', TTL)],
  ['touch', (store, id) => store.touch(id, 0, TTL)],
  ['claim', (store, id) => store.claim(id, { owner: undefined, epoch: 0 }, 'node')],
  ['release', (store, id) => store.release(id, 'node', 1)],
  ['destroy in its epoch', (store, id) => store.destroy(id, 1)],
  ['destroy', (store, id) => store.destroy(id)],
];

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

let server: RedisServer;
const connections: ConnectedRedis[] = [];
// Downloads Debian's package where no redis-server is there yet.
beforeAll(async () => {
  server = await RedisServer.start();
}, 300_000);
afterAll(async () => {
  for (const redis of connections) await redis.close();
  await server.stop();
});

async function connected(connect = connectRedis, url = server.url): Promise<ConnectedRedis> {
  const redis = await connect(url);
  cleanUp.push(redis.close);
  return redis;
}

/** The contract on a client, in keys of its own. */
const contractOn = (client: string, redis?: ConnectedRedis, other?: ConnectedRedis) => {
  const storeOf = (connected?: ConnectedRedis) => redisStore({ ...connected!.access, prefix: `${client}:` });
  return sessionStoreContract({
    store: () => storeOf(redis),
    sameDataAgain: () => storeOf(other),
    // A busy machine may delay an answer by some hundred milliseconds.
    resolution: 1_000,
  });
};
const CASES = contractOn('').map(({ name }) => name);

/** The error of each case, by client and name. Undefined for a case that passed. */
const outcomes = new Map<string, Promise<unknown>>();

// All cases of all clients run together, as some of them wait 16 s for a record to expire.
beforeAll(async () => {
  for (const [client, connect] of REDIS_CLIENTS) {
    const [redis, other] = [await connect(server.url), await connect(server.url)];
    connections.push(redis, other);
    for (const { name, run } of contractOn(client, redis, other)) {
      const outcome = run().catch((error: unknown) => error);
      outcomes.set(`${client}: ${name}`, outcome);
    }
  }
});
describe.each(REDIS_CLIENTS)('with %s, the contract: a session store', (client, connect) => {
  let redis: ConnectedRedis;
  beforeAll(async () => {
    redis = await connect(server.url);
  });
  afterAll(() => redis.close());
  test.each(CASES)('%s', async (name) => {
    const outcome = outcomes.get(`${client}: ${name}`);
    expect(outcome).toBeDefined();
    expect(await outcome).toBeUndefined();
  });

  test('loads each script again when Redis has lost it', async () => {
    const store = redisStore(redis.access);
    const said: unknown[] = [];
    for (const [, call] of CALLS) {
      await redis.ask('SCRIPT', 'FLUSH');
      said.push(await call(store, `forgotten ${client}`));
    }
    expect(said).toEqual([true, { data: 'data', epoch: 0, owner: undefined }, true, true, true, true, true, false]);
  });

  test.each(CALLS)(
    'rejects %s once its connection is closed: that there is no record it cannot know',
    async (_call, call) => {
      const closed = await connected(connect);
      const store = redisStore(closed.access);
      await store.create(`closed ${client}`, 'data', undefined, TTL);
      await closed.close();
      await expect(call(store, `closed ${client}`)).rejects.toThrow();
    },
  );
});

describe('in Redis', () => {
  test('a record is a hash that has a time to live from first to last', async () => {
    const redis = await connected();
    const store = redisStore({ ...redis.access, prefix: 'ttl:' });
    const timesToLive: unknown[] = [];
    const look = async () => {
      const [key] = (await redis.ask('KEYS', 'ttl:*')) as string[];
      timesToLive.push(Math.ceil(Number(await redis.ask('PTTL', key!)) / 10_000));
    };
    await store.create('id', 'data', 'a', 30_000);
    await look();
    await store.update('id', 0, 'new', 50_000);
    await look();
    await store.claim('id', { owner: 'a', epoch: 0 }, 'b');
    await look();
    await store.release('id', 'b', 1);
    await look();
    await store.touch('id', 1, 20_000);
    await look();
    expect(timesToLive).toEqual([3, 5, 5, 5, 2]);
  });

  test('a store sees no record of another prefix', async () => {
    const redis = await connected();
    await redisStore({ ...redis.access, prefix: 'one:' }).create('id', 'data', undefined, TTL);
    expect(await redisStore({ ...redis.access, prefix: 'two:' }).get('id')).toBeUndefined();
    expect(await redisStore({ ...redis.access }).get('id')).toBeUndefined();
    expect((await redisStore({ ...redis.access, prefix: 'one:' }).get('id'))?.data).toBe('data');
  });
});

describe('in Redis Cluster', () => {
  let node: RedisServer;
  let redis: ConnectedRedis;
  beforeAll(async () => {
    node = await RedisServer.start({ cluster: true });
    redis = await connectCluster(node.url);
  });
  afterAll(async () => {
    redis.close();
    await node.stop();
  });

  test('the keys of a session are in one slot, and none shows its ID, which is a credential', async () => {
    const store = redisStore(redis.access);
    const events = redisEventStore(redis.access);

    const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301';
    await store.create(id, 'data', undefined, TTL);
    const view = new SessionEventLog(events, id, 0, systemClock, (_what, error) => {
      throw error;
    });
    await view.store(view.standaloneId);
    await view.store(view.newStreamId([1]));

    const [stream, sizes, session, ...others] = ((await redis.ask('KEYS', 'mcp:*')) as string[])
      .filter((key) => !key.startsWith('mcp:{events}:'))
      .sort();
    expect([stream, sizes, session, others]).toEqual([
      expect.stringMatching(/^mcp:\{[0-9a-f]{32}\}:events$/),
      expect.stringMatching(/^mcp:\{[0-9a-f]{32}\}:events:sizes$/),
      expect.stringMatching(/^mcp:\{[0-9a-f]{32}\}:session$/),
      [],
    ]);
    const keys = [stream!, sizes!, session!];
    const slots = await Promise.all(keys.map((key) => redis.ask('CLUSTER', 'KEYSLOT', key)));
    expect(new Set(slots).size).toBe(1);
    const dumps = [
      await redis.ask('XRANGE', stream!, '-', '+'),
      await redis.ask('LRANGE', sizes!, '0', '-1'),
      await redis.ask('HGETALL', session!),
    ];
    expect(JSON.stringify(dumps)).not.toContain(id);
  });

  test('every method finds its node by the key', async () => {
    const store = redisStore(redis.access);
    const said: unknown[] = [];
    for (const [, call] of CALLS) said.push(await call(store, 'id'));
    expect(said).toEqual([true, { data: 'data', epoch: 0, owner: undefined }, true, true, true, true, true, false]);
  });
});

describe('when Redis fails', () => {
  test.each(REDIS_CLIENTS)(
    '%s: calls under way when it crashes reject, and what was kept is found when it is back',
    async (_name, connect) => {
      const own = await RedisServer.start({ appendOnly: true });
      cleanUp.push(() => own.stop());
      const store = redisStore((await connected(connect, own.url)).access);
      expect(await store.create('id', 'data', 'a', TTL)).toBe(true);
      own.pause();
      const calls = CALLS.map(([, call]) => call(store, 'id'));
      const settled = Promise.allSettled(calls);
      await own.kill();
      expect((await settled).map(({ status }) => status)).toEqual(CALLS.map(() => 'rejected'));

      await own.restart();
      // By a script that the new process has never seen.
      expect(await store.claim('id', { owner: 'a', epoch: 0 }, 'b')).toBe(true);
      expect(await store.get('id')).toEqual({ data: 'data', epoch: 1, owner: 'b' });
    },
  );

  test('rejects with the error of Redis, and sends nothing again', async () => {
    const error = new Error('READONLY You can not write against a read only replica.');
    const sendCommand = jest.fn(() => Promise.reject(error));
    for (const [, call] of CALLS) await expect(call(redisStore({ sendCommand }), 'id')).rejects.toBe(error);
    expect(sendCommand).toHaveBeenCalledTimes(CALLS.length);
  });

  test('rejects when Redis also refuses the whole script', async () => {
    const sendCommand = jest.fn(() => Promise.reject(new Error('NOSCRIPT No matching script.')));
    await expect(redisStore({ sendCommand }).touch('id', 0, TTL)).rejects.toThrow('NOSCRIPT');
    expect(sendCommand).toHaveBeenCalledTimes(2);
  });

  const replies = [undefined, null, 'QUEUED', 'OK', '', 2, true, [], [null], {}, [null, '1', null], ['data', null, '']];
  test.each(CALLS)(
    '%s rejects a reply that is none of its command: sendCommand may have lost it',
    async (_call, call) => {
      for (const reply of replies) {
        const store = redisStore({ sendCommand: () => Promise.resolve(reply) });
        await expect(call(store, 'id')).rejects.toThrow('Redis cannot have answered that');
      }
    },
  );

  test('reads numbers that a client returns as text', async () => {
    const answering = (reply: string) => redisStore({ sendCommand: () => Promise.resolve(reply) });
    expect(await answering('1').destroy('id')).toBe(true);
    expect(await answering('0').destroy('id')).toBe(false);
  });
});

describe('options', () => {
  const sendCommand = () => Promise.resolve(null);
  const client = { sendCommand };
  const CLIENT = 'a client of node-redis (for a cluster, ioredis or iovalkey: option sendCommand)';

  test.each<[options: unknown, message: string]>([
    [undefined, 'redisStore: options must be an object of client, sendCommand, prefix; got undefined'],
    [{}, 'redisStore: exactly one of the options client and sendCommand is needed; got neither'],
    [{ client, sendCommand }, 'redisStore: exactly one of the options client and sendCommand is needed; got both'],
    [{ client: 'redis://' }, `redisStore: option client must be ${CLIENT}; got "redis://"`],
    [{ client: null }, `redisStore: option client must be ${CLIENT}; got null`],
    [{ client: {} }, `redisStore: option client must be ${CLIENT}; got an object`],
    [{ client: { sendCommand, call: sendCommand } }, `redisStore: option client must be ${CLIENT}; got an object`],
    [{ sendCommand: client }, 'redisStore: option sendCommand must be a function; got an object'],
    [{ client, prefix: 1 }, 'redisStore: option prefix must be a string without braces; got 1'],
    [{ client, prefix: 'mcp{}' }, 'redisStore: option prefix must be a string without braces; got "mcp{}"'],
    [
      { client, prefx: 'x' },
      'redisStore: unknown option prefx (did you mean prefix?); known are client, sendCommand, prefix',
    ],
  ])('%j throws a TypeError that names the option, the value and the rule', (options, message) => {
    expect(() => redisStore(options as RedisStoreOptions)).toThrow(new TypeError(message));
  });

  test('refuse a client of ioredis, iovalkey or a cluster, which send commands in another way', async () => {
    const clients = [
      new IoRedis({ lazyConnect: true }),
      new IoValkey({ lazyConnect: true }),
      createCluster({ rootNodes: [{ url: server.url }] }),
    ];
    for (const wrong of clients) {
      // @ts-expect-error the types say so too
      expect(() => redisStore({ client: wrong })).toThrow(TypeError);
    }
  });
});
