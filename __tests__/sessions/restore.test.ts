import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { Registry } from 'prom-client';
import type { SessionInstrumentation } from '../../src/options/telemetry.js';
import type { Clock } from '../../src/runtime/clock.js';
import type { McpRouterOptions, ServerFactory } from '../../src/index.js';
import { echoCall, echoServer, initializeBody, openSession, post } from '../support/harness.js';
import { memoryEventStore } from '../../src/stores/index.js';
import { newServer, notesServer } from '../support/notes-server.js';
import { RawSession } from '../support/raw-session.js';
import { Restartable } from '../support/restartable.js';
import { Deferred, soon, until } from '../support/waiting.js';

let endpoint: Restartable;
const clients: Client[] = [];

const begin = async (
  options: Partial<McpRouterOptions> = {},
  factory: ServerFactory = notesServer,
): Promise<Restartable> => (endpoint = await Restartable.start(factory, options));

afterEach(async () => {
  endpoint.store.trouble = undefined;
  endpoint.store.resume();
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await endpoint.stop();
});

async function connect(headers: Record<string, string> = {}): Promise<Client> {
  const client = new Client({ name: 'tester', version: '1.2.3' }, { capabilities: { roots: {} } });
  clients.push(client);
  await client.connect(new StreamableHTTPClientTransport(endpoint.url, { requestInit: { headers } }));
  return client;
}

async function call(client: Client, name: string, args: Record<string, unknown> = {}): Promise<unknown> {
  const { content } = await client.callTool({ name, arguments: args });
  return JSON.parse((content as { text: string }[])[0]!.text) as unknown;
}

/** Each with an ID of its own: some are in flight at once. */
let pings = 0;
const ping = (id: string, headers: Record<string, string> = {}): Promise<Response> =>
  post(endpoint.url, { jsonrpc: '2.0', id: ++pings, method: 'ping' }, { 'mcp-session-id': id, ...headers });

/** The status and the JSON-RPC error code of an answer. */
async function refusal(answer: Promise<Response>): Promise<[number, number | undefined, string | null]> {
  const response = await answer;
  const { error } = (await response.json()) as { error?: { code: number } };
  return [response.status, error?.code, response.headers.get('retry-after')];
}

/** The JSON text of nested arrays. */
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

const MINUTE = 60_000;
const NOT_FOUND = [404, -32001, null];
const UNAVAILABLE = [503, -32000, '5'];

