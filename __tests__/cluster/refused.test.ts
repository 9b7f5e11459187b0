import { randomUUID } from 'node:crypto';
import { redisEventStore, type SendCommand } from '../../src/stores/redis.js';
import { EventStream } from '../support/event-stream.js';
import { JSON_HEADERS } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { answerOf } from '../support/raw-session.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, isDestroy, type InProcessNode, type Tool } from './in-process.js';

let cluster: InProcessCluster;
let gate: Deferred;
let begun: Deferred;
let redisAway = false;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
beforeEach(() => {
  [gate, begun] = [new Deferred(), new Deferred()];
});
afterEach(async () => {
  redisAway = false;
  gate.resolve();
  await cluster.clear();
});
afterAll(() => cluster.stop());

const tools: Readonly<Record<string, Tool>> = {
  async wait() {
    begun.resolve();
    await gate.promise;
  },
};

const tap =
  (send: SendCommand): SendCommand =>
  (...command) =>
    redisAway ? Promise.reject(new Error('Redis is away')) : send(...command);

const connectionsOf = ({ http }: InProcessNode): Promise<number> =>
  new Promise((resolve, reject) => {
    http.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });

const forwarded = async (node: InProcessNode, outcome: string): Promise<string | undefined> =>
  new RegExp(`^mcp_cluster_forwarded_total{outcome="${outcome}"} (\\d+)$`, 'm').exec(await node.metrics())?.[1];

test('a session past its lifetime refuses a new call also while its node drains (docs/sessions.md, "How a session ends"): 404 at once, and the node goes on', async () => {
  const a = await cluster.node({ name: 'a', maxLifetime: 2_000, tools });
  const session = await AnyNodeSession.open(a.url);
  const waiting = session.call(a.url, 'wait');
  await begun.promise;
  await until('it is past its lifetime', async () => (await session.request(a.url, 'echo')).status === 404);
  const drained = a.router.drain(5_000);
  // A request that was tried again and again would leave no turn of the event loop for anything else.
  expect((await soon('it is refused', session.request(a.url, 'echo'))).status).toBe(404);
  expect((await soon('a stream is refused', session.get(a.url))).status).toBe(404);
  gate.resolve();
  expect(await waiting).toMatchObject({ node: 'a' });
  await drained;
});

test('a call that ran when its node lost the session gets the error that its outcome is unknown, without Retry-After (docs/scaling.md)', async () => {
  const a = await cluster.node({ name: 'a', tools, tap });
  const session = await AnyNodeSession.open(a.url);
  const running = session.request(a.url, 'wait');
  await begun.promise;
  redisAway = true;
  const response = await soon('the node is fenced', running);
  expect(response.status).toBe(200);
  expect(await answerOf(response)).toMatchObject({
    id: 1,
    error: { message: expect.stringContaining('outcome is unknown') },
  });
});

test('a client that hangs up is not counted as a call that was lost (docs/scaling.md, "What to watch")', async () => {
  const [a, b] = (await cluster.nodes(2, { tools })) as [InProcessNode, InProcessNode];
  const session = await AnyNodeSession.open(a.url);
  const hangUp = new AbortController();
  const init = {
    method: 'POST',
    headers: { ...session.headers, 'content-type': 'application/json' },
    signal: hangUp.signal,
  };
  const call = fetch(b.url, { ...init, body: JSON.stringify(session.body('wait')) });
  const aborted = expect(call).rejects.toThrow('aborted');
  await begun.promise;
  hangUp.abort();
  await aborted;
  // One that is answered after it is counted after it.
  await session.call(b.url, 'echo');
  expect([await forwarded(b, 'lost'), await forwarded(b, 'answered')]).toEqual(['0', '1']);
});

describe('routing: migrate', () => {
  const start = async (): Promise<[InProcessNode, InProcessNode, InProcessNode]> => {
    const nodes = await cluster.nodes(3, { tools, times: { routing: 'migrate' } });
    return nodes as [InProcessNode, InProcessNode, InProcessNode];
  };
  const note = { jsonrpc: '2.0', method: 'notifications/roots/list_changed' };

  test('a message goes to the current owner, and is 404 once the session has ended', async () => {
    const [a, b, c] = await start();
    const session = await AnyNodeSession.open(a.url);
    expect((await session.post(b.url, note)).status).toBe(202);
    // It moves, and b is not told.
    await session.call(c.url, 'echo');
    const stream = new EventStream(await session.request(c.url, 'wait'));
    await begun.promise;
    const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 2 } };
    expect((await session.post(b.url, cancelled)).status).toBe(202);
    expect(await soon('the call is cancelled', stream.messages())).toEqual([]);
    expect((await session.delete(c.url)).status).toBe(200);
    expect((await session.post(b.url, note)).status).toBe(404);
  });

  test('a node that claimed a session and could not build its server gives it up to any node', async () => {
    const [a, b] = await start();
    const session = await AnyNodeSession.open(b.url);
    const push = a.contexts.push.bind(a.contexts);
    a.contexts.push = () => {
      throw new Error('its database is away');
    };
    expect((await session.request(a.url, 'echo')).status).toBe(503);
    expect(await session.call(b.url, 'echo')).toMatchObject({ node: 'b' });
    a.contexts.push = push;
  });
});

