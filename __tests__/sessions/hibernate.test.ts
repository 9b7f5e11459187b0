import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { McpRouterOptions, ServerFactory, SessionInfo } from '../../src/index.js';
import { openSession, post } from '../support/harness.js';
import { newServer, notesServer } from '../support/notes-server.js';
import { RawSession } from '../support/raw-session.js';
import { Restartable } from '../support/restartable.js';
import { Deferred, soon, until } from '../support/waiting.js';

const MINUTE = 60_000;
/** A minute until a session is orphaned, five more until it hibernates, thirty in all until it expires. */
const HIBERNATES = 6 * MINUTE;
const TTL = 30 * MINUTE;

let endpoint: Restartable;
const events: string[] = [];

interface Begin extends Partial<McpRouterOptions> {
  readonly stored?: boolean;
}

async function begin({ stored = true, ...options }: Begin = {}, factory: ServerFactory = notesServer): Promise<void> {
  const store = stored ? {} : { store: undefined };
  endpoint = await Restartable.start(factory, { hibernateAfter: 5 * MINUTE, ...store, ...options });
  events.length = 0;
  const { sessions } = endpoint.router;
  sessions.on('restored', () => events.push('restored'));
  sessions.on('orphaned', () => events.push('orphaned'));
  sessions.on('closed', ({ state }, reason) => events.push(`closed ${state} ${reason}`));
}

afterEach(async () => {
  endpoint.store.trouble = undefined;
  endpoint.store.resume();
  await endpoint.stop();
});

/** Each with an ID of its own: some are in flight at once. */
let pings = 0;
const ping = (id: string, headers: Record<string, string> = {}): Promise<Response> =>
  post(endpoint.url, { jsonrpc: '2.0', id: ++pings, method: 'ping' }, { 'mcp-session-id': id, ...headers });
const stats = () => endpoint.router.sessions.stats();
const info = (id: string): SessionInfo | undefined => endpoint.router.sessions.get(id);

async function asleep(id: string): Promise<void> {
  endpoint.clock.advance(HIBERNATES);
  await until('it hibernates', () => info(id)?.state === 'hibernated');
}