describe('a session after a restart (its record is in the store)', () => {
  test('keeps notes, log level and subscriptions, and its client sees no error', async () => {
    await begin();
    const client = await connect();
    const logged: unknown[] = [];
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void logged.push(params.data));
    await call(client, 'add', { text: 'one' });
    await client.setLoggingLevel('warning');
    await client.subscribeResource({ uri: 'note:a' });
    await client.subscribeResource({ uri: 'note:b' });
    await client.unsubscribeResource({ uri: 'note:a' });
    const { sessionId } = client.transport as StreamableHTTPClientTransport;

    for (const epoch of [1, 2, 3]) {
      endpoint.crash();
      expect(await call(client, 'add', { text: `after ${epoch}` })).toHaveLength(epoch + 1);
      expect(await call(client, 'subscriptions')).toEqual(['note:b']);
      const context = endpoint.contexts.at(-1)!;
      expect(context).toMatchObject({ sessionId, restored: true, epoch, principal: undefined });
      expect(context.clientInfo).toEqual({ name: 'tester', version: '1.2.3' });
      expect(context.clientCapabilities).toEqual({ roots: {} });
    }
    expect(endpoint.contexts).toHaveLength(4);
    expect(endpoint.router.sessions.get(sessionId!)).toMatchObject({ state: 'active', protocolVersion: '2025-11-25' });
    expect(await endpoint.metric('mcp_sessions_restored_total')).toBe('1');
    expect(await endpoint.metric('mcp_sessions_active')).toBe('1');
  });

  test('counts once in the duration of sessions, with the time before the restart (docs/telemetry.md, "Metrics")', async () => {
    const durations: number[] = [];
    const telemetry = {
      scope: 'test',
      instrument: () =>
        ({ sessionEnded: (ms: number) => void durations.push(ms) }) as unknown as SessionInstrumentation,
    };
    await begin({ metrics: { registry: new Registry() }, telemetry });
    const { id } = await RawSession.open(endpoint.url);
    endpoint.clock.advance(MINUTE);
    await endpoint.router.close();
    endpoint.crash();
    expect((await ping(id)).status).toBe(200);
    endpoint.clock.advance(MINUTE);
    await fetch(endpoint.url, { method: 'DELETE', headers: { 'mcp-session-id': id } });
    expect(await endpoint.metric('mcp_server_session_duration_seconds_count')).toBe('1');
    expect(await endpoint.metric('mcp_server_session_duration_seconds_sum')).toBe('120');
    expect(durations).toEqual([2 * MINUTE]);
  });

  test('keeps its log level: lower messages are not sent', async () => {
    await begin();
    const session = await RawSession.open(endpoint.url);
    await session.call(1, 'logging/setLevel', { level: 'warning' });
    endpoint.crash();
    const stream = await session.stream();
    await session.call(2, 'tools/call', { name: 'log', arguments: {} });
    const data = [await stream.event(), await stream.event()].map(({ message }) => message.params.data);
    expect(data).toEqual(['warning', 'error']);
  });

  test.each(['2025-03-26', '2025-06-18', '2025-11-25'])(
    'keeps its negotiated protocol version: %s',
    async (version) => {
      await begin();
      const session = await RawSession.open(endpoint.url, { version });
      endpoint.crash();
      const batch = [{ jsonrpc: '2.0', id: 1, method: 'ping' }];
      expect((await session.post(batch)).status).toBe(version === '2025-03-26' ? 200 : 400);
      expect(endpoint.router.sessions.get(session.id)?.protocolVersion).toBe(version);
    },
  );

  test('200 simultaneous first requests build one server, and all are answered', async () => {
    const gate = new Deferred();
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.factory = async (context) => {
      await gate.promise;
      return notesServer(context);
    };
    const answers = Array.from({ length: 200 }, (_, n) =>
      post(endpoint.url, { jsonrpc: '2.0', id: n, method: 'ping' }, { 'mcp-session-id': id }),
    );
    await until('the factory is called', () => endpoint.contexts.length === 2);
    gate.resolve();
    const statuses = await Promise.all(answers.map(async (answer) => (await answer).status));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(endpoint.contexts).toHaveLength(2);
    expect(endpoint.store.asked.filter((asked) => asked === `claim ${id}`)).toHaveLength(1);
  });

  test('is 404 for another principal and builds no server for it, also while its own principal restores it', async () => {
    await begin();
    const id = await openSession(endpoint.url, { 'x-user': 'alice' });
    endpoint.crash();
    endpoint.store.hold();
    const answers = ['bob', 'alice', '', 'bob', 'alice'].map((user) => ping(id, user === '' ? {} : { 'x-user': user }));
    await until('the store is asked', () => endpoint.store.held === 3);
    endpoint.store.resume();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([404, 200, 404, 404, 200]);
    expect(endpoint.contexts).toHaveLength(2);
    expect(endpoint.contexts.at(-1)).toMatchObject({ principal: 'alice', restored: true });
    expect((await ping(id, { 'x-user': 'bob' })).status).toBe(404);
  });

  test.each([
    ['no UUID', 'no-session-of-ours'],
    ['another case', 'A0A0A0A0-0000-4000-8000-000000000000'],
    ['too long', 'a'.repeat(10_000)],
    ['a word of JavaScript', '__proto__'],
  ])('a forged ID never reaches the store: %s', async (_what, id) => {
    await begin();
    for (const method of ['POST', 'GET', 'DELETE']) {
      const accept = method === 'GET' ? { accept: 'text/event-stream' } : {};
      const answer =
        method === 'POST' ? ping(id) : fetch(endpoint.url, { method, headers: { 'mcp-session-id': id, ...accept } });
      expect(await refusal(answer)).toEqual(NOT_FOUND);
    }
    expect(endpoint.store.asked).toEqual([]);
  });

  test('an ID of the app’s own generator reaches the store up to 128 characters', async () => {
    await begin({ sessionIdGenerator: () => 'app/1' });
    await openSession(endpoint.url);
    endpoint.crash();
    expect((await ping('app/1')).status).toBe(200);
    expect((await ping('x'.repeat(128))).status).toBe(404);
    expect((await ping('x'.repeat(129))).status).toBe(404);
    expect(endpoint.store.asked.filter((asked) => asked.startsWith('get x'))).toEqual([`get ${'x'.repeat(128)}`]);
  });

  test('its record holds the initialize params, and no token or other part of a request', async () => {
    await begin({ principal: () => 'alice' });
    const secret = 'SECRET-TOKEN';
    const response = await post(
      endpoint.url,
      {
        jsonrpc: '2.0',
        id: 0,
        method: 'initialize',
        params: {
          protocolVersion: '2025-11-25',
          capabilities: {},
          clientInfo: { name: 'raw', version: '1' },
          _meta: { token: secret },
        },
      },
      { authorization: `Bearer ${secret}`, cookie: secret },
    );
    const id = response.headers.get('mcp-session-id')!;
    await response.text();
    const { data } = (await endpoint.store.get(id))!;
    expect(data).not.toContain(secret);
    expect(JSON.parse(data)).toEqual({
      v: 1,
      id,
      principal: 'alice',
      initialize: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
      protocolVersion: '2025-11-25',
      openedAt: endpoint.clock.wallTime(),
      age: 0,
    });
  });

  test('1,000 late answers to requests of an earlier epoch resolve no request', async () => {
    const asked: Promise<unknown>[] = [];
    await begin({}, (context) => {
      const server = notesServer(context);
      server.server.oninitialized = () => {
        for (let n = 0; n < 3; n += 1) asked.push(server.server.listRoots().catch((error: unknown) => error));
      };
      return server;
    });
    const session = await RawSession.open(endpoint.url, { capabilities: { roots: {} } });
    await until('the server asks', () => asked.length === 3);
    endpoint.crash();
    await session.call(1, 'ping');
    await until('the restored server asks', () => asked.length === 6);
    let settled = false;
    const late = Promise.race(asked.slice(3)).then(() => (settled = true));
    for (let n = 0; n < 10; n += 1) {
      await Promise.all(
        Array.from({ length: 100 }, (_, i) => session.answer(i % 10, { roots: [{ uri: `file:///late-${n}` }] })),
      );
    }
    expect(settled).toBe(false);
    const stream = await session.stream();
    const { message } = await stream.event();
    expect(message.id).toBeGreaterThan(2 ** 32 - 1);
    await session.answer(message.id, { roots: [] });
    await late;
    expect(settled).toBe(true);
  });
});

