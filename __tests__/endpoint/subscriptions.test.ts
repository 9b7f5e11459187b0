import { SubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { McpRouterOptions } from '../../src/index.js';
import type { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { start, type Harness } from '../support/harness.js';
import { bodyOf, call, headersOf, send, subscribe, type PerRequest } from '../support/per-request.js';
import { StalledReader } from '../support/stalled-reader.js';
import { until } from '../support/waiting.js';
import { announcingServer, REFUSED, type AnnouncingServer } from './announcing-server.js';

// Pages are those of MCP 2026-07-28, below docs/specification/2026-07-28.

type Fields = Readonly<Record<string, unknown>>;

const ID = 'io.modelcontextprotocol/subscriptionId';
const URI = 'test://notes/1';
const TOOLS = 'notifications/tools/list_changed';
const UPDATED = 'notifications/resources/updated';

const clock = new FakeClock();
const servers: AnnouncingServer[] = [];
const clients: AbortController[] = [];
let harness: Harness;

async function serve(options: Partial<McpRouterOptions> = {}, early?: string[]): Promise<void> {
  harness = await start({
    serverFactory: () => {
      const made = announcingServer(early);
      servers.push(made);
      return made.server;
    },
    perRequest: true,
    principal: (req) => req.headers['x-user'] as string | undefined,
    clock,
    ...options,
  });
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.abort();
  await harness.close();
  servers.splice(0);
});

const as = (user: string | undefined) => ({ headers: user === undefined ? {} : { 'x-user': user } });

interface Listening {
  readonly stream: EventStream;
  readonly server: AnnouncingServer;
  readonly acknowledged: Fields;
  close(): void;
}

/** Opens a subscription, and reads its acknowledgement. */
async function listen(notifications: Fields, { id = 'sub', ...request }: PerRequest = {}): Promise<Listening> {
  const client = new AbortController();
  clients.push(client);
  const { signal } = client;
  const { stream, acknowledgement } = await subscribe(harness.url, notifications, { id, ...request, signal });
  const params = acknowledgement.params as unknown as Fields;
  expect(params._meta).toEqual({ [ID]: id });
  const acknowledged = params.notifications as Fields;
  return { stream, server: servers.at(-1)!, acknowledged, close: () => client.abort() };
}

const change = (list: string, user?: string, times = 1) => call(harness.url, 'change', { list, times }, as(user));

const isOver = async ({ stream }: Listening): Promise<boolean> => {
  const rest = stream.block();
  return (await rest.catch(() => undefined)) === undefined;
};

describe('a subscription (basic/patterns/subscriptions)', () => {
  test('is acknowledged first, with the part of the filter that the server supports', async () => {
    await serve();
    const resourceSubscriptions = [URI, REFUSED, 'test://notes/2'];
    const all = {
      toolsListChanged: true,
      promptsListChanged: true,
      resourcesListChanged: false,
      resourceSubscriptions,
    };
    const { acknowledged, server } = await listen({ ...all, 'com.example/other': true });
    expect(acknowledged).toEqual({ toolsListChanged: true, resourceSubscriptions: [URI, 'test://notes/2'] });
    expect([...server.uris]).toEqual([URI, 'test://notes/2']);
  });

  test('carries what its own server announces, of the agreed types only, each with the ID of the request', async () => {
    await serve();
    const { stream, server } = await listen({ toolsListChanged: true, resourceSubscriptions: [URI] }, { id: 7 });
    const { server: low } = server;
    await low.sendResourceListChanged();
    await low.sendResourceUpdated({ uri: 'test://notes/12' });
    await low.sendLoggingMessage({ level: 'emergency', data: 'x' });
    await low.sendToolListChanged();
    await low.sendResourceUpdated({ uri: URI });
    await low.sendResourceUpdated({ uri: `${URI}#part` });
    const _meta = { [ID]: 7 };
    expect(await stream.message()).toMatchObject({ method: TOOLS, params: { _meta } });
    expect(await stream.message()).toMatchObject({ method: UPDATED, params: { uri: URI, _meta } });
    expect(await stream.message()).toMatchObject({ method: UPDATED, params: { uri: `${URI}#part`, _meta } });
  });

  test('sends what its server announces before the acknowledgement after it, the same only once', async () => {
    await serve({}, [URI, 'test://other', URI]);
    const { stream, server } = await listen({ resourceSubscriptions: [URI], toolsListChanged: true });
    await server.server.sendToolListChanged();
    expect(await stream.message()).toMatchObject({ method: UPDATED, params: { uri: URI } });
    expect(await stream.message()).toMatchObject({ method: TOOLS });
  });

  test('is one of several at once, whose IDs may be equal', async () => {
    await serve();
    const first = await listen({ toolsListChanged: true });
    const second = await listen({ toolsListChanged: true, resourceSubscriptions: [URI] });
    const third = await listen({ resourcesListChanged: true }, { id: 'third' });
    await second.server.server.sendResourceUpdated({ uri: URI });
    expect(await second.stream.message()).toMatchObject({ method: UPDATED });
    await change('tools');
    await change('resources');
    expect(await first.stream.message()).toMatchObject({ method: TOOLS });
    expect(await second.stream.message()).toMatchObject({ method: TOOLS });
    expect(await third.stream.message()).toMatchObject({ method: 'notifications/resources/list_changed' });
  });

  test('cannot be asked anything, and a question of its server fails at once', async () => {
    await serve();
    const { server } = await listen({ toolsListChanged: true }, { capabilities: { roots: {} } });
    await expect(server.server.listRoots()).rejects.toThrow('cannot be asked roots/list');
    await expect(server.server.ping()).resolves.toEqual({});
  });

  test('that nothing was agreed for ends at once, by its result', async () => {
    await serve();
    const { stream, acknowledged, server } = await listen({ promptsListChanged: true });
    expect(acknowledged).toEqual({});
    expect(await stream.message()).toMatchObject({ id: 'sub', result: { resultType: 'complete' } });
    await until('its server is closed', () => server.isClosed);
  });

  test('closes its server when the client closes the stream (basic/patterns/cancellation)', async () => {
    await serve();
    const subscription = await listen({ toolsListChanged: true });
    subscription.close();
    await until('its server is closed', () => subscription.server.isClosed);
    expect(clock.pending).toBe(0);
  });

  test('ends by its result when its server closes', async () => {
    await serve();
    const subscription = await listen({ toolsListChanged: true });
    await subscription.server.server.close();
    expect(await subscription.stream.message()).toMatchObject({ id: 'sub', result: { resultType: 'complete' } });
    expect(await isOver(subscription)).toBe(true);
  });

  test('is kept alive by comments, and does not time out (basic/transports/streamable-http, "Receiving Messages")', async () => {
    await serve({ keepAlive: 15_000, requestTimeout: 60_000 });
    const { stream, server } = await listen({ toolsListChanged: true });
    for (let n = 0; n < 20; n += 1) {
      clock.advance(15_000);
      expect((await stream.block())?.comment).toBe('keep-alive');
    }
    await server.server.sendToolListChanged();
    expect(await stream.message()).toMatchObject({ method: TOOLS });
  });

  test('is announced by server/discover: the capabilities say which changes (server/discover)', async () => {
    await serve();
    const { result } = await send(harness.url, 'server/discover');
    expect(result?.capabilities).toEqual({
      logging: {},
      tools: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
    });
  });
});

describe('a subscription is refused', () => {
  const wrong: unknown[] = [undefined, null, 7, [], { toolsListChanged: 1 }, { resourceSubscriptions: URI }];
  test.each([...wrong, { resourceSubscriptions: [7] }].map((filter) => [filter]))(
    'with the filter %j',
    async (filter) => {
      await serve();
      const reply = await send(harness.url, 'subscriptions/listen', { id: 3, params: { notifications: filter } });
      expect(reply).toMatchObject({ status: 400, id: 3, error: { code: -32602 } });
      expect(servers).toEqual([]);
    },
  );

  test('to a client that accepts no stream: 406', async () => {
    await serve();
    const headers = { accept: 'application/json' };
    const params = { notifications: { toolsListChanged: true } };
    expect(await send(harness.url, 'subscriptions/listen', { params, headers })).toMatchObject({ status: 406, id: 1 });
    expect(servers).toEqual([]);
  });

  test('beyond the share of a principal, of callers without one, and of all; a place is free again at an end', async () => {
    await serve({ perRequest: { maxSubscriptions: 4, maxSubscriptionsPerPrincipal: 2, maxSubscriptionsAnonymous: 1 } });
    const filter = { toolsListChanged: true };
    const refused = async (user?: string) => {
      const reply = await send(harness.url, 'subscriptions/listen', { params: { notifications: filter }, ...as(user) });
      expect(reply).toMatchObject({ status: 503, error: { code: -32603 } });
      expect(reply.headers.get('retry-after')).toBe('5');
    };
    const first = await listen(filter, as('alice'));
    await listen(filter, as('alice'));
    await refused('alice');
    await listen(filter);
    await refused();
    await listen(filter, as('bob'));
    await refused('carol');
    first.close();
    await until('its server is closed', () => first.server.isClosed);
    await listen(filter, as('carol'));
  });

  test('takes no place when its server cannot be opened', async () => {
    let fails = true;
    await serve({
      perRequest: { maxSubscriptions: 1 },
      serverFactory: () => {
        if (fails) throw new Error('not now');
        return announcingServer().server;
      },
    });
    const params = { notifications: { toolsListChanged: true } };
    expect((await send(harness.url, 'subscriptions/listen', { params })).status).toBe(500);
    fails = false;
    await listen(params.notifications);
  });

  test('when its server closes while it is being subscribed, and nothing of it remains ("Graceful Closure")', async () => {
    const made: AnnouncingServer[] = [];
    await serve({
      perRequest: { maxSubscriptions: 1 },
      serverFactory: () => {
        const announcing = announcingServer();
        if (made.push(announcing) > 1) return announcing.server;
        announcing.server.setRequestHandler(SubscribeRequestSchema, async () => {
          await announcing.server.close();
          return {};
        });
        return announcing.server;
      },
    });
    const params = { notifications: { toolsListChanged: true, resourceSubscriptions: [URI] } };
    const reply = await send(harness.url, 'subscriptions/listen', { params });
    expect(reply.error).toMatchObject({ message: 'Session closed' });
    expect(clock.pending).toBe(0);
    await listen(params.notifications);
  });
});

describe('what other servers announce', () => {
  test('reaches the streams of the same principal only, and without the fields of its own request', async () => {
    await serve();
    const filter = { toolsListChanged: true, resourceSubscriptions: [URI] };
    const alice = await listen(filter, as('alice'));
    const bob = await listen(filter, as('bob'));
    const anonymous = await listen(filter);
    await change('tools', 'alice');
    await call(harness.url, 'update', { uri: URI }, as('bob'));
    await change('tools');
    const _meta = { [ID]: 'sub' };
    expect((await alice.stream.message()).params).toEqual({ _meta });
    expect((await bob.stream.message()).params).toEqual({ uri: URI, _meta });
    expect((await anonymous.stream.message()).params).toEqual({ _meta });
    for (const { stream, server } of [alice, bob, anonymous]) {
      await server.server.sendResourceUpdated({ uri: `${URI}/last` });
      expect(await stream.message()).toMatchObject({ params: { uri: `${URI}/last` } });
    }
  });

  test('reaches them at most once each 100 ms for each type, and the last change is never lost', async () => {
    await serve();
    const { stream, server } = await listen({ toolsListChanged: true, resourcesListChanged: true });
    const mark = async (uri: string) => {
      await server.server.sendResourceListChanged();
      expect(await stream.message()).toMatchObject({ method: 'notifications/resources/list_changed', params: {} });
      return uri;
    };
    await change('tools', undefined, 50);
    expect(await stream.message()).toMatchObject({ method: TOOLS });
    await mark('the 49 others wait');
    clock.advance(99);
    await change('tools');
    await mark('within 100 ms none follows');
    clock.advance(1);
    expect(await stream.message()).toMatchObject({ method: TOOLS });
    clock.advance(100);
    await mark('all were told');
    await change('tools');
    expect(await stream.message()).toMatchObject({ method: TOOLS });
  });

  test('in the answer to a list reaches none, as their clients would list for ever', async () => {
    await serve();
    const { stream, server } = await listen({ toolsListChanged: true, resourceSubscriptions: [URI] });
    expect((await send(harness.url, 'resources/list')).status).toBe(200);
    await server.server.sendResourceUpdated({ uri: URI });
    expect(await stream.message()).toMatchObject({ method: UPDATED });
  });
});

describe('subscriptions and the end of the router', () => {
  test('a drain lets requests finish, then ends each with the result that says so, and closes (Graceful Closure)', async () => {
    await serve();
    const subscription = await listen({ toolsListChanged: true }, { id: 'x' });
    const drained = harness.router.drain(60_000);
    const result = { resultType: 'complete', _meta: { [ID]: 'x' } };
    expect(await subscription.stream.message()).toMatchObject({ id: 'x', result });
    expect(await isOver(subscription)).toBe(true);
    await drained;
    expect(subscription.server.isClosed).toBe(true);
  });

  test('a close ends them the same way, a stalled one without waiting', async () => {
    await serve();
    const subscription = await listen({ toolsListChanged: true });
    await harness.router.close();
    expect(await subscription.stream.message()).toMatchObject({ id: 'sub', result: { resultType: 'complete' } });
    expect(subscription.server.isClosed).toBe(true);
    expect(clock.pending).toBe(0);
  });

  test('a draining router opens no more', async () => {
    await serve();
    await harness.router.drain(0);
    const params = { notifications: { toolsListChanged: true } };
    expect((await send(harness.url, 'subscriptions/listen', { params })).status).toBe(503);
  });
});

test('a reader that stalls is cut off at `maxStreamBuffer`, and holds up no other', async () => {
  await serve({ maxStreamBuffer: 64 * 1024 });
  const request = { params: { notifications: { toolsListChanged: true } } };
  const method = 'subscriptions/listen';
  const body = JSON.stringify(bodyOf(method, request));
  const reader = await StalledReader.post(harness.http, body, headersOf(method, request));
  await until('it is open', () => servers.length === 1 && reader.res.headersSent);
  const [stalled] = servers;
  const other = await listen({ toolsListChanged: true });
  const params = { _meta: { pad: 'x'.repeat(32 * 1024) } };
  for (let n = 0; n < 1_000 && !stalled!.isClosed; n += 1) {
    void stalled!.server.notification({ method: TOOLS, params }).catch(() => undefined);
    await new Promise(setImmediate);
  }
  await until('its server is closed', () => stalled!.isClosed);
  expect(reader.res.destroyed).toBe(true);
  await change('tools');
  expect(await other.stream.message()).toMatchObject({ method: TOOLS });
});

test('1,000 subscriptions at once hear of a change each, and leave nothing', async () => {
  await serve();
  const all: Listening[] = [];
  for (let n = 0; n < 1_000; n += 50) {
    const lot = Array.from({ length: 50 }, (_, i) => listen({ toolsListChanged: true }, { id: n + i }));
    all.push(...(await Promise.all(lot)));
  }
  await change('tools');
  const heard = await Promise.all(all.map(async ({ stream }) => (await stream.message()).params._meta));
  expect(heard.map((meta) => (meta as unknown as Fields)[ID])).toEqual(all.map((_, id) => id));
  for (const each of all) each.close();
  await until('all servers are closed', () => servers.every(({ isClosed }) => isClosed));
  clock.advance(100);
  expect(clock.pending).toBe(0);
});