describe.each([false, true])('a session that hibernates (with a store: %s)', (stored) => {
  const start = (options: Partial<McpRouterOptions> = {}, factory: ServerFactory = notesServer): Promise<void> =>
    begin({ ...options, stored }, factory);

  test('closes its server, keeps its record, and the next request restores it with its state', async () => {
    const servers: McpServer[] = [];
    const closed: McpServer[] = [];
    await start({}, (context) => {
      const server = notesServer(context);
      servers.push(server);
      server.server.onclose = () => void closed.push(server);
      return server;
    });
    const session = await RawSession.open(endpoint.url, { version: '2025-06-18' });
    await session.call(1, 'tools/call', { name: 'add', arguments: { text: 'kept' } });
    await session.call(2, 'resources/subscribe', { uri: 'note:a' });
    await session.call(3, 'logging/setLevel', { level: 'error' });
    const { signal } = endpoint.contexts[0]!;
    await asleep(session.id);
    expect(closed).toEqual(servers);
    expect(signal.aborted).toBe(true);
    expect(stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 1 });
    expect(await endpoint.metric('mcp_sessions_hibernated')).toBe('1');
    expect(await endpoint.metric('mcp_sessions_orphaned{cause="idle"}')).toBe('0');
    expect(info(session.id)).toMatchObject({ state: 'hibernated', protocolVersion: '2025-06-18', requests: 0 });

    const answer = await session.call(4, 'tools/call', { name: 'list', arguments: {} });
    expect(JSON.stringify(answer.result)).toContain('kept');
    expect(endpoint.contexts[1]).toMatchObject({ restored: true, epoch: 1, sessionId: session.id });
    const subscriptions = await session.call(5, 'tools/call', { name: 'subscriptions', arguments: {} });
    expect(JSON.stringify(subscriptions.result)).toContain('note:a');
    expect(stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });
    expect(await endpoint.metric('mcp_sessions_hibernated')).toBe('0');
    expect(await endpoint.metric('mcp_sessions_active')).toBe('1');
    expect(await endpoint.metric('mcp_sessions_opened_total')).toBe('1');
    expect(await endpoint.metric('mcp_sessions_restored_total')).toBe('1');
    expect(events).toEqual(['orphaned', 'restored']);
  });

  test('does so again and again, in an epoch of its own each time', async () => {
    await start();
    const id = await openSession(endpoint.url);
    for (const epoch of [1, 2, 3]) {
      await asleep(id);
      expect((await ping(id)).status).toBe(200);
      expect(endpoint.contexts.at(-1)?.epoch).toBe(epoch);
    }
  });

  test('100 requests at once wake it once', async () => {
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    const gate = new Deferred();
    endpoint.factory = async (context) => {
      await gate.promise;
      return notesServer(context);
    };
    const answers = Array.from({ length: 100 }, () => ping(id));
    await until('it wakes', () => endpoint.contexts.length === 2);
    gate.resolve();
    expect(new Set((await Promise.all(answers)).map(({ status }) => status))).toEqual(new Set([200]));
    expect(endpoint.contexts).toHaveLength(2);
  });

  test('expires after ttl, counted from its last request', async () => {
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    endpoint.clock.advance(TTL - HIBERNATES - 1);
    expect(info(id)?.state).toBe('hibernated');
    endpoint.clock.advance(1);
    expect(events).toEqual(['orphaned', 'closed hibernated expired']);
    expect(await endpoint.metric('mcp_sessions_hibernated')).toBe('0');
    expect((await ping(id)).status).toBe(404);
    expect(endpoint.contexts).toHaveLength(1);
  });

  test('is ended by DELETE without being woken', async () => {
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    const response = await fetch(endpoint.url, { method: 'DELETE', headers: { 'mcp-session-id': id } });
    expect(response.status).toBe(200);
    expect(events).toEqual(['orphaned', 'closed hibernated deleted']);
    expect(endpoint.contexts).toHaveLength(1);
    expect((await ping(id)).status).toBe(404);
  });

  test('answers to its own principal only, and others do not wake it', async () => {
    await start();
    const id = await openSession(endpoint.url, { 'x-user': 'alice' });
    await asleep(id);
    expect((await ping(id, { 'x-user': 'bob' })).status).toBe(404);
    expect(endpoint.contexts).toHaveLength(1);
    expect((await ping(id, { 'x-user': 'alice' })).status).toBe(200);
  });

  test('stays asleep when its server cannot be built now: 503, and the next request may wake it', async () => {
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    endpoint.factory = () => Promise.reject(new Error('no database'));
    const refused = await ping(id);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    await refused.text();
    expect(stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 1 });
    endpoint.factory = notesServer;
    expect((await ping(id)).status).toBe(200);
    expect(stats().active).toBe(1);
  });

  test('ends when its server no longer speaks its protocol version: 404, counted as unrestorable', async () => {
    await start();
    const id = await openSession(endpoint.url, {}, '2025-03-26');
    await asleep(id);
    endpoint.factory = newServer;
    expect((await ping(id)).status).toBe(404);
    await until('it has ended', () => info(id) === undefined);
    expect(events).toEqual(['orphaned', 'closed hibernated failed']);
    expect(await endpoint.metric('mcp_sessions_rejected_total{reason="unrestorable"}')).toBe('1');
    expect((await ping(id)).status).toBe(404);
  });

  test('that could not be woken expires ttl later', async () => {
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    endpoint.factory = () => Promise.reject(new Error('no database'));
    await (await ping(id)).text();
    await until('nothing holds it', () => {
      endpoint.clock.advance(1);
      return info(id)?.idleMs !== 0;
    });
    endpoint.clock.advance(TTL);
    expect(info(id)).toBeUndefined();
  });

  test('ends while it wakes when the app ends it: the server is closed, the request gets 404', async () => {
    const closed = new Deferred();
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    const gate = new Deferred();
    endpoint.factory = async (context) => {
      await gate.promise;
      const server = notesServer(context);
      server.server.onclose = () => closed.resolve();
      return server;
    };
    const waking = ping(id);
    await until('it wakes', () => endpoint.contexts.length === 2);
    const ending = endpoint.router.sessions.close(id);
    gate.resolve();
    await ending;
    expect((await waking).status).toBe(404);
    expect(events).toEqual(['orphaned', 'closed hibernated deleted']);
    expect(stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    expect((await ping(id)).status).toBe(404);
  });

  test('counts against the caps, and is evicted as the longest orphaned, before those that are awake', async () => {
    await start({ maxSessions: 2 });
    const first = await openSession(endpoint.url);
    await asleep(first);
    const second = await openSession(endpoint.url);
    endpoint.clock.advance(2 * MINUTE);
    const third = await openSession(endpoint.url);
    expect([info(first), info(second)?.state, info(third)?.state]).toEqual([undefined, 'orphaned', 'active']);
    expect(events).toContain('closed hibernated evicted');
  });

  test('is evicted for no other session while it wakes, of its principal or another', async () => {
    await start({ maxSessions: 1, maxSessionsPerPrincipal: 1 });
    const id = await openSession(endpoint.url, { 'x-user': 'alice' });
    await asleep(id);
    const gate = new Deferred();
    endpoint.factory = async (context) => {
      await gate.promise;
      return notesServer(context);
    };
    const waking = ping(id, { 'x-user': 'alice' });
    await until('it wakes', () => endpoint.contexts.length === 2);
    for (const user of ['alice', 'bob']) {
      await expect(openSession(endpoint.url, { 'x-user': user })).rejects.toThrow('503');
    }
    gate.resolve();
    expect((await waking).status).toBe(200);
  });

  test('its lifetime goes on while it sleeps', async () => {
    await start({ maxLifetime: 10 * MINUTE });
    const id = await openSession(endpoint.url);
    await asleep(id);
    endpoint.clock.advance(4 * MINUTE);
    expect(events).toEqual(['orphaned', 'closed hibernated lifetime']);
    expect((await ping(id)).status).toBe(404);
  });

  test('saves what its server asks for before it sleeps: context.onHibernate', async () => {
    const saving = new Deferred();
    await start({}, (context) => {
      const server = notesServer(context);
      context.onHibernate(async () => {
        await saving.promise;
        await context.state.set('notes', ['saved at the last moment']);
      });
      return server;
    });
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(HIBERNATES);
    expect(info(id)?.state).toBe('orphaned');
    saving.resolve();
    await until('it hibernates', () => info(id)?.state === 'hibernated');
    await (await ping(id)).text();
    expect(endpoint.contexts[1]?.state.get('notes')).toEqual(['saved at the last moment']);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('cannot save');
      },
    ],
    ['rejects', () => Promise.reject(new Error('cannot save'))],
  ])('does not hibernate when the save %s, and expires as usual', async (_how, save) => {
    await start({}, (context) => {
      context.onHibernate(save);
      return notesServer(context);
    });
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(HIBERNATES);
    await until('it is logged', () => endpoint.log.text.includes('a session cannot hibernate'));
    expect(info(id)?.state).toBe('orphaned');
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.contexts).toHaveLength(1);
    await until('nothing holds it', () => {
      endpoint.clock.advance(1);
      return info(id)?.idleMs !== 0;
    });
    endpoint.clock.advance(TTL);
    expect(info(id)).toBeUndefined();
  });

  test('stays awake when its client comes back while it is saved', async () => {
    const saving = new Deferred();
    await start({}, (context) => {
      context.onHibernate(() => saving.promise);
      return notesServer(context);
    });
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(HIBERNATES);
    expect((await ping(id)).status).toBe(200);
    endpoint.clock.advance(2 * MINUTE);
    expect(info(id)?.state).toBe('orphaned');
    saving.resolve();
    await soon('a turn of the event loop', new Promise((resolve) => setImmediate(resolve)));
    expect(info(id)?.state).toBe('orphaned');
    expect((await ping(id)).status).toBe(200);
    expect(endpoint.contexts).toHaveLength(1);
  });

  test('one with a stream or a call does not', async () => {
    await start({}, (context) => {
      const server = notesServer(context);
      server.registerTool('never', {}, () => new Promise(() => undefined));
      return server;
    });
    const listening = await RawSession.open(endpoint.url);
    await listening.stream();
    const calling = await RawSession.open(endpoint.url);
    calling.request(1, 'tools/call', { name: 'never', arguments: {} }).catch(() => undefined);
    await until('it runs', () => info(calling.id)?.requests === 1);
    endpoint.clock.advance(HIBERNATES);
    endpoint.clock.advance(HIBERNATES);
    expect([info(listening.id)?.state, info(calling.id)?.state]).toEqual(['active', 'active']);
  });

  test('late answers to its earlier life resolve nothing', async () => {
    const asked: Promise<unknown>[] = [];
    await start({}, (context) => {
      const server = notesServer(context);
      server.registerTool('ask', {}, () => {
        asked.push(server.server.listRoots().catch((error: unknown) => error));
        return { content: [] };
      });
      return server;
    });
    const session = await RawSession.open(endpoint.url, { capabilities: { roots: {} } });
    await session.call(1, 'tools/call', { name: 'ask', arguments: {} });
    await asleep(session.id);
    await session.call(2, 'tools/call', { name: 'ask', arguments: {} });
    let settled = false;
    void asked[1]?.then(() => (settled = true));
    await session.answer(0, { roots: [] });
    await session.answer(1, { roots: [] });
    expect(settled).toBe(false);
  });

  test('what an earlier life sets while it sleeps, or after, is refused, and hurts nothing', async () => {
    await start({}, (context) => {
      context.signal.addEventListener('abort', () => void refused.push(context.state.set('notes', ['too late'])));
      return notesServer(context);
    });
    const refused: Promise<void>[] = [];
    const id = await openSession(endpoint.url);
    await endpoint.contexts[0]!.state.set('notes', ['kept']);
    await asleep(id);
    await expect(refused[0]).rejects.toThrow('Session not found');
    await expect(endpoint.contexts[0]!.state.set('notes', ['asleep'])).rejects.toThrow('Session not found');
    await (await ping(id)).text();
    await expect(endpoint.contexts[0]!.state.set('notes', ['earlier life'])).rejects.toThrow('Session not found');
    expect(endpoint.contexts[1]!.state.get('notes')).toEqual(['kept']);
    expect((await ping(id)).status).toBe(200);
    expect(events).toEqual(['orphaned', 'restored']);
  });

  test('a callback that never ends holds up neither drain nor close, nor the end of its session', async () => {
    await start({}, (context) => {
      context.onHibernate(() => new Promise(() => undefined));
      return notesServer(context);
    });
    const id = await openSession(endpoint.url);
    endpoint.clock.advance(HIBERNATES);
    endpoint.clock.advance(TTL - HIBERNATES);
    expect(info(id)).toBeUndefined();
    await openSession(endpoint.url);
    endpoint.clock.advance(HIBERNATES);
    await soon('the end', endpoint.router.close());
  });

  test('close and drain of the router end it too', async () => {
    await start();
    const id = await openSession(endpoint.url);
    await asleep(id);
    await endpoint.router.drain(1_000);
    expect(events).toEqual(['orphaned', 'closed hibernated shutdown']);
    expect(stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    expect(endpoint.clock.pending).toBe(0);
  });
});