describe('a record that can never be restored is 404, removed, logged and counted', () => {
  const change = (patch: object) => (data: string) => JSON.stringify({ ...(JSON.parse(data) as object), ...patch });

  test.each<[string, (data: string) => string]>([
    ['no JSON', () => '{'],
    ['no object', () => '[1]'],
    ['a format that is none', change({ v: 0 })],
    ['the record of another session', change({ id: 'other' })],
    ['no initialize params', change({ initialize: { capabilities: {} } })],
    ['a protocol version that is not supported', change({ protocolVersion: '2019-01-01' })],
    ['a log level that is none', change({ logLevel: 'loud' })],
    ['subscriptions that are none', change({ subscriptions: 'all' })],
    ['state that is none', change({ state: [] })],
    ['no time of opening', change({ openedAt: undefined })],
    ['an age that is none', change({ age: -1 })],
    // As text, because `JSON.stringify` cannot write it.
    ['state nested 20,000 deep', (data) => data.replace(/\}$/, `,"state":{"a":${nested(20_000)}}}`)],
    ['initialize nested 20,000 deep', (data) => data.replace('"capabilities":{', `$&"a":${nested(20_000)},`)],
  ])('%s', async (_what, broken) => {
    await begin();
    const id = await openSession(endpoint.url);
    const { data, epoch } = (await endpoint.store.get(id))!;
    await endpoint.store.update(id, epoch, broken(data), 60_000);
    endpoint.crash();
    expect(await refusal(ping(id))).toEqual(NOT_FOUND);
    expect(await endpoint.store.get(id)).toBeUndefined();
    expect(endpoint.contexts).toHaveLength(1);
    expect(await endpoint.metric('mcp_sessions_rejected_total{reason="unrestorable"}')).toBe('1');
    expect(endpoint.log.text).toContain('a session can never be restored');
    expect(endpoint.log.text).not.toContain(id);
  });

  test('a server that no longer speaks the version of its session', async () => {
    await begin();
    const id = await openSession(endpoint.url, {}, '2025-03-26');
    endpoint.crash();
    endpoint.factory = newServer;
    expect(await refusal(ping(id))).toEqual(NOT_FOUND);
    expect(await endpoint.store.get(id)).toBeUndefined();
    expect(endpoint.router.sessions.stats().initializing).toBe(0);
  });
});

describe('a restore that fails for a time is 503 with Retry-After, and keeps the record', () => {
  test('a serverFactory that throws: its database is not up yet', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.factory = () => Promise.reject(new Error('no database yet'));
    const answers = await Promise.all([refusal(ping(id)), refusal(ping(id)), refusal(ping(id))]);
    expect(answers).toEqual([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]);
    // Counted for each attempt, not for each request that waits for it.
    const tried = endpoint.contexts.length - 1;
    expect(await endpoint.metric('mcp_sessions_rejected_total{reason="restoreFailed"}')).toBe(String(tried));
    expect(endpoint.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    endpoint.factory = notesServer;
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.contexts.at(-1)?.epoch).toBe(tried + 1);
  });

  test('a server that takes longer than openTimeout', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.factory = () => new Promise(() => undefined);
    const answer = refusal(ping(id));
    await until('the factory is called', () => endpoint.contexts.length === 2);
    endpoint.clock.advance(30_000);
    expect(await answer).toEqual(UNAVAILABLE);
    endpoint.factory = notesServer;
    expect((await ping(id)).status).toBe(200);
  });

  test.each(['get', 'claim'] as const)('a store that rejects %s, or does not answer it', async (method) => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.store.only = [method];
    endpoint.store.trouble = 'fails';
    expect(await refusal(ping(id))).toEqual(UNAVAILABLE);
    endpoint.store.trouble = 'hangs';
    const before = endpoint.store.asked.length;
    const answer = refusal(ping(id));
    await until('the store is asked', () => endpoint.store.asked.slice(before).includes(`${method} ${id}`));
    endpoint.clock.advance(5_000);
    expect(await answer).toEqual(UNAVAILABLE);
    endpoint.store.trouble = undefined;
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.clock.pending).toBeGreaterThan(0);
  });

  test.each([
    ['a later format', { v: 2 }],
    ['a later protocol version', { protocolVersion: '2999-01-01' }],
  ])('a record of a newer router, which may run beside this one: %s', async (_what, patch) => {
    await begin();
    const id = await openSession(endpoint.url);
    const { data, epoch } = (await endpoint.store.get(id))!;
    await endpoint.store.update(id, epoch, JSON.stringify({ ...(JSON.parse(data) as object), ...patch }), 60_000);
    endpoint.crash();
    expect(await refusal(ping(id))).toEqual(UNAVAILABLE);
    expect(await endpoint.store.get(id)).toBeDefined();
  });

  test('a cap that is reached, as for a new session', async () => {
    await begin({ maxSessions: 1 });
    const id = await openSession(endpoint.url);
    endpoint.crash();
    const other = await openSession(endpoint.url);
    expect(await refusal(ping(id))).toEqual(UNAVAILABLE);
    endpoint.clock.advance(60_000);
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.router.sessions.get(other)).toBeUndefined();
  });
});