test.each(['a call', 'its standalone stream'])(
  'a client that hangs up while the owner of its session is looked for leaves nothing open there: %s',
  async (what) => {
    const looked = new Deferred();
    const hold = new Deferred();
    const slow =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        if (command[0] === 'HMGET') {
          looked.resolve();
          await hold.promise;
        }
        return send(...command);
      };
    const a = await cluster.node({ name: 'a', tools });
    const b = await cluster.node({ name: 'b', tap: slow });
    const session = await AnyNodeSession.open(a.url);
    const open = await connectionsOf(b);
    const client = await RawSocket.open(b.url.port);
    const headers = Object.entries({ ...JSON_HEADERS, ...session.headers });
    const [method, body] = what === 'a call' ? ['POST', JSON.stringify(session.body('wait'))] : ['GET'];
    await client.write(requestBytes(method, '/mcp', headers, body));
    await looked.promise;
    client.destroy();
    await until('the node has noticed', async () => (await connectionsOf(b)) === open);
    hold.resolve();
    // Handed over after it, and answered: whatever the first has left behind is there by now.
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'a' });
    expect(a.router.sessions.get(session.id)).toMatchObject({ requests: 0 });
    const stream = await session.get(b.url);
    expect(stream.status).toBe(200);
    await stream.body?.cancel();
  },
);

test.each([
  ['looks for the event', 1],
  ['reads what came after it', 2],
])(
  'a resume at a node that loses the session while it %s is 503, and neither 404 nor 204 (docs/scaling.md)',
  async (_when, nth) => {
    const asked = new Deferred();
    const stalled = new Deferred();
    let commands = 0;
    const events = redisEventStore({
      sendCommand: async (...command) => {
        if (redisAway && command[0] === 'XRANGE' && (commands += 1) === nth) {
          asked.resolve();
          await stalled.promise;
        }
        return cluster.ask(...command);
      },
      prefix: cluster.prefix,
    });
    const a = await cluster.node({ name: 'a', tools, tap, eventStore: events });
    const session = await AnyNodeSession.open(a.url);
    const call = await session.stream(a.url, 'add');
    const { id } = (await call.block())!;
    await call.messages();
    redisAway = true;
    const resumed = session.get(a.url, { 'last-event-id': id! });
    await asked.promise;
    await until('the node is fenced', () => a.lines('session closed').length === 1);
    stalled.resolve();
    expect((await soon('it is answered', resumed)).status).toBe(503);
    redisAway = false;
    await until('the node is a member again', async () => (await a.ready()) === 200);
    expect(await session.call(a.url, 'add')).toMatchObject({ epoch: 1, count: 2 });
  },
);

test('a session that is reissued ends none of its principal’s on other nodes (docs/restart.md)', async () => {
  const most = { maxSessionsPerPrincipal: 1, orphanAfter: 1, staleSessions: 'reissue' } as const;
  const [a, b] = [await cluster.node({ ...most, name: 'a' }), await cluster.node({ ...most, name: 'b' })];
  const session = await AnyNodeSession.open(a.url, { headers: { 'x-principal': 'alice' } });
  await until('it is orphaned', () => a.router.sessions.stats().orphaned === 1);
  const stale = await session.post(b.url, session.body('add'), { 'mcp-session-id': randomUUID() });
  expect([stale.status, stale.headers.get('mcp-session-id')]).toEqual([404, null]);
  expect(await session.call(b.url, 'add')).toMatchObject({ node: 'a', count: 1 });
});

test('a batch at a node that lost the session gets an error for each request that its outcome is unknown (docs/scaling.md)', async () => {
  const a = await cluster.node({ name: 'a', tools, tap });
  const session = await AnyNodeSession.open(a.url, { version: '2025-03-26' });
  const running = session.post(a.url, [session.body('wait'), session.body('wait')]);
  await begun.promise;
  redisAway = true;
  const response = await soon('the node is fenced', running);
  const unknown = expect.stringContaining('outcome is unknown') as string;
  const events = (await response.text()).matchAll(/^data: (.+)$/gm);
  expect([...events].map(([, data]) => JSON.parse(data!) as unknown)).toMatchObject([
    { id: 1, error: { message: unknown } },
    { id: 2, error: { message: unknown } },
  ]);
});

test('sessions.close(id) ends a session that another node claims at the same time (docs/scaling.md)', async () => {
  let claims = 1;
  const [a, b] = [
    await cluster.node({ name: 'a' }),
    await cluster.node({
      name: 'b',
      tap:
        (send) =>
        async (...command) => {
          if (isDestroy(command) && claims-- > 0) await send('HINCRBY', (await cluster.record()).key, 'e', '1');
          return send(...command);
        },
    }),
  ];
  const session = await AnyNodeSession.open(a.url);
  await a.close();
  expect(await b.router.sessions.close(session.id)).toBe(true);
  expect(claims).toBeLessThan(1);
  expect(await session.statuses(b.url)).toEqual([404, 404, 404]);
});

test('a session that hibernates is owned still, and counted once when it wakes (docs/scaling.md, "What to watch")', async () => {
  const a = await cluster.node({ name: 'a', orphanAfter: 50, hibernateAfter: 50 });
  const owned = async (): Promise<string | undefined> => /^mcp_cluster_owned (\d+)$/m.exec(await a.metrics())?.[1];
  const session = await AnyNodeSession.open(a.url);
  await until('it hibernates', () => a.router.sessions.stats().hibernated === 1);
  expect(await owned()).toBe('1');
  await session.call(a.url, 'add');
  expect(await owned()).toBe('1');
  expect((await session.delete(a.url)).status).toBe(200);
  expect(await owned()).toBe('0');
});
