import { type McpRouterOptions, type ServerContext, type SessionInfo, memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { initializeBody, post } from '../support/harness.js';
import { answerOf, RawSession } from '../support/raw-session.js';
import { Restartable } from '../support/restartable.js';
import { scriptedServer } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

let endpoint: Restartable;
/** The servers' handlers of `wait`, by the principal that they were built for. */
let begun: Map<string | undefined, AbortSignal>;
let gate: Deferred;

function server(context: ServerContext) {
  return scriptedServer({
    who: () => ({
      principal: context.principal ?? null,
      restored: context.restored,
      user: context.req.headers['x-user'],
    }),
    async count() {
      await context.state.set('count', Number(context.state.get('count') ?? 0) + 1);
      return { count: context.state.get('count') };
    },
    async wait(_, { signal }) {
      begun.set(context.principal, signal);
      await gate.promise;
      return { waited: true };
    },
  });
}

async function begin(options: Partial<McpRouterOptions> = {}): Promise<void> {
  begun = new Map();
  gate = new Deferred();
  endpoint = await Restartable.start(server, { adoptAnonymous: true, ...options });
}

afterEach(async () => {
  gate.resolve();
  endpoint.store.trouble = undefined;
  endpoint.store.resume();
  await endpoint.stop();
});

let asked = 0;
const headersOf = (id: string, user?: string) => ({
  'mcp-session-id': id,
  ...(user !== undefined && { 'x-user': user }),
});
const ask = (id: string, method: string, user?: string): Promise<Response> =>
  post(endpoint.url, { jsonrpc: '2.0', id: (asked += 1), method }, headersOf(id, user));
async function result(id: string, method: string, user?: string): Promise<unknown> {
  const response = await ask(id, method, user);
  return response.status === 200 ? (await answerOf(response))?.result : `${response.status} ${await response.text()}`;
}
async function status(id: string, user?: string, method = 'who'): Promise<number> {
  const response = await ask(id, method, user);
  await response.text();
  return response.status;
}
const remove = async (id: string, user?: string): Promise<number> =>
  (await fetch(endpoint.url, { method: 'DELETE', headers: headersOf(id, user) })).status;
const get = (id: string, user?: string): Promise<Response> =>
  fetch(endpoint.url, { headers: { ...headersOf(id, user), accept: 'text/event-stream' } });
const info = (id: string): SessionInfo | undefined => endpoint.router.sessions.get(id);

const STORES: [string, Partial<McpRouterOptions>][] = [
  ['without a store', { store: undefined }],
  ['without a store, with an event store', { store: undefined, eventStore: memoryEventStore() }],
  ['with a store', {}],
  ['with both stores', { eventStore: memoryEventStore() }],
];

describe.each(STORES)('adoptAnonymous (docs/identity.md, "Lazy sign-in"), %s', (_, options) => {
  test('the first principal adopts the session: a new server is built for it, with the saved state', async () => {
    await begin(options);
    const adopted: unknown[] = [];
    endpoint.router.sessions.on('adopted', ({ id, principal }) => adopted.push([id, principal]));
    const { id } = await RawSession.open(endpoint.url);
    expect(await result(id, 'count')).toEqual({ count: 1 });
    expect(await result(id, 'who', 'alice')).toEqual({ principal: 'alice', restored: true, user: 'alice' });
    expect(await result(id, 'count', 'alice')).toEqual({ count: 2 });
    expect(endpoint.contexts).toHaveLength(2);
    expect(info(id)).toMatchObject({ principal: 'alice', state: 'active', protocolVersion: '2025-11-25' });
    expect(adopted).toEqual([[id, 'alice']]);
    expect(endpoint.router.sessions.stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });
    expect(await endpoint.metric('mcp_sessions_active')).toBe('1');
    expect(await endpoint.metric('mcp_sessions_hibernated')).toBe('0');
  });

  test('an adopted session is 404 for another principal and without a principal', async () => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    expect(await status(id, 'alice')).toBe(200);
    const missing = await (await ask('no-such-session', 'who')).text();
    for (const user of ['bob', undefined]) {
      const response = await ask(id, 'who', user);
      expect([response.status, (await response.text()).replace(/\d+}$/, '')]).toEqual([
        404,
        missing.replace(/\d+}$/, ''),
      ]);
      expect((await get(id, user)).status).toBe(404);
      expect(await remove(id, user)).toBe(404);
    }
    expect(await status(id, 'alice')).toBe(200);
    expect(endpoint.contexts).toHaveLength(2);
    expect(await remove(id, 'alice')).toBe(200);
  });

  test('ends every stream and request that was opened without the principal', async () => {
    await begin(options);
    const session = await RawSession.open(endpoint.url);
    const { id } = session;
    const stream = new EventStream(await session.get());
    const call = session.request('w', 'wait');
    await until('the call has begun', () => begun.has(undefined));
    expect(await status(id, 'alice')).toBe(200);
    await soon('the stream has ended', stream.blocks());
    expect((await soon('the call is answered', call.then(answerOf)))?.error).toMatchObject({
      message: 'Session closed',
    });
    expect(begun.get(undefined)?.aborted).toBe(true);
    expect(endpoint.contexts[0]?.signal.aborted).toBe(true);
    expect(endpoint.contexts[1]?.signal.aborted).toBe(false);
    expect(info(id)?.requests).toBe(0);
    const own = new EventStream(await get(id, 'alice'));
    expect(await remove(id, 'alice')).toBe(200);
    await soon('its own stream has ended', own.blocks());
  });

  test.each([
    ['a GET', (id: string) => get(id, 'alice'), 200],
    [
      'a notification',
      (id: string) =>
        post(endpoint.url, { jsonrpc: '2.0', method: 'notifications/roots/list_changed' }, headersOf(id, 'alice')),
      202,
    ],
  ])('%s adopts, too', async (_what, first, expected) => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    const response = await first(id);
    expect(response.status).toBe(expected);
    expect(info(id)?.principal).toBe('alice');
    await response.body?.cancel();
  });

  test('a DELETE with a principal ends the session at once', async () => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    expect(await remove(id, 'alice')).toBe(200);
    expect(await status(id)).toBe(404);
    expect(endpoint.contexts).toHaveLength(1);
  });

  test('of two principals at the same time one adopts the session, and the other gets 404', async () => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    const users = ['alice', 'bob', 'alice', 'bob', 'alice', 'bob'];
    const statuses = await Promise.all(users.map((user) => status(id, user)));
    const owner = info(id)?.principal;
    expect(statuses).toEqual(users.map((user) => (user === owner ? 200 : 404)));
    expect(endpoint.contexts).toHaveLength(2);
  });

  test('no request without a principal reaches the new server, even while it is built', async () => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    const answers: unknown[] = [];
    const anonymous = Array.from({ length: 30 }, async (_each, n) => {
      for (let turn = 0; turn < n * 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      answers.push(await result(id, 'who'));
    });
    expect(await result(id, 'who', 'alice')).toMatchObject({ principal: 'alice' });
    await Promise.all(anonymous);
    expect(answers).toHaveLength(30);
    for (const answer of answers) {
      if (typeof answer === 'string') expect(answer).toMatch(/^404 /);
      else expect(answer ?? { principal: null }).toMatchObject({ principal: null });
    }
  });

  test('an adopted session counts for its principal: past maxSessionsPerPrincipal 503, and the session stays anonymous', async () => {
    await begin({ ...options, maxSessionsPerPrincipal: 1, maxSessions: 3 });
    const { id } = await RawSession.open(endpoint.url);
    const held = await RawSession.open(endpoint.url, { headers: { 'x-user': 'alice' } });
    const stream = await held.stream();
    expect(await result(id, 'count')).toEqual({ count: 1 });
    expect(await status(id, 'alice')).toBe(503);
    expect(await result(id, 'count')).toEqual({ count: 2 });
    expect(info(id)?.principal).toBeUndefined();
    expect(await held.terminate().then(({ status: gone }) => gone)).toBe(200);
    await stream.blocks();
    expect(await status(id, 'alice')).toBe(200);
    // Each session of the principal counts, and the adopted one no longer counts as anonymous.
    const another = await post(endpoint.url, initializeBody(), { 'x-user': 'alice' });
    expect(another.status).toBe(503);
    expect(await endpoint.router.sessions.closeByPrincipal('alice')).toBe(1);
    expect(endpoint.router.sessions.list()).toEqual([]);
    for (const user of ['alice', 'bob', 'carol']) await RawSession.open(endpoint.url, { headers: { 'x-user': user } });
  });

  test('a server that cannot be built gives 503, and the principal keeps the session', async () => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    endpoint.factory = () => Promise.reject(new Error('no database'));
    expect(await status(id, 'alice')).toBe(503);
    expect(await status(id)).toBe(404);
    expect(await status(id, 'bob')).toBe(404);
    endpoint.factory = server;
    expect(await result(id, 'who', 'alice')).toMatchObject({ principal: 'alice' });
    expect(await endpoint.metric('mcp_sessions_active')).toBe('1');
  });

  test('a hibernated session is adopted without being woken first', async () => {
    await begin({ ...options, orphanAfter: 1_000, hibernateAfter: 1_000 });
    const { id } = await RawSession.open(endpoint.url);
    expect(await result(id, 'count')).toEqual({ count: 1 });
    await until('it hibernates', () => {
      endpoint.clock.advance(1_001);
      return info(id)?.state === 'hibernated';
    });
    expect(await Promise.all([status(id, 'alice'), status(id, 'alice')])).toEqual([200, 200]);
    expect(endpoint.contexts.map(({ principal }) => principal)).toEqual([undefined, 'alice']);
    expect(await result(id, 'count', 'alice')).toEqual({ count: 2 });
    expect(await status(id)).toBe(404);
    expect(endpoint.router.sessions.stats()).toMatchObject({ active: 1, hibernated: 0 });
  });
});