describe('the end of a session is final', () => {
  const remove = (id: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(endpoint.url, { method: 'DELETE', headers: { 'mcp-session-id': id, ...headers } });

  test('DELETE of a stored session removes its record and builds no server; for another principal it is 404', async () => {
    await begin();
    const id = await openSession(endpoint.url, { 'x-user': 'alice' });
    endpoint.crash();
    expect(await refusal(remove(id, { 'x-user': 'bob' }))).toEqual(NOT_FOUND);
    expect(await endpoint.store.get(id)).toBeDefined();
    expect((await remove(id, { 'x-user': 'alice' })).status).toBe(200);
    expect(await endpoint.store.get(id)).toBeUndefined();
    expect(endpoint.contexts).toHaveLength(1);
    expect(await refusal(remove(id, { 'x-user': 'alice' }))).toEqual(NOT_FOUND);
  });

  test('DELETE is answered 200 only when the record is gone; while the store is away, 503, and the session lives', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.store.trouble = 'fails';
    expect(await refusal(remove(id))).toEqual(UNAVAILABLE);
    expect((await ping(id)).status).toBe(200);
    endpoint.crash();
    expect(await refusal(remove(id))).toEqual(UNAVAILABLE);
    endpoint.store.trouble = undefined;
    expect((await remove(id)).status).toBe(200);
    expect((await ping(id)).status).toBe(404);
  });

  test('a write that is in flight at the DELETE brings nothing back', async () => {
    await begin();
    const client = await connect();
    const id = (client.transport as StreamableHTTPClientTransport).sessionId!;
    endpoint.store.hold();
    const writing = call(client, 'add', { text: 'in flight' }).catch((error: unknown) => error);
    await until('the write is under way', () => endpoint.store.held === 1);
    const removing = remove(id);
    await until('the DELETE is under way', () => endpoint.store.held === 2);
    endpoint.store.resume();
    expect((await removing).status).toBe(200);
    await soon('the end of the call', writing);
    expect(await endpoint.store.get(id)).toBeUndefined();
    endpoint.crash();
    expect((await ping(id)).status).toBe(404);
  });

  test('a DELETE while the session is being restored ends it', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    const gate = new Deferred();
    endpoint.factory = async (context) => {
      await gate.promise;
      return notesServer(context);
    };
    const pinged = ping(id);
    await until('it is being restored', () => endpoint.contexts.length === 2);
    const removing = remove(id);
    gate.resolve();
    expect((await removing).status).toBe(200);
    await (await pinged).text();
    expect(await endpoint.store.get(id)).toBeUndefined();
    expect((await ping(id)).status).toBe(404);
    expect(endpoint.router.sessions.list()).toEqual([]);
  });

  test.each<[string, (id: string) => unknown]>([
    ['it expires', () => endpoint.clock.advance(1_800_000)],
    ['the app closes it', (id) => endpoint.router.sessions.close(id)],
    ['the app closes all of its principal', () => endpoint.router.sessions.closeByPrincipal('alice')],
  ])('its record goes when %s', async (_why, end) => {
    await begin();
    const id = await openSession(endpoint.url, { 'x-user': 'alice' });
    await end(id);
    await until('it is gone', async () => (await endpoint.store.get(id)) === undefined);
    endpoint.crash();
    expect((await ping(id, { 'x-user': 'alice' })).status).toBe(404);
  });

  test('the app can end a session that is only stored', async () => {
    await begin();
    const id = await openSession(endpoint.url, { 'x-user': 'alice' });
    endpoint.crash();
    expect(await endpoint.router.sessions.close(id)).toBe(true);
    expect(await endpoint.router.sessions.close(id)).toBe(false);
    expect((await ping(id, { 'x-user': 'alice' })).status).toBe(404);
  });

  test('sessions.close ends a session that is being restored, even if the restore fails', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.factory = () => Promise.reject(new Error('no database'));
    endpoint.store.only = undefined;
    endpoint.store.hold();
    const pinged = ping(id);
    await until('it is read', () => endpoint.store.held === 1);
    endpoint.store.resume();
    endpoint.store.hold();
    await until('it is claimed', () => endpoint.store.held === 1);
    const closing = endpoint.router.sessions.close(id);
    endpoint.store.resume();
    await closing;
    await pinged;
    endpoint.factory = notesServer;
    expect(await refusal(ping(id))).toEqual(NOT_FOUND);
  });

  test('a DELETE that reads the record at the same time as another request ends the session', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.store.hold();
    const pinged = ping(id);
    await until('it is read', () => endpoint.store.held === 1);
    const removing = remove(id);
    await until('it is read again', () => endpoint.store.held === 2);
    endpoint.store.resume();
    expect((await removing).status).toBe(200);
    await (await pinged).text();
    expect(await refusal(ping(id))).toEqual(NOT_FOUND);
    expect(endpoint.router.sessions.list()).toEqual([]);
  });

  test('sessions.close rejects while the store is away, and the session is as it was', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.store.trouble = 'fails';
    await expect(endpoint.router.sessions.close(id)).rejects.toThrow('the store does not answer');
    endpoint.store.trouble = undefined;
    expect((await ping(id)).status).toBe(200);
  });

  test('maxLifetime counts from the opening, across restarts', async () => {
    await begin({ maxLifetime: 100_000 });
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(90_000);
    endpoint.crash();
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.router.sessions.get(id)?.ageMs).toBe(90_000);
    endpoint.clock.advance(10_000);
    expect((await ping(id)).status).toBe(404);

    const second = await openSession(endpoint.url);
    endpoint.clock.advance(100_000);
    endpoint.crash();
    expect((await ping(second)).status).toBe(404);
    expect(await endpoint.store.get(second)).toBeUndefined();
  });
});

