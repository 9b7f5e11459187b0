import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { SubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore, type McpRouterOptions, type NotifyTarget, type JSONRPCNotification } from '../src/index.js';
import { LocalDelivery } from '../src/notify/local-delivery.js';
import { announcingServer } from './endpoint/announcing-server.js';
import type { EventStream } from './support/event-stream.js';
import { FakeClock } from './support/fake-clock.js';
import { start, type Harness } from './support/harness.js';
import { RawSession } from './support/raw-session.js';
import { StalledReader } from './support/stalled-reader.js';
import { subscribe } from './support/per-request.js';
import { never, until } from './support/waiting.js';

// docs/notify.md. Clients with sessions read their standalone streams, those of MCP 2026-07-28 a `subscriptions/listen`.

const TOOLS = 'notifications/tools/list_changed';
const UPDATED = 'notifications/resources/updated';
const MESSAGE = 'notifications/message';
const URI = 'test://notes/1';

const clients: AbortController[] = [];
let harness: Harness;

async function serve(options: Partial<McpRouterOptions> = {}): Promise<void> {
  harness = await start({
    serverFactory: () => announcingServer().server,
    perRequest: true,
    principal: (req) => req.headers['x-user'] as string | undefined,
    ...options,
  });
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.abort();
  await harness.close();
});

const as = (user?: string) => (user === undefined ? {} : { 'x-user': user });
const open = (user?: string) => RawSession.open(harness.url, { headers: as(user) });

/** Opens the standalone stream of a session. */
async function streamOf(session: RawSession, lastEventId?: string): Promise<EventStream> {
  const client = new AbortController();
  clients.push(client);
  return session.stream(lastEventId, client.signal);
}

/** Opens the standalone stream of a session, and closes it. */
async function openAndClose(session: RawSession): Promise<void> {
  const client = new AbortController();
  await session.stream(undefined, client.signal);
  client.abort();
  const { sessions } = harness.router;
  await until('the stream is closed', () => sessions.get(session.id)?.streams.standalone === 0);
}

async function listen(notifications: Readonly<Record<string, unknown>>, user?: string): Promise<EventStream> {
  const client = new AbortController();
  clients.push(client);
  const request = { headers: as(user), signal: client.signal };
  return (await subscribe(harness.url, notifications, request)).stream;
}

const log = (data: string, level = 'info') => ({ method: MESSAGE, params: { level, data } });

describe('router.notify without a target', () => {
  test('reaches each open stream of both eras once, and counts a client without a stream as dropped', async () => {
    await serve();
    const streams = [await streamOf(await open()), await streamOf(await open('alice'))];
    await open('bob');
    streams.push(await listen({ toolsListChanged: true }, 'alice'));
    await listen({ resourcesListChanged: true });
    const { notify } = harness.router;
    expect(await notify.toolListChanged()).toEqual({ delivered: 3, stored: 0, dropped: 1 });
    await notify.toolListChanged();
    for (const stream of streams) {
      expect((await stream.message()).method).toBe(TOOLS);
      expect((await stream.message()).method).toBe(TOOLS);
    }
  });

  test('names the list that changed', async () => {
    await serve();
    const stream = await streamOf(await open());
    const { notify } = harness.router;
    await notify.toolListChanged();
    await notify.resourceListChanged();
    expect((await stream.message()).method).toBe(TOOLS);
    expect((await stream.message()).method).toBe('notifications/resources/list_changed');
  });

  test('keeps the order of calls that are not awaited', async () => {
    await serve();
    const stream = await streamOf(await open());
    const all = Array.from({ length: 50 }, (_, n) => harness.router.notify.send(log(String(n))));
    for (const n of all.keys()) expect((await stream.message()).params.data).toBe(String(n));
    expect(await Promise.all(all)).toEqual(all.map(() => ({ delivered: 1, stored: 0, dropped: 0 })));
  });

  test('counts nothing where there is no client, and after close()', async () => {
    await serve();
    expect(await harness.router.notify.toolListChanged()).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    await open();
    await harness.router.close();
    expect(await harness.router.notify.toolListChanged()).toEqual({ delivered: 0, stored: 0, dropped: 0 });
  });
});

