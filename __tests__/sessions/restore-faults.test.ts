import { InitializeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore, type McpRouterOptions, type ServerFactory } from '../../src/index.js';
import { echoServer, openSession, post } from '../support/harness.js';
import { notesServer } from '../support/notes-server.js';
import { RawSession } from '../support/raw-session.js';
import { Restartable } from '../support/restartable.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Faults while a session is restored, or its record is written (docs/restart.md).

let endpoint: Restartable;
const begin = async (
  options: Partial<McpRouterOptions> = {},
  factory: ServerFactory = notesServer,
): Promise<Restartable> => (endpoint = await Restartable.start(factory, options));

afterEach(async () => {
  endpoint.store.trouble = undefined;
  endpoint.store.resume();
  await endpoint.stop();
});

let pings = 0;
async function ping(id: string, headers: Record<string, string> = {}): Promise<number> {
  const body = { jsonrpc: '2.0', id: ++pings, method: 'ping' };
  const response = await post(endpoint.url, body, { 'mcp-session-id': id, ...headers });
  await response.text();
  return response.status;
}

const MINUTE = 60_000;
const TTL = 10 * MINUTE;
/** A record is touched four times within its session's time to live. */
const TOUCHED_AFTER = TTL / 4;

describe('a restore', () => {
  test('fails with 503 while the server rejects initialize, and the session is there for the next request', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.factory = (context) => {
      const server = notesServer(context);
      server.server.setRequestHandler(InitializeRequestSchema, () => Promise.reject(new Error('not today')));
      return server;
    };
    expect(await ping(id)).toBe(503);
    expect(endpoint.log.text).toContain('the server rejected initialize: not today');
    endpoint.factory = notesServer;
    expect(await ping(id)).toBe(200);
  });

  test('goes on when the new server refuses a subscription that the old one took, and logs that', async () => {
    await begin();
    const session = await RawSession.open(endpoint.url);
    await session.call(1, 'resources/subscribe', { uri: 'note:a' });
    endpoint.crash();
    endpoint.factory = echoServer;
    expect(await ping(session.id)).toBe(200);
    expect(endpoint.log.text).toContain('a restored server refuses resources/subscribe');
  });

  test('gives up with 503 after three claims that others won', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    let claims = 0;
    const { claim } = endpoint.store;
    endpoint.store.claim = () => Promise.resolve(((claims += 1), false));
    expect([await ping(id), claims]).toEqual([503, 3]);
    expect(endpoint.contexts).toHaveLength(1);
    endpoint.store.claim = claim;
    expect(await ping(id)).toBe(200);
  });

  test('fails with 503 while the store does not tell how long a session was idle, which maxLifetime counts', async () => {
    await begin({ maxLifetime: 100 * MINUTE });
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.store.only = ['remaining'];
    endpoint.store.trouble = 'fails';
    expect(await ping(id)).toBe(503);
    endpoint.store.trouble = undefined;
    expect(await ping(id)).toBe(200);
  });

  test('with and without a principal at the same time build one server, and both are answered', async () => {
    await begin({ adoptAnonymous: true });
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.store.hold();
    const answers = [ping(id, { 'x-user': 'alice' }), ping(id)];
    await until('both read the record', () => endpoint.store.held === 2);
    endpoint.store.resume();
    const [named, anonymous] = await Promise.all(answers);
    expect(named).toBe(200);
    expect([200, 404]).toContain(anonymous);
    expect(endpoint.router.sessions.get(id)?.principal).toBe('alice');
  });

  test('from hibernation that takes until maxLifetime opens no stream: 404', async () => {
    await begin({ maxLifetime: 10 * MINUTE, orphanAfter: 1_000, hibernateAfter: 1_000 });
    const id = await openSession(endpoint.url);
    await until('it hibernates', () => {
      endpoint.clock.advance(1_001);
      return endpoint.router.sessions.get(id)?.state === 'hibernated';
    });
    const gate = new Deferred();
    endpoint.factory = async (context) => {
      await gate.promise;
      return notesServer(context);
    };
    endpoint.clock.advance(10 * MINUTE - 10_000);
    const headers = { 'mcp-session-id': id, accept: 'text/event-stream' };
    const stream = fetch(endpoint.url, { headers });
    await until('the factory is called', () => endpoint.contexts.length === 2);
    endpoint.clock.advance(10_000);
    gate.resolve();
    expect((await soon('the answer', stream)).status).toBe(404);
    expect(await ping(id)).toBe(404);
  });
});