describe('maxLifetime compares no wall clocks (docs/restart.md, "The end is final")', () => {
  /** The clock of a node whose wall clock is off by `ms`. */
  const off = (ms: number): Clock => {
    const { clock } = endpoint;
    return {
      now: () => clock.now(),
      setTimeout: (callback, delay) => clock.setTimeout(callback, delay),
      clearTimeout: (timer) => clock.clearTimeout(timer),
      wallTime: () => clock.wallTime() + ms,
    };
  };
  const limits = { maxLifetime: 90 * MINUTE, ttl: 40 * MINUTE };
  const statusAfter = async (ms: number, id: string): Promise<number> => {
    endpoint.clock.advance(ms);
    return (await ping(id)).status;
  };
  /** A session that was used often enough to live for an hour. */
  const anHour = async (): Promise<string> => {
    const id = await openSession(endpoint.url);
    for (let n = 0; n < 2; n += 1) expect(await statusAfter(30 * MINUTE, id)).toBe(200);
    return id;
  };

  test.each([120, -120])(
    'a session keeps its age of an hour on a node whose clock is off by %i minutes',
    async (minutes) => {
      await begin(limits);
      const id = await anHour();
      endpoint.crash({ clock: off(minutes * MINUTE) });
      expect((await ping(id)).status).toBe(200);
      expect(endpoint.router.sessions.get(id)?.ageMs).toBe(60 * MINUTE);
      expect(await statusAfter(29 * MINUTE, id)).toBe(200);
      expect(await statusAfter(MINUTE, id)).toBe(404);
    },
  );

  test('with a store without remaining, a session is as old as at its last use', async () => {
    await begin(limits);
    Object.assign(endpoint.store, { remaining: undefined });
    const id = await anHour();
    endpoint.clock.advance(25 * MINUTE);
    endpoint.crash();
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.router.sessions.get(id)?.ageMs).toBe(60 * MINUTE);
    expect(await statusAfter(30 * MINUTE, id)).toBe(404);
  });

  test('a record of an earlier version, without an age, counts from when it was last touched', async () => {
    await begin(limits);
    const id = await openSession(endpoint.url);
    const { data, epoch } = (await endpoint.store.get(id))!;
    endpoint.crash({ clock: off(120 * MINUTE) });
    await endpoint.store.update(id, epoch, data.replace(/,"age":\d+/, ''), 50 * MINUTE);
    expect(await statusAfter(10 * MINUTE, id)).toBe(200);
    expect(endpoint.router.sessions.get(id)?.ageMs).toBe(10 * MINUTE);
  });
});