describe('a target', () => {
  test('{ session } reaches that session alone', async () => {
    await serve();
    const [one, other] = [await open('alice'), await open('alice')];
    const [mine, others] = [await streamOf(one), await streamOf(other)];
    const { notify } = harness.router;
    expect(await notify.send(log('mine'), { session: one.id })).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect(await notify.send(log('others'), { session: other.id })).toMatchObject({ delivered: 1 });
    expect(await notify.send(log('none'), { session: 'unknown' })).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    expect((await mine.message()).params.data).toBe('mine');
    expect((await others.message()).params.data).toBe('others');
  });

  test('{ principal } reaches the sessions and subscriptions of that principal', async () => {
    await serve();
    const alice = [await streamOf(await open('alice')), await listen({ toolsListChanged: true }, 'alice')];
    const bob = [await streamOf(await open('bob')), await listen({ toolsListChanged: true }, 'bob')];
    const { notify } = harness.router;
    expect(await notify.toolListChanged({ principal: 'alice' })).toEqual({ delivered: 2, stored: 0, dropped: 0 });
    await notify.send(log('bob'), { principal: 'bob' });
    expect(await notify.resourceListChanged({ principal: 'carol' })).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    for (const stream of alice) expect((await stream.message()).method).toBe(TOOLS);
    expect((await bob[0]!.message()).params.data).toBe('bob');
  });

  test('{ principal: { iss, sub } } names the principal that the default of option principal derives', async () => {
    const auth = { token: 't', clientId: 'c', scopes: [], extra: { iss: 'https://idp.example', sub: 'alice' } };
    harness = await start({ serverFactory: () => announcingServer().server }, (app, router) => {
      app.use('/mcp', (req, _res, next) => next(void Object.assign(req, { auth })), router);
    });
    const stream = await streamOf(await open());
    const { notify } = harness.router;
    const [mine, other] = ['alice', 'bob'].map((sub) => ({ principal: { iss: 'https://idp.example', sub } }));
    expect(await notify.toolListChanged(other)).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    expect(await notify.toolListChanged(mine)).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect((await stream.message()).method).toBe(TOOLS);
  });
});

describe('what clients have asked for', () => {
  test.each([
    ['in memory only', {}],
    ['in a record', { hibernateAfter: 60_000 }],
  ])('resourceUpdated() reaches only sessions that subscribed, whose subscriptions are kept %s', async (_, options) => {
    await serve(options);
    const sessions = [await open(), await open(), await open()] as const;
    const streams = await Promise.all(sessions.map((session) => streamOf(session)));
    for (const session of sessions.slice(0, 2)) await session.call(1, 'resources/subscribe', { uri: URI });
    const { notify } = harness.router;
    expect(await notify.resourceUpdated(URI)).toEqual({ delivered: 2, stored: 0, dropped: 0 });
    expect(await notify.resourceUpdated(`${URI}#part`)).toMatchObject({ delivered: 2 });
    expect(await notify.resourceUpdated('test://notes/12')).toMatchObject({ delivered: 0 });
    expect(await notify.resourceUpdated(URI, { session: sessions[2].id })).toMatchObject({ delivered: 0 });
    for (const stream of streams.slice(0, 2)) {
      expect(await stream.message()).toMatchObject({ method: UPDATED, params: { uri: URI } });
      expect(await stream.message()).toMatchObject({ params: { uri: `${URI}#part` } });
    }
  });

  test('a subscription that the server refused is none', async () => {
    await serve();
    const session = await open();
    await streamOf(session);
    await session.call(1, 'resources/subscribe', { uri: 'test://refused' });
    expect(await harness.router.notify.resourceUpdated('test://refused')).toMatchObject({ delivered: 0, dropped: 0 });
  });

  test('a log message reaches only sessions of that level or a lower one (server/utilities/logging)', async () => {
    await serve();
    const [quiet, unset] = [await open(), await open()];
    const [few, all] = [await streamOf(quiet), await streamOf(unset)];
    await quiet.call(1, 'logging/setLevel', { level: 'error' });
    const { notify } = harness.router;
    expect(await notify.send(log('minor', 'warning'))).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect(await notify.send(log('major', 'error'))).toEqual({ delivered: 2, stored: 0, dropped: 0 });
    expect((await few.message()).params.data).toBe('major');
    expect((await all.message()).params.data).toBe('minor');
  });

  test('nothing that the server has not declared reaches a client, in either era (spec, "Capabilities" of each feature)', async () => {
    const capabilities = { tools: {}, prompts: { listChanged: true }, resources: {} };
    const serverFactory = () => {
      const server = new Server({ name: 'quiet', version: '1.0.0' }, { capabilities });
      server.setRequestHandler(SubscribeRequestSchema, () => ({}));
      return server;
    };
    await serve({ serverFactory });
    const session = await open();
    const stream = await streamOf(session);
    await session.call(1, 'resources/subscribe', { uri: URI });
    await listen({ toolsListChanged: true, resourceSubscriptions: [URI] });
    const { notify } = harness.router;
    const dropped = { delivered: 0, stored: 0, dropped: 1 };
    expect(await notify.toolListChanged()).toEqual(dropped);
    expect(await notify.resourceListChanged()).toEqual(dropped);
    expect(await notify.resourceUpdated(URI)).toEqual(dropped);
    expect(await notify.send(log('unseen'))).toEqual(dropped);
    expect(await notify.promptListChanged()).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect((await stream.message()).method).toBe('notifications/prompts/list_changed');
  });

  test('a subscription of MCP 2026-07-28 gets the types of its filter, with its ID; other notifications are dropped', async () => {
    await serve();
    const stream = await listen({ resourceSubscriptions: [URI] });
    const { notify } = harness.router;
    expect(await notify.send(log('no'))).toEqual({ delivered: 0, stored: 0, dropped: 1 });
    expect(await notify.toolListChanged()).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    expect(await notify.resourceUpdated(`${URI}/x`)).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    const _meta = { 'io.modelcontextprotocol/subscriptionId': expect.anything() as unknown };
    expect(await stream.message()).toMatchObject({ method: UPDATED, params: { uri: `${URI}/x`, _meta } });
  });
});