describe('adoptAnonymous with a store', () => {
  test('a session that is only stored is adopted as it is restored, by one principal', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    expect(await result(id, 'count')).toEqual({ count: 1 });
    endpoint.crash();
    const users = ['alice', 'bob', 'alice', 'bob'];
    const statuses = await Promise.all(users.map((user) => status(id, user)));
    const owner = info(id)?.principal;
    expect(statuses).toEqual(users.map((user) => (user === owner ? 200 : 404)));
    expect(await result(id, 'count', owner)).toEqual({ count: 2 });
    endpoint.crash();
    expect(await status(id)).toBe(404);
    expect(await status(id, 'mallory')).toBe(404);
    expect(await result(id, 'count', owner)).toEqual({ count: 3 });
  });

  test('a session restored with and without a principal at the same time is never 500, and ends as the principal’s', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    endpoint.crash();
    const statuses = await Promise.all([status(id), status(id, 'alice'), status(id), status(id, 'alice')]);
    expect([statuses[1], statuses[3]]).toEqual([200, 200]);
    for (const anonymous of [statuses[0], statuses[2]]) expect([200, 404]).toContain(anonymous);
    expect(info(id)?.principal).toBe('alice');
  });

  /** Until requests that were sent before have come to the router: others that were sent after them are answered. */
  const arrived = async (other: string): Promise<void> => {
    for (let n = 0; n < 5; n += 1) expect(await status(other)).toBe(200);
  };

  test('while the record is written, requests without a principal are served, and another principal waits for its 404', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    endpoint.store.hold();
    const adopting = result(id, 'who', 'alice');
    await until('the record is being written', () => endpoint.store.held > 0);
    const others = [status(id, 'bob'), status(id, 'bob')];
    await arrived(id);
    endpoint.store.resume();
    expect(await adopting).toMatchObject({ principal: 'alice' });
    expect(await Promise.all(others)).toEqual([404, 404]);
    expect(endpoint.contexts.map(({ principal }) => principal)).toEqual([undefined, 'alice']);
  });

  test('a second request of the principal waits while the record is written, and is then served', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    endpoint.store.hold();
    const adopting = [status(id, 'alice'), status(id, 'alice')];
    await until('the record is being written', () => endpoint.store.held > 0);
    await arrived(id);
    expect(endpoint.store.held).toBe(1);
    endpoint.store.resume();
    expect(await Promise.all(adopting)).toEqual([200, 200]);
    expect(endpoint.contexts).toHaveLength(2);
  });

  test('a session that is closed while the record is written is not adopted: 404, and the share is free again', async () => {
    await begin({ maxSessionsPerPrincipal: 1 });
    const { id } = await RawSession.open(endpoint.url);
    endpoint.store.hold();
    const adopting = status(id, 'alice');
    await until('the record is being written', () => endpoint.store.held > 0);
    const closing = endpoint.router.sessions.close(id);
    endpoint.store.resume();
    expect([await adopting, await closing]).toEqual([404, true]);
    await RawSession.open(endpoint.url, { headers: { 'x-user': 'alice' } });
  });

  test('a session past maxLifetime that still works for a request is not adopted: 404', async () => {
    await begin({ maxLifetime: 60_000 });
    const { id } = await RawSession.open(endpoint.url);
    const waiting = ask(id, 'wait');
    await until('the call has begun', () => begun.has(undefined));
    endpoint.clock.advance(60_000);
    const notified = await post(
      endpoint.url,
      { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
      headersOf(id, 'alice'),
    );
    expect(notified.status).toBe(404);
    gate.resolve();
    expect((await waiting).status).toBe(200);
  });

  test('requests to a hibernated session without its new principal wait while the record is written, and get 404, DELETE too', async () => {
    await begin({ orphanAfter: 1_000, hibernateAfter: 1_000 });
    const { id } = await RawSession.open(endpoint.url);
    await until('it hibernates', () => {
      endpoint.clock.advance(1_001);
      return info(id)?.state === 'hibernated';
    });
    const other = await RawSession.open(endpoint.url);
    endpoint.store.hold();
    const adopting = result(id, 'who', 'alice');
    await until('the record is being written', () => endpoint.store.held > 0);
    const others = [remove(id), remove(id, 'bob'), status(id), status(id, 'bob')];
    await arrived(other.id);
    endpoint.store.resume();
    expect(await adopting).toMatchObject({ principal: 'alice' });
    expect(await Promise.all(others)).toEqual([404, 404, 404, 404]);
    expect(await status(id, 'alice')).toBe(200);
    expect(endpoint.contexts.filter(({ sessionId }) => sessionId === id)).toHaveLength(2);
  });

  test('an adopted session keeps its principal after a restart', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    expect(await status(id, 'alice')).toBe(200);
    endpoint.crash();
    expect(await status(id)).toBe(404);
    expect(await result(id, 'who', 'alice')).toMatchObject({ principal: 'alice' });
  });

  test.each([
    ['open', {}],
    ['hibernated', { orphanAfter: 1_000, hibernateAfter: 1_000 }],
  ])('while the store is away an %s session stays without a principal: 503', async (state, options) => {
    await begin(options);
    const { id } = await RawSession.open(endpoint.url);
    if (state === 'hibernated') {
      await until('it hibernates', () => {
        endpoint.clock.advance(1_001);
        return info(id)?.state === 'hibernated';
      });
    }
    endpoint.store.trouble = 'fails';
    expect(await status(id, 'alice')).toBe(503);
    expect(info(id)?.principal).toBeUndefined();
    endpoint.store.trouble = undefined;
    expect(await status(id)).toBe(200);
    expect(await status(id, 'bob')).toBe(200);
  });

  test('a session that another process has taken over is not adopted here', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    const before = endpoint.router;
    endpoint.crash();
    expect(await status(id, 'bob')).toBe(200);
    endpoint.router = before;
    expect(await status(id, 'alice')).toBe(404);
    expect(before.sessions.get(id)).toBeUndefined();
    expect(await result(id, 'who', 'bob')).toMatchObject({ principal: 'bob' });
  });

  test('a hibernated session that another process has taken over is not adopted here', async () => {
    await begin({ orphanAfter: 1_000, hibernateAfter: 1_000 });
    const { id } = await RawSession.open(endpoint.url);
    await until('it hibernates', () => {
      endpoint.clock.advance(1_001);
      return info(id)?.state === 'hibernated';
    });
    const before = endpoint.router;
    endpoint.crash();
    expect(await status(id, 'bob')).toBe(200);
    endpoint.router = before;
    expect(await status(id, 'alice')).toBe(404);
    expect(before.sessions.get(id)).toBeUndefined();
  });

  test('a late write of an anonymous handler does not undo the adoption', async () => {
    await begin();
    const { id } = await RawSession.open(endpoint.url);
    const [anonymous] = endpoint.contexts;
    endpoint.store.hold();
    const writing = anonymous!.state.set('late', 1).catch((error: unknown) => error);
    const adopting = status(id, 'alice');
    await until('the write is under way', () => endpoint.store.held > 0);
    endpoint.store.resume();
    expect(await adopting).toBe(200);
    await writing;
    await expect(anonymous!.state.set('later', 1)).rejects.toThrow('Session not found');
    endpoint.crash();
    expect(await status(id)).toBe(404);
    expect(await status(id, 'alice')).toBe(200);
  });
});

test('without the option a session stays as it was opened: 404 for a principal, and no server is built', async () => {
  await begin({ adoptAnonymous: false });
  const { id } = await RawSession.open(endpoint.url);
  expect(await status(id, 'alice')).toBe(404);
  expect(await remove(id, 'alice')).toBe(404);
  expect(await status(id)).toBe(200);
  endpoint.crash();
  expect(await status(id, 'alice')).toBe(404);
  expect(await status(id)).toBe(200);
});