describe('values that are never written to a store', () => {
  const initialize = (experimental: object): Promise<Response> =>
    post(endpoint.url, {
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: { experimental },
        clientInfo: { name: 'raw', version: '1' },
      },
    });

  test.each([
    ['with a store', {}],
    ['without one, as the server keeps them in memory', { store: undefined }],
  ])(
    'initialize params of more than 16 KiB, or 256 values, %s: 400, and no server is built (docs/sessions.md)',
    async (_what, options) => {
      await begin(options);
      expect((await initialize({ large: { text: 'x'.repeat(16_000) } })).status).toBe(200);
      expect((await initialize({ many: { values: Array(240).fill(0) } })).status).toBe(200);
      expect(await refusal(initialize({ large: { text: 'x'.repeat(17_000) } }))).toEqual([400, -32602, null]);
      expect(await refusal(initialize({ many: { values: Array(260).fill({}) } }))).toEqual([400, -32602, null]);
      expect(endpoint.contexts).toHaveLength(2);
    },
  );

  test.each([2_000, 20_000])('initialize params nested %i levels deep: 400', async (levels) => {
    await begin();
    const text = JSON.stringify(initializeBody()).replace(
      '"capabilities":{',
      `$&"experimental":{"a":${nested(levels)}}`,
    );
    expect((await refusal(post(endpoint.url, text)))[0]).toBe(400);
    expect(endpoint.contexts).toHaveLength(0);
  });

  test('a log level or URI of the wrong type, though the server accepts it', async () => {
    await begin({}, () => {
      const { server } = new McpServer({ name: 'proxy', version: '1.0.0' }, { capabilities: { logging: {} } });
      server.removeRequestHandler('logging/setLevel');
      server.fallbackRequestHandler = () => Promise.resolve({});
      return server;
    });
    const session = await RawSession.open(endpoint.url);
    const odd: [string, object][] = [
      ['resources/subscribe', {}],
      ['resources/subscribe', { uri: 7 }],
      ['resources/unsubscribe', { uri: null }],
      ['logging/setLevel', { level: 'trace' }],
    ];
    for (const [n, [method, params]] of odd.entries()) {
      expect((await soon(method, session.call(n, method, params))).result).toEqual({});
    }
    expect(JSON.parse((await endpoint.store.get(session.id))!.data)).not.toHaveProperty('subscriptions');
    expect(JSON.parse((await endpoint.store.get(session.id))!.data)).not.toHaveProperty('logLevel');
  });
});

describe('opening with a store', () => {
  test('a client that hangs up while its record is created leaves neither record nor timer', async () => {
    await begin();
    endpoint.store.hold();
    const hangUp = new AbortController();
    const opening = post(endpoint.url, initializeBody(), {}, hangUp.signal).catch((error: unknown) => error);
    await until('it is being created', () => endpoint.store.held === 1);
    hangUp.abort();
    await opening;
    await until('it is given up', () => endpoint.router.sessions.stats().initializing === 0);
    const [id] = endpoint.store.asked.map((asked) => asked.split(' ')[1]!);
    endpoint.store.resume();
    await until(
      'nothing is left',
      async () => (await endpoint.store.get(id!)) === undefined && endpoint.clock.pending === 0,
    );
  });

  test.each(['fails', 'hangs'] as const)('a store that %s: 503, and nothing is left', async (trouble) => {
    await begin();
    endpoint.store.trouble = trouble;
    const answer = refusal(
      post(endpoint.url, {
        jsonrpc: '2.0',
        id: 0,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
      }),
    );
    await until('the store is asked', () => endpoint.store.asked.some((asked) => asked.startsWith('create')));
    endpoint.clock.advance(5_000);
    expect(await answer).toEqual(UNAVAILABLE);
    expect(endpoint.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    expect(endpoint.contexts[0]?.signal.aborted).toBe(true);
    expect(await endpoint.metric('mcp_sessions_rejected_total{reason="storeUnavailable"}')).toBe('1');
  });

  test('an ID that is stored already is refused as one that is open: 500', async () => {
    await begin({ sessionIdGenerator: () => 'twice' });
    await openSession(endpoint.url);
    endpoint.crash();
    await expect(openSession(endpoint.url)).rejects.toThrow('initialize was answered with 500');
    expect((await ping('twice')).status).toBe(200);
  });

  test('a log level, a subscription and awaited state are saved before the answer is sent', async () => {
    await begin();
    const session = await RawSession.open(endpoint.url);
    const calls: [string, object][] = [
      ['logging/setLevel', { level: 'error' }],
      ['resources/subscribe', { uri: 'note:a' }],
      ['resources/unsubscribe', { uri: 'note:a' }],
      ['tools/call', { name: 'add', arguments: { text: 'x' } }],
    ];
    for (const [method, params] of calls) {
      endpoint.store.hold();
      let answered = false;
      const answer = session.call(method, method, params).then(() => (answered = true));
      await until('it is being saved', () => endpoint.store.held === 1);
      expect(answered).toBe(false);
      endpoint.store.resume();
      await soon(`the answer to ${method}`, answer);
    }
  });

  test('a level that cannot be saved is answered all the same, and saved with the next change', async () => {
    await begin();
    const session = await RawSession.open(endpoint.url);
    endpoint.store.trouble = 'fails';
    expect((await session.call(1, 'logging/setLevel', { level: 'error' })).result).toEqual({});
    expect(endpoint.log.text).toContain('logging/setLevel could not be saved');
    endpoint.store.trouble = undefined;
    await session.call(2, 'resources/subscribe', { uri: 'note:a' });
    expect(JSON.parse((await endpoint.store.get(session.id))!.data)).toMatchObject({
      logLevel: 'error',
      subscriptions: ['note:a'],
    });
  });

  test('the writes of one session run one at a time, and waiting writes are merged', async () => {
    await begin();
    const session = await RawSession.open(endpoint.url);
    const { state } = endpoint.contexts[0]!;
    endpoint.store.hold();
    const before = endpoint.store.asked.length;
    const saved = Array.from({ length: 50 }, (_, n) => state.set('n', n));
    await until('the first is under way', () => endpoint.store.held === 1);
    endpoint.store.resume();
    await Promise.all(saved);
    expect(endpoint.store.asked.slice(before).length).toBeLessThanOrEqual(2);
    expect(JSON.parse((await endpoint.store.get(session.id))!.data)).toMatchObject({ state: { n: 49 } });
  });
});

test('what a factory sets while it restores a session is saved', async () => {
  await begin();
  const id = await openSession(endpoint.url);
  endpoint.factory = async (context) => {
    await context.state.set('lives', context.epoch);
    return notesServer(context);
  };
  endpoint.crash();
  await (await ping(id)).text();
  expect(JSON.parse((await endpoint.store.get(id))!.data)).toMatchObject({ state: { lives: 1 } });
  endpoint.crash();
  await (await ping(id)).text();
  expect(endpoint.contexts.at(-1)?.state.get('lives')).toBe(2);
});

describe('the life of a record', () => {
  test('lasts as long as its session, also past ttl while the session is used', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    for (let minutes = 0; minutes < 120; minutes += 5) {
      endpoint.clock.advance(5 * MINUTE);
      expect((await ping(id)).status).toBe(200);
    }
    endpoint.crash();
    endpoint.clock.advance(29 * MINUTE);
    expect((await ping(id)).status).toBe(200);
  });

  test('lasts as long as a call, also past ttl', async () => {
    await begin({ requestTimeout: 10 * 60 * MINUTE }, (context) => {
      const server = notesServer(context);
      server.registerTool('never', {}, () => new Promise(() => undefined));
      return server;
    });
    const session = await RawSession.open(endpoint.url);
    const hangUp = new AbortController();
    session.request(1, 'tools/call', { name: 'never', arguments: {} }, hangUp.signal).catch(() => undefined);
    await until('it runs', () => endpoint.router.sessions.get(session.id)?.requests === 1);
    hangUp.abort();
    for (let minutes = 0; minutes < 90; minutes += 1) {
      endpoint.clock.advance(MINUTE);
      await endpoint.store.get(session.id);
    }
    expect(await endpoint.store.get(session.id)).toBeDefined();
  });

  test('expires without any process, at most a quarter of ttl after its session would have', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.clock.advance(37.5 * MINUTE);
    expect((await ping(id)).status).toBe(404);
  });

  test('a touch that failed is repeated within 5 s', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(29 * MINUTE);
    endpoint.store.only = ['touch'];
    endpoint.store.trouble = 'fails';
    await (await ping(id)).text();
    endpoint.store.trouble = undefined;
    endpoint.clock.advance(5_000);
    endpoint.clock.advance(20 * MINUTE);
    expect(await endpoint.store.get(id)).toBeDefined();
  });

  test('state that could not be saved is saved within a quarter of ttl, without a request', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.store.trouble = 'fails';
    await endpoint.contexts[0]!.state.set('a', 1).catch(() => undefined);
    endpoint.store.trouble = undefined;
    endpoint.clock.advance(7.5 * MINUTE);
    await until('it is saved', async () => (await endpoint.store.get(id))!.data.includes('"a":1'));
  });

  test('costs one touch in a quarter of ttl, however often the session is used', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    const before = endpoint.store.asked.length;
    for (let n = 0; n < 100; n += 1) {
      await (await ping(id)).text();
      endpoint.clock.advance(6_000);
    }
    // 10 minutes in all, and one touch each 7.5.
    expect(endpoint.store.asked.slice(before)).toEqual([`touch ${id}`]);
  });

  test('a store without touch gets an update instead', async () => {
    await begin();
    (endpoint.store as { touch: unknown }).touch = undefined;
    const id = await openSession(endpoint.url);
    const before = endpoint.store.asked.length;
    endpoint.clock.advance(8 * MINUTE);
    await (await ping(id)).text();
    await until('it is saved', () => endpoint.store.asked.slice(before).includes(`update ${id}`));
  });
});