test('a hibernated session of a store is restored elsewhere, and ends here as moved when it is asked for', async () => {
  await begin();
  const session = await RawSession.open(endpoint.url);
  await session.call(1, 'tools/call', { name: 'add', arguments: { text: 'first' } });
  await asleep(session.id);
  const here = endpoint.router;
  endpoint.router = endpoint.another();
  await session.call(2, 'tools/call', { name: 'add', arguments: { text: 'elsewhere' } });
  endpoint.router = here;
  const refused = await ping(session.id);
  expect(refused.status).toBe(503);
  await refused.text();
  await until('it has ended', () => events.includes('closed hibernated moved'));
  const listed = await session.call(3, 'tools/call', { name: 'list', arguments: {} });
  expect(JSON.stringify(listed.result)).toContain('elsewhere');
});

test('while the store is away a hibernated session gets 503, and wakes when it is back', async () => {
  await begin();
  const id = await openSession(endpoint.url);
  await asleep(id);
  const store = endpoint.store;
  store.trouble = 'fails';
  expect((await ping(id)).status).toBe(503);
  store.trouble = undefined;
  expect((await ping(id)).status).toBe(200);
});

test('without hibernateAfter no session hibernates', async () => {
  await begin({ hibernateAfter: undefined });
  const id = await openSession(endpoint.url);
  endpoint.clock.advance(TTL - 1);
  expect(info(id)?.state).toBe('orphaned');
});