describe('a client that is away', () => {
  test('gets what the event store keeps when it resumes (basic/transports, "Resumability and Redelivery")', async () => {
    await serve({ eventStore: memoryEventStore() });
    const session = await open();
    const client = new AbortController();
    const stream = await session.stream(undefined, client.signal);
    const { notify } = harness.router;
    expect(await notify.send(log('first'))).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    const { id, message } = await stream.event();
    expect(message.params.data).toBe('first');
    client.abort();
    await until('the stream is closed', async () => {
      const { delivered } = await notify.send(log('second'));
      return delivered === 0;
    });
    expect(await notify.send(log('third'))).toEqual({ delivered: 0, stored: 1, dropped: 0 });
    const resumed = await streamOf(session, id);
    const seen: string[] = [];
    while (seen.at(-1) !== 'third') seen.push((await resumed.message()).params.data);
    expect(seen.slice(-2)).toEqual(['second', 'third']);
  });

  test('gets nothing stored before it has an event ID, which it needs to resume (docs/notify.md, "The counts")', async () => {
    const eventStore = memoryEventStore();
    const stored = jest.spyOn(eventStore, 'storeEvent');
    await serve({ eventStore });
    const dropped = { delivered: 0, stored: 0, dropped: 1 };
    // A version before 2025-11-25 has no event ID at the start of a stream.
    for (const version of ['2025-11-25', '2025-06-18']) {
      const session = await RawSession.open(harness.url, { version });
      const tell = () => harness.router.notify.send(log('away'), { session: session.id });
      expect(await tell()).toEqual(dropped);
      expect(stored).not.toHaveBeenCalled();
      await openAndClose(session);
      const isPrimed = version === '2025-11-25';
      expect(await tell()).toEqual(isPrimed ? { delivered: 0, stored: 1, dropped: 0 } : dropped);
      stored.mockClear();
    }
  });

  test('is not woken while its session hibernates, and its settings count even then', async () => {
    const clock = new FakeClock();
    await serve({ hibernateAfter: 1_000, orphanAfter: 1_000, clock });
    const session = await open();
    await session.call(1, 'resources/subscribe', { uri: URI });
    await session.call(2, 'logging/setLevel', { level: 'error' });
    clock.advance(5_000);
    const { notify, sessions } = harness.router;
    await until('the session hibernates', () => sessions.get(session.id)?.state === 'hibernated');
    const parse = jest.spyOn(JSON, 'parse');
    expect(await notify.resourceUpdated(URI)).toEqual({ delivered: 0, stored: 0, dropped: 1 });
    expect(await notify.resourceUpdated('test://other')).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    expect(await notify.send(log('minor'))).toEqual({ delivered: 0, stored: 0, dropped: 0 });
    // Its record, which may be large, is read once.
    expect(parse.mock.calls.filter(([text]) => text.includes(URI) && text.includes('"error"'))).toHaveLength(1);
    parse.mockRestore();
    expect(sessions.get(session.id)?.state).toBe('hibernated');
    const stream = await streamOf(session);
    expect(await notify.resourceUpdated(URI)).toEqual({ delivered: 1, stored: 0, dropped: 0 });
    expect((await stream.message()).method).toBe(UPDATED);
  });
});