describe('a session that another process has taken over', () => {
  test('ends here as moved at its next write, which does not change the record', async () => {
    await begin();
    const client = await connect();
    const id = (client.transport as StreamableHTTPClientTransport).sessionId!;
    const old = endpoint.router;
    const closed: string[] = [];
    old.sessions.on('closed', (_session, reason) => closed.push(reason));
    await call(client, 'add', { text: 'old' });
    endpoint.router = endpoint.another();
    expect(await call(client, 'add', { text: 'new' })).toEqual(['old', 'new']);

    await expect(endpoint.contexts[0]!.state.set('notes', ['stale'])).rejects.toThrow('Session not found');
    await until('it has ended', () => closed.length > 0);
    expect(closed).toEqual(['moved']);
    expect(await call(client, 'list')).toEqual(['old', 'new']);
    expect(await endpoint.store.get(id)).toMatchObject({ epoch: 1 });
  });

  test('keeps its events when it ends here', async () => {
    const events = memoryEventStore();
    await begin({ eventStore: events });
    const session = await RawSession.open(endpoint.url);
    const old = endpoint.router;
    const closed: string[] = [];
    old.sessions.on('closed', (_session, reason) => closed.push(reason));
    endpoint.router = endpoint.another();
    const hangUp = new AbortController();
    const stream = await session.stream(undefined, hangUp.signal);
    const lastEventId = (await stream.block())!.id!;
    endpoint.clock.advance(30 * MINUTE);
    await until('it has ended where it was', () => closed.length > 0);
    expect(closed).toEqual(['expired']);
    expect(await events.getStreamIdForEventId(lastEventId)).toBeDefined();
    hangUp.abort();
  });

  test('does not expire while the other process serves it', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.router = endpoint.another();
    await (await ping(id)).text();
    for (let n = 0; n < 8; n += 1) {
      endpoint.clock.advance(5 * 60_000);
      expect((await ping(id)).status).toBe(200);
    }
    expect(endpoint.contexts).toHaveLength(2);
  });

  test('a session whose record was removed elsewhere ends here too, as deleted', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    const closed: string[] = [];
    endpoint.router.sessions.on('closed', (_session, reason) => closed.push(reason));
    await endpoint.store.destroy(id);
    await expect(endpoint.contexts[0]!.state.set('a', 1)).rejects.toThrow('Session not found');
    await until('it has ended', () => closed.length > 0);
    expect(closed).toEqual(['deleted']);
    expect((await ping(id)).status).toBe(404);
  });
});

