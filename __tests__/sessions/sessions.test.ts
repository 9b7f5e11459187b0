import type { McpRouterOptions, SessionEvents } from '../../src/index.js';
import { initializeBody, JSON_HEADERS } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { soon, until } from '../support/waiting.js';
import { World } from './world.js';

let world: World;
afterEach(async () => {
  for (const gate of world.gates.values()) gate.resolve();
  await world.router.close();
  await world.stop();
});

const started = async (options: Partial<McpRouterOptions> = {}): Promise<World> => (world = await World.start(options));
const header = (session: string) => ({ 'mcp-session-id': session });
const as = (user: string) => ({ 'x-user': user });
const ids = (): string[] => world.router.sessions.list().map(({ id }) => id);

/** Every event from now on, as `name id` and what it tells besides. */
function events(): string[] {
  const seen: string[] = [];
  world.router.sessions
    .on('opened', ({ id }) => seen.push(`opened ${id}`))
    .on('orphaned', ({ id }, cause) => seen.push(`orphaned ${id} ${cause}`))
    .on('closed', ({ id, state }, reason) => seen.push(`closed ${id} ${state} ${reason}`));
  return seen;
}

describe('the events of a session (docs/sessions.md, "States" and "How a session ends")', () => {
  test('have the facts of the session', async () => {
    await started({ ttl: 1_000, orphanAfter: 100 });
    const seen: SessionEvents[keyof SessionEvents][] = [];
    for (const name of ['opened', 'orphaned', 'closed'] as const) {
      world.router.sessions.on(name, (...args) => seen.push(args));
    }
    await world.open('a', as('alice'));
    world.clock.advance(1_000);
    const known = {
      id: 'a',
      principal: 'alice',
      protocolVersion: '2025-11-25',
      clientInfo: { name: 'raw', version: '1.0.0' },
      requests: 0,
      streams: { standalone: 0, request: 0 },
      openedAt: world.clock.wallTime() - 1_000,
      node: undefined,
    };
    expect(seen).toEqual([
      [{ ...known, state: 'active', orphanCause: undefined, ageMs: 0, idleMs: 0 }],
      [{ ...known, state: 'orphaned', orphanCause: 'idle', ageMs: 100, idleMs: 100 }, 'idle'],
      [{ ...known, state: 'orphaned', orphanCause: 'idle', ageMs: 1_000, idleMs: 1_000 }, 'expired'],
    ]);
  });

  test('have age 0 and idle time 0 for a session that took long to open', async () => {
    await started();
    let opened: unknown;
    world.router.sessions.on('opened', (session) => (opened = session));
    const gate = world.holdFactory('a');
    const exchange = world.initialize('a');
    await gate.reached.promise;
    world.clock.advance(20_000);
    gate.resolve();
    await exchange.reply();
    expect(opened).toMatchObject({ ageMs: 0, idleMs: 0 });
  });

  /** Each ends session `a`, which has a stream open, for a reason of its own. */
  const endings: [string, string, Partial<McpRouterOptions>, () => Promise<unknown>][] = [
    ['DELETE', 'active deleted', {}, () => world.send('DELETE', { ...header('a'), ...as('alice') }).reply()],
    ['sessions.close', 'active deleted', {}, () => world.router.sessions.close('a')],
    ['sessions.closeByPrincipal', 'active deleted', {}, () => world.router.sessions.closeByPrincipal('alice')],
    ['a server that closes itself', 'active deleted', {}, () => world.serverOf.get('a')!.close()],
    ['maxLifetime', 'active lifetime', { maxLifetime: 5_000 }, async () => world.clock.advance(5_000)],
    ['close', 'active shutdown', {}, () => world.router.close()],
    ['drain', 'active shutdown', {}, () => world.router.drain(1_000)],
  ];

  test.each(endings)('by %s: closed, %s; its stream ends, its server is closed', async (_, ending, options, end) => {
    await started(options);
    await world.open('a', as('alice'));
    const stream = world.send('GET', { ...header('a'), ...as('alice') });
    await stream.status();
    const seen = events();
    await soon('it is ended', end());
    expect(await stream.reply()).toMatchObject({ status: 200 });
    await until('its server is closed', () => world.servers.size === 0);
    expect(seen).toEqual([`closed a ${ending}`]);
    expect(world.contexts[0]!.signal.aborted).toBe(true);
  });

  test('by ttl: closed, orphaned expired', async () => {
    await started({ ttl: 1_000, orphanAfter: 100 });
    const seen = events();
    await world.open('a');
    world.clock.advance(1_000);
    expect(seen).toEqual(['opened a', 'orphaned a idle', 'closed a orphaned expired']);
  });

  test('by a cap: closed, orphaned evicted, before the one that takes its place is opened', async () => {
    await started({ maxSessions: 1, orphanAfter: 100 });
    const seen = events();
    await world.open('a');
    world.clock.advance(100);
    await world.open('b');
    expect(seen).toEqual(['opened a', 'orphaned a idle', 'closed a orphaned evicted', 'opened b']);
  });

  test('by a client that disconnected before it got the ID: closed, active failed', async () => {
    await started();
    await world.open('a');
    const seen = events();
    // The answer to `initialize` waits behind that of a call: nothing of it is sent when the socket goes.
    world.expectCall('call');
    world.nextId = 'b';
    const params = { name: 'wait', arguments: { key: 'call' } };
    const call = { jsonrpc: '2.0', id: 'call', method: 'tools/call', params };
    const headers = Object.entries(JSON_HEADERS);
    const socket = await RawSocket.open(world.port);
    await socket.write(requestBytes('POST', '/mcp', [...headers, ['mcp-session-id', 'a']], JSON.stringify(call)));
    await socket.write(requestBytes('POST', '/mcp', headers, JSON.stringify(initializeBody())));
    await until('the session is open', () => seen.includes('opened b'));
    socket.destroy();
    await until('the session is closed', () => seen.length > 1);
    expect(seen).toEqual(['opened b', 'closed b active failed']);
    (await world.handler('call')).finish();
  });

  test('are not emitted when no session was opened', async () => {
    await started();
    const seen = events();
    world.factory = () => Promise.reject(new Error('broken'));
    expect((await world.initialize('a').reply()).status).toBe(500);
    expect(seen).toEqual([]);
  });
});