describe('what is in flight', () => {
  test('takes small pieces of each turn of the event loop, so that other requests are served meanwhile', async () => {
    await serve();
    const turns: number[] = [];
    let turn = 0;
    const count = (): void => {
      turn += 1;
      if (turns.length < 1_000) setImmediate(count);
    };
    setImmediate(count);
    const stream = { notify: () => (turns.push(turn), 'delivered' as const) };
    const sessions = { get: () => undefined, all: () => [], ofPrincipal: () => [] };
    // The clock stands still, so that no time is ever spent.
    const delivery = new LocalDelivery(
      sessions,
      () => Array<typeof stream>(1_000).fill(stream),
      new FakeClock(),
      () => undefined,
    );
    const message = { jsonrpc: '2.0' as const, method: TOOLS };
    expect(await delivery.deliver({ message })).toMatchObject({ delivered: 1_000 });
    // At most two pieces in the same turn.
    for (const [at, each] of turns.slice(50).entries()) expect(each).toBeGreaterThan(turns[at]!);
  });

  test('does not wait for a reader that has stalled, whose stream ends at maxStreamBuffer', async () => {
    await serve({ maxStreamBuffer: 100_000 });
    const [slow, fast] = [await open(), await open()];
    const stalled = await StalledReader.open(harness.http, slow);
    const stream = await streamOf(fast);
    const text = 'x'.repeat(50_000);
    let outcome = { delivered: 0, stored: 0, dropped: 0 };
    for (let n = 0; outcome.dropped === 0; n += 1) {
      outcome = await harness.router.notify.send(log(`${n} ${text}`));
      expect((await stream.message()).params.data).toBe(`${n} ${text}`);
    }
    expect(outcome).toEqual({ delivered: 1, stored: 0, dropped: 1 });
    stalled.destroy();
  });

  test('has a bound for each session where the event store hangs', async () => {
    let hangs = false;
    const storeEvent = () => (hangs ? never() : Promise.resolve('1'));
    const eventStore = { storeEvent, replayEventsAfter: never } satisfies EventStore;
    const clock = new FakeClock();
    await serve({ eventStore, clock, maxBodySize: 32 * 1024 * 1024 });
    const session = await open();
    await openAndClose(session);
    hangs = true;
    const waiting = Array.from({ length: 32 }, () => harness.router.notify.send(log('waits'), { session: session.id }));
    expect(await harness.router.notify.send(log('one more'))).toEqual({ delivered: 0, stored: 0, dropped: 1 });
    await harness.router.notify.send(log('x'.repeat(17 * 1024 * 1024))).then(
      () => expect('it was sent').toBe('it was refused'),
      (error: unknown) => expect(String(error)).toContain('too many notifications are in flight'),
    );
    // Not awaited: its rejection must not end the process.
    void harness.router.notify.send(log('x'.repeat(17 * 1024 * 1024)));
    // The event store is given up.
    clock.advance(10_000);
    for (const { dropped } of await Promise.all(waiting)) expect(dropped).toBe(1);
  });
});

describe('bad arguments', () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;

  test.each<[string, unknown, unknown]>([
    ['no notification', undefined, undefined],
    ['a notification without a method', {}, undefined],
    ['a method that is no text', { method: 7 }, undefined],
    ['a request', { id: 1, method: 'ping' }, undefined],
    ['an unknown JSON-RPC version', { jsonrpc: '1.0', method: TOOLS }, undefined],
    ['params that are no object', { method: TOOLS, params: [1] }, undefined],
    ['params whose JSON is no object', { method: TOOLS, params: new Date(0) }, undefined],
    ['a _meta that is no object', { method: TOOLS, params: { _meta: 'x' } }, undefined],
    ['params that JSON cannot have', { method: TOOLS, params: circular }, undefined],
    ['a notification of a request', { method: 'notifications/progress', params: {} }, undefined],
    ['an update without a URI', { method: UPDATED, params: {} }, undefined],
    ['an unknown log level', log('x', 'loud'), undefined],
    ['a target that is null', { method: TOOLS }, null],
    ['a target without a value', { method: TOOLS }, { session: undefined }],
    ['an empty session ID', { method: TOOLS }, { session: '' }],
    ['two targets', { method: TOOLS }, { session: 'a', principal: 'b' }],
    ['an unknown target', { method: TOOLS }, { tenant: 'a' }],
    ['claims where the app names principals', { method: TOOLS }, { principal: { sub: 'alice' } }],
    ['a notification of more than maxBodySize', log('x'.repeat(100_000)), undefined],
  ])('%s: a TypeError, and no client gets anything', async (_, notification, target) => {
    await serve({ maxBodySize: 50_000 });
    const stream = await streamOf(await open());
    const { notify } = harness.router;
    await expect(notify.send(notification as JSONRPCNotification, target as NotifyTarget)).rejects.toThrow(TypeError);
    await notify.send(log('next'));
    expect((await stream.message()).params.data).toBe('next');
  });
});

test('claims of a wrong type are a TypeError', async () => {
  await serve({ principal: undefined });
  const target = { principal: { iss: 'https://idp.example', sub: 7 } } as unknown as NotifyTarget;
  await expect(harness.router.notify.toolListChanged(target)).rejects.toThrow(TypeError);
});

test('router.notify(path, handler) adds a route for the HTTP method NOTIFY, as on each Express router', async () => {
  await serve();
  expect(harness.router.notify('/upnp', (_req, res) => void res.send('notified'))).toBe(harness.router);
  expect(harness.router.stack).toHaveLength(2);
});