describe('a graceful end', () => {
  test('close leaves the record without an owner, for the next process', async () => {
    await begin();
    const client = await connect();
    const id = (client.transport as StreamableHTTPClientTransport).sessionId!;
    await call(client, 'add', { text: 'kept' });
    await endpoint.router.close();
    expect(await endpoint.store.get(id)).toMatchObject({ epoch: 0, owner: undefined });
    endpoint.crash();
    expect(await call(client, 'list')).toEqual(['kept']);
  });

  test('a draining router restores no session: 503, as the next process can', async () => {
    await begin();
    const stored = await openSession(endpoint.url);
    endpoint.crash();
    const gate = new Deferred();
    endpoint.factory = (context) => {
      const server = notesServer(context);
      server.registerTool('wait', {}, async () => {
        await gate.promise;
        return { content: [] };
      });
      return server;
    };
    const session = await RawSession.open(endpoint.url);
    const running = session.call(1, 'tools/call', { name: 'wait', arguments: {} });
    await until('it runs', () => endpoint.router.sessions.get(session.id)?.requests === 1);
    const drained = endpoint.router.drain(60_000);
    expect(await refusal(ping(stored))).toEqual(UNAVAILABLE);
    gate.resolve();
    expect((await running).result).toEqual({ content: [] });
    await drained;
    expect(await endpoint.store.get(session.id)).toMatchObject({ owner: undefined });
  });

  test.each(['drain', 'close'] as const)(
    'a session that is being claimed while its router begins to %s is never unknown',
    async (how) => {
      await begin();
      const id = await openSession(endpoint.url);
      endpoint.crash();
      endpoint.store.hold();
      const answer = ping(id);
      await until('the record is asked for', () => endpoint.store.held === 1);
      endpoint.store.resume();
      endpoint.store.hold();
      await until('the record is claimed', () => endpoint.store.held === 1);
      const stopping = how === 'drain' ? endpoint.router.drain(10_000) : endpoint.router.close();
      endpoint.store.resume();
      expect((await answer).status).toBe(how === 'drain' ? 200 : 503);
      await stopping;
      expect(await endpoint.store.get(id)).toMatchObject({ owner: undefined });
      expect(endpoint.router.sessions.list()).toEqual([]);
    },
  );

  test('a session whose record is being read while its router closes is not restored in it', async () => {
    await begin();
    const id = await openSession(endpoint.url);
    endpoint.crash();
    endpoint.store.hold();
    const answer = ping(id);
    await until('the record is asked for', () => endpoint.store.held === 1);
    await endpoint.router.close();
    endpoint.store.resume();
    expect(await refusal(answer)).toEqual(UNAVAILABLE);
    expect(endpoint.contexts).toHaveLength(1);
    expect(endpoint.router.sessions.list()).toEqual([]);
  });

  test('GET streams end only after changed state is saved', async () => {
    await begin();
    const session = await RawSession.open(endpoint.url);
    const stream = await session.stream();
    endpoint.store.only = ['update'];
    endpoint.store.trouble = 'fails';
    await endpoint.contexts[0]!.state.set('a', 1).catch(() => undefined);
    endpoint.store.trouble = undefined;
    endpoint.store.hold();
    let ended = false;
    const ending = stream.blocks().then(() => (ended = true));
    const drained = endpoint.router.drain(60_000);
    await until('the record is being written', () => endpoint.store.held === 1);
    expect(ended).toBe(false);
    endpoint.store.resume();
    await soon('the end of the stream', ending);
    await drained;
    expect(JSON.parse((await endpoint.store.get(session.id))!.data)).toMatchObject({ state: { a: 1 } });
  });
});

test('a router without a store restores no session: 404 after a restart', async () => {
  await begin({ store: undefined }, echoServer);
  const id = await openSession(endpoint.url);
  expect((await post(endpoint.url, echoCall(1, 'x'), { 'mcp-session-id': id })).status).toBe(200);
  endpoint.crash();
  expect((await ping(id)).status).toBe(404);
});