describe('listeners', () => {
  test('are called in the order in which they were added, until they are taken off', async () => {
    await started();
    const called: string[] = [];
    const both = () => called.push('on, twice');
    const once = () => called.push('once');
    const off = () => called.push('off');
    const { sessions } = world.router;
    expect(sessions.on('opened', both).once('opened', once).on('opened', off)).toBe(sessions);
    sessions.once('opened', off).off('opened', off).off('opened', off).off('closed', both);
    await world.open('a');
    await world.open('b');
    expect(called).toEqual(['on, twice', 'once', 'on, twice']);
    sessions.off('opened', both);
    await world.open('c');
    expect(called).toHaveLength(3);
  });

  test('for the next event only are called once, also when a listener before them makes another such event', async () => {
    await started();
    for (const id of ['a', 'b']) await world.open(id);
    const called: string[] = [];
    world.router.sessions
      .on('closed', () => world.router.sessions.close('b'))
      .once('closed', ({ id }) => called.push(id));
    await world.router.sessions.close('a');
    expect(ids()).toEqual([]);
    expect(called).toEqual(['b']);
  });

  test('may remove themselves and add others during an event', async () => {
    await started();
    const called: string[] = [];
    const { sessions } = world.router;
    const first = (): void => {
      called.push('first');
      sessions.off('opened', first).on('opened', () => called.push('added'));
    };
    sessions.on('opened', first).on('opened', () => called.push('second'));
    await world.open('a');
    expect(called).toEqual(['first', 'second']);
    await world.open('b');
    expect(called).toEqual(['first', 'second', 'second', 'added']);
  });

  test('may close a session as soon as it is opened', async () => {
    await started({ maxLifetime: 1_000_000 });
    world.router.sessions.once('opened', ({ id }) => world.router.sessions.close(id));
    const { status, headers } = await world.initialize('a').reply();
    expect([status, headers['mcp-session-id']]).toEqual([200, 'a']);
    expect((await world.ping('a').reply()).status).toBe(404);
    await until('its server is closed', () => world.servers.size === 0);
    expect(world.clock.pending).toBe(0);
    expect(world.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    expect(await world.metrics()).toEqual({ mcp_sessions_opened_total: 1, 'mcp_sessions_closed_total deleted': 1 });
  });

  test('may close a session as soon as it is orphaned', async () => {
    await started({ orphanAfter: 100 });
    world.router.sessions.on('orphaned', ({ id }) => world.router.sessions.close(id));
    await world.open('a');
    world.clock.advance(100);
    expect(world.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
    await until('nothing is left', () => world.servers.size === 0 && world.clock.pending === 0);
    expect(await world.metrics()).toEqual({ mcp_sessions_opened_total: 1, 'mcp_sessions_closed_total deleted': 1 });
  });
});

describe('list and get', () => {
  test('show every session, oldest first, as it is now', async () => {
    await started({ orphanAfter: 100 });
    await world.open('orphaned');
    world.clock.advance(50);
    await world.open('busy', as('alice'));
    const call = await world.wait('busy', 'call', as('alice'));
    world.clock.advance(60);
    const gate = world.holdFactory('opening');
    const opening = world.initialize('opening', as('bob'));
    await gate.reached.promise;
    world.clock.advance(5);

    const clientInfo = { name: 'raw', version: '1.0.0' };
    const expected = [
      {
        id: 'orphaned',
        principal: undefined,
        state: 'orphaned',
        orphanCause: 'idle',
        ageMs: 115,
        idleMs: 115,
        requests: 0,
      },
      { id: 'busy', principal: 'alice', state: 'active', orphanCause: undefined, ageMs: 65, idleMs: 0, requests: 1 },
      {
        id: 'opening',
        principal: 'bob',
        state: 'initializing',
        orphanCause: undefined,
        ageMs: 5,
        idleMs: 5,
        requests: 0,
      },
    ].map((session) => {
      const protocolVersion = session.state === 'initializing' ? undefined : '2025-11-25';
      const openedAt = world.clock.wallTime() - session.ageMs;
      const streams = { standalone: 0, request: 0 };
      return { ...session, protocolVersion, clientInfo, streams, openedAt, node: undefined };
    });
    const { sessions } = world.router;
    expect(sessions.list()).toEqual(expected);
    expect(expected.map(({ id }) => sessions.get(id))).toEqual(expected);
    expect(sessions.stats()).toEqual({ initializing: 1, active: 1, orphaned: 1, hibernated: 0 });
    (await world.handler('call')).finish();
    gate.resolve();
    await Promise.all([call.reply(), opening.reply()]);
  });

  test('return nothing for unknown sessions', async () => {
    await started();
    await world.open('a');
    for (const id of ['b', '', '__proto__', 'constructor']) expect(world.router.sessions.get(id)).toBeUndefined();
    await world.router.sessions.close('a');
    expect(world.router.sessions.get('a')).toBeUndefined();
    expect(ids()).toEqual([]);
  });
});

describe('server', () => {
  test('returns the server of an open session, which the factory made', async () => {
    await started();
    await world.open('a');
    await world.open('b');
    expect(world.router.sessions.server('a')).toBe(world.serverOf.get('a'));
    expect(world.router.sessions.server('b')).toBe(world.serverOf.get('b'));
    await world.router.sessions.close('a');
    expect(world.router.sessions.server('a')).toBeUndefined();
  });

  test('returns nothing while the session is opened, from when the server is made until the client can use it', async () => {
    await started();
    const gate = world.holdFactory('a');
    const opening = world.initialize('a');
    await gate.reached.promise;
    expect(world.router.sessions.server('a')).toBeUndefined();
    gate.resolve();
    await opening.reply();
    expect(world.router.sessions.server('a')).toBe(world.serverOf.get('a'));
  });

  test('returns nothing while the session hibernates, and the new server once it was woken', async () => {
    world = await World.start({ orphanAfter: 100, hibernateAfter: 100 });
    await world.open('a');
    const before = world.router.sessions.server('a');
    world.clock.advance(100);
    world.clock.advance(100);
    await until('it hibernates', () => world.router.sessions.get('a')?.state === 'hibernated');
    expect(world.router.sessions.server('a')).toBeUndefined();
    await world.ping('a').reply();
    expect(world.router.sessions.server('a')).toBe(world.serverOf.get('a'));
    expect(world.router.sessions.server('a')).not.toBe(before);
  });
});

describe('close and closeByPrincipal', () => {
  test('end a session as a DELETE does: calls are answered, streams end, and the ID is unknown', async () => {
    await started();
    await world.open('a');
    const call = await world.wait('a', 'call');
    expect(await world.router.sessions.close('a')).toBe(true);
    expect((await call.reply()).text).toContain('Session closed');
    expect((await world.handler('call')).signal.aborted).toBe(true);
    expect((await world.ping('a').reply()).status).toBe(404);
    expect(await world.router.sessions.close('a')).toBe(false);
    expect(world.servers.size).toBe(0);
  });

  test('end all sessions of one principal, also those that are being opened', async () => {
    await started();
    await world.open('a1', as('alice'));
    await world.open('b', as('bob'));
    await world.open('nobody');
    const gate = world.holdFactory('a2');
    const opening = world.initialize('a2', as('alice'));
    await gate.reached.promise;
    expect(await world.router.sessions.closeByPrincipal('mallory')).toBe(0);
    expect(await world.router.sessions.closeByPrincipal('alice')).toBe(2);
    // The same answer as for any session that has ended: the client may initialize again.
    expect((await opening.reply()).status).toBe(404);
    expect(ids()).toEqual(['b', 'nobody']);
    gate.resolve();
    await until('the server that came too late is closed', () => world.servers.size === 2);
    expect(await world.router.sessions.closeByPrincipal('alice')).toBe(0);
  });
});