describe('the record of an open session', () => {
  test('that another process has removed ends the session once its touch finds none, and its stream', async () => {
    await begin({ ttl: TTL });
    const session = await RawSession.open(endpoint.url);
    const stream = await session.stream();
    const closed: string[] = [];
    endpoint.router.sessions.on('closed', (_session, reason) => closed.push(reason));
    await endpoint.store.destroy(session.id);
    endpoint.clock.advance(TOUCHED_AFTER);
    await soon('the stream has ended', stream.blocks());
    expect(closed).toEqual(['deleted']);
    expect(await ping(session.id)).toBe(404);
  });

  test('that a touch and a write miss at the same time ends the session once', async () => {
    await begin({ ttl: TTL });
    const session = await RawSession.open(endpoint.url);
    const stream = await session.stream();
    const closed: string[] = [];
    endpoint.router.sessions.on('closed', (_session, reason) => closed.push(reason));
    await endpoint.store.destroy(session.id);
    endpoint.store.hold();
    endpoint.clock.advance(TOUCHED_AFTER);
    const written = endpoint.contexts[0]!.state.set('a', 1);
    await until('both ask the store', () => endpoint.store.held === 2);
    endpoint.store.resume();
    await expect(written).rejects.toThrow('Session not found');
    await soon('the stream has ended', stream.blocks());
    expect(closed).toEqual(['deleted']);
  });

  test('whose touch fails after the session has ended causes no log line', async () => {
    await begin({ ttl: TTL });
    const session = await RawSession.open(endpoint.url);
    const stream = await session.stream();
    const touched = new Deferred<boolean>();
    let touches = 0;
    endpoint.store.touch = () => ((touches += 1), touched.promise);
    endpoint.clock.advance(TOUCHED_AFTER);
    await until('the record is being touched', () => touches === 1);
    expect((await session.terminate()).status).toBe(200);
    await stream.blocks();
    touched.reject(new Error('too late'));
    await new Promise(setImmediate);
    expect(endpoint.log.text).not.toContain('too late');
  });

  test('keeps closeByPrincipal from resolving while it cannot be removed, and the session goes on', async () => {
    await begin();
    const headers = { 'x-user': 'alice' };
    const id = await openSession(endpoint.url, headers);
    endpoint.store.trouble = 'fails';
    await expect(endpoint.router.sessions.closeByPrincipal('alice')).rejects.toThrow('the store does not answer');
    endpoint.store.trouble = undefined;
    expect(await ping(id, headers)).toBe(200);
    expect(await endpoint.router.sessions.closeByPrincipal('alice')).toBe(1);
  });
});

test('without a cluster, sessions.list of the cluster lists those of this process', async () => {
  await begin();
  const id = await openSession(endpoint.url);
  expect(await endpoint.router.sessions.list({ cluster: true })).toEqual([expect.objectContaining({ id })]);
});

test('the signal of a context is one and the same whenever it is read, and warns of no leak', async () => {
  await begin();
  const session = await RawSession.open(endpoint.url);
  const [context] = endpoint.contexts;
  const { signal } = context!;
  expect(context!.signal).toBe(signal);
  await session.terminate();
  expect(signal.aborted).toBe(true);
});

test('a subscription that is cancelled while it is saved gets no answer, and its ID is free again', async () => {
  await begin({ eventStore: memoryEventStore() });
  const session = await RawSession.open(endpoint.url);
  endpoint.store.hold();
  const reply = session.request(1, 'resources/subscribe', { uri: 'note:a' });
  await until('the subscription is being saved', () => endpoint.store.held === 1);
  await session.cancel(1);
  endpoint.store.resume();
  expect(await (await reply).text()).not.toContain('"result"');
  expect(await session.call(1, 'ping')).toMatchObject({ id: 1, result: {} });
});
