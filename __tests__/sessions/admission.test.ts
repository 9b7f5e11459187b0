import { setImmediate as endOfTurn, setTimeout as sleep } from 'node:timers/promises';
import type { McpRouterOptions } from '../../src/index.js';
import { Deferred, until } from '../support/waiting.js';
import { expectRefusal, World } from './world.js';

let world: World;
afterEach(async () => {
  await world.router.close();
  await world.stop();
});

const started = async (options: Partial<McpRouterOptions> = {}): Promise<World> => (world = await World.start(options));
const as = (user: string) => ({ 'x-user': user });
const ids = (): string[] => world.router.sessions.list().map(({ id }) => id);

async function readiness(): Promise<string> {
  let body = '';
  const res = { setHeader: () => undefined, end: (text: string) => (body = text) };
  await world.router.ready({} as never, res as never, () => undefined);
  return JSON.parse(body).status;
}

describe('the caps maxSessions and maxSessionsPerPrincipal (docs/sessions.md, "Caps")', () => {
  test('count pending opens: while factories run, the next initialize is refused with 503 and Retry-After', async () => {
    await started({ maxSessions: 2 });
    const gates = ['a', 'b'].map((id) => world.holdFactory(id));
    const opening = [world.initialize('a')];
    await gates[0]!.reached.promise;
    opening.push(world.initialize('b'));
    await gates[1]!.reached.promise;

    await expectRefusal(world.initialize('c'), 'too many sessions');
    expect(world.contexts).toHaveLength(2);
    expect(await world.metrics()).toEqual({ 'mcp_sessions_rejected_total atCapacity': 1 });
    for (const gate of gates) gate.resolve();
    expect((await Promise.all(opening.map((exchange) => exchange.reply()))).map(({ status }) => status)).toEqual([
      200, 200,
    ]);
    expect(ids()).toEqual(['a', 'b']);
  });

  test('give the place of an open that failed to the next one', async () => {
    await started({ maxSessions: 1 });
    world.factory = () => Promise.reject(new Error('not yet'));
    expect((await world.initialize('a').reply()).status).toBe(500);
    world.factory = (context) => world.build(context);
    await world.open('b');
    expect(ids()).toEqual(['b']);
  });

  test('evict the session that has been orphaned longest, whatever the cause', async () => {
    await started({ maxSessions: 3, orphanAfter: 100 });
    await world.open('idle');
    world.clock.advance(10);
    await world.open('lost');
    const stream = world.send('GET', { 'mcp-session-id': 'lost' });
    await stream.status();
    await stream.hangUp();
    world.clock.advance(10);
    // The oldest of all, but the last to be left alone.
    await world.ping('idle').reply();
    world.clock.advance(10);
    await world.open('young');
    world.clock.advance(100);
    expect(world.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 3, hibernated: 0 });

    const evicted: string[] = [];
    world.router.sessions.on('closed', ({ id }, reason) => evicted.push(`${id} ${reason}`));
    await world.open('first');
    await world.open('second');
    expect(evicted).toEqual(['lost evicted', 'idle evicted']);
    expect(ids()).toEqual(['young', 'first', 'second']);
    expect(world.servers.size).toBe(3);
  });

  test('never evict a session that is not orphaned: those which are attached, or were until a moment ago', async () => {
    await started({ maxSessions: 2, orphanAfter: 100 });
    await world.open('busy');
    const call = await world.wait('busy', 'call');
    await call.hangUp();
    world.clock.advance(1000);
    await world.open('left');
    world.clock.advance(99);
    expect(await readiness()).toBe('full');
    await expectRefusal(world.initialize('c'), 'too many sessions');

    world.clock.advance(1);
    expect(await readiness()).toBe('ready');
    await world.open('d');
    expect(ids()).toEqual(['busy', 'd']);
  });

  test('do not wait for the server of the evicted to close', async () => {
    await started({ maxSessions: 1, orphanAfter: 100 });
    await world.open('stuck');
    world.serverOf.get('stuck')!.close = () => new Promise(() => undefined);
    world.clock.advance(100);
    await world.open('next');
    expect(ids()).toEqual(['next']);
    // Nobody waits longer than five seconds for a server that does not settle.
    world.clock.advance(5_000);
  });

  test('within one principal evict only its own, so that no principal can evict the sessions of all', async () => {
    await started({ maxSessions: 5, maxSessionsPerPrincipal: 2, orphanAfter: 100 });
    for (const [id, user] of [
      ['b1', 'bob'],
      ['b2', 'bob'],
      ['a1', 'alice'],
      ['a2', 'alice'],
    ] as const) {
      await world.open(id, as(user));
      world.clock.advance(10);
    }
    world.clock.advance(100);
    for (const id of ['a3', 'a4', 'a5', 'a6']) {
      await world.open(id, as('alice'));
      world.clock.advance(200);
    }
    expect(ids()).toEqual(['b1', 'b2', 'a5', 'a6']);
    expect(await world.metrics()).toMatchObject({ 'mcp_sessions_closed_total evicted': 4 });
  });

  test('within one principal refuse it while none of its own is orphaned, and refuse no other principal', async () => {
    await started({ maxSessions: 3, maxSessionsPerPrincipal: 1, orphanAfter: 100 });
    await world.open('orphan', as('bob'));
    world.clock.advance(100);
    const gate = world.holdFactory('a1');
    const pending = world.initialize('a1', as('alice'));
    await gate.reached.promise;
    await expectRefusal(world.initialize('a2', as('alice')), 'too many sessions of this principal');
    gate.resolve();
    await pending.reply();
    await expectRefusal(world.initialize('a3', as('alice')), 'too many sessions of this principal');
    await world.open('carol', as('carol'));
    expect(ids()).toEqual(['orphan', 'a1', 'carol']);
    expect(await world.metrics()).toMatchObject({ 'mcp_sessions_rejected_total principalAtCapacity': 2 });
  });

  test('count a factory whose client hung up until it has settled: 200 such clients run at most maxSessions factories', async () => {
    await started({ maxSessions: 5 });
    let running = 0;
    let mostRunning = 0;
    const gate = new Deferred();
    world.factory = async () => {
      running += 1;
      mostRunning = Math.max(mostRunning, running);
      await gate.promise;
      running -= 1;
      throw new Error('too late');
    };
    let refused = 0;
    for (let n = 0; n < 200; n += 1) {
      const exchange = world.initialize(`s${n}`);
      const before = running;
      // The first five factories run. The later requests are refused.
      if (n < 5) await until('its factory runs', () => running > before);
      else refused += (await exchange.status()) === 503 ? 1 : 0;
      await exchange.hangUp();
    }
    expect([mostRunning, refused, world.router.sessions.stats().initializing]).toEqual([5, 195, 0]);
    expect(await readiness()).toBe('full');

    gate.resolve();
    await until('all factories have settled', () => running === 0);
    world.factory = (context) => world.build(context);
    for (const id of ['a', 'b', 'c', 'd', 'e']) await world.open(id);
    expect(ids()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('count a factory until it has settled, although openTimeout has passed', async () => {
    await started({ maxSessions: 1, openTimeout: 500 });
    const gate = world.holdFactory('slow');
    const opening = world.initialize('slow');
    await gate.reached.promise;
    world.clock.advance(500);
    await expectRefusal(opening, 'the session could not be opened in time');
    await expectRefusal(world.initialize('next'), 'too many sessions');
    gate.resolve();
    await until('the late server is closed', () => world.serverOf.has('slow') && world.servers.size === 0);
    await endOfTurn();
    await world.open('next');
    expect(ids()).toEqual(['next']);
  });

  test('let callers without a principal evict only each other at maxAnonymousSessions', async () => {
    await started({ maxSessions: 4, maxAnonymousSessions: 2, orphanAfter: 100 });
    await world.open('alice', as('alice'));
    world.clock.advance(10);
    await world.open('x1');
    await world.open('x2');
    await expectRefusal(world.initialize('x3'), 'too many sessions');
    world.clock.advance(200);
    // The longest orphaned session of all is alice's.
    await world.open('x3');
    expect(ids()).toEqual(['alice', 'x2', 'x3']);
    await world.open('bob', as('bob'));
    expect(ids()).toEqual(['alice', 'x2', 'x3', 'bob']);
  });

  test("never let callers without a principal evict a named principal's session at maxSessions", async () => {
    await started({ maxSessions: 2, orphanAfter: 100 });
    await world.open('a1', as('alice'));
    await world.open('a2', as('alice'));
    world.clock.advance(200);
    await expectRefusal(world.initialize('x'), 'too many sessions');
    expect(ids()).toEqual(['a1', 'a2']);
    // A named principal evicts the longest orphaned session of all.
    await world.open('b', as('bob'));
    expect(ids()).toEqual(['a2', 'b']);
  });

  test('within one principal do not bind sessions without a principal', async () => {
    await started({ maxSessions: 3, maxSessionsPerPrincipal: 1 });
    for (const id of ['a', 'b', 'c']) await world.open(id);
    expect(ids()).toEqual(['a', 'b', 'c']);
  });

  test('hold against a crowd: of 50 that ask at once for 10 places, 10 get one', async () => {
    let n = 0;
    await started({ maxSessions: 10, sessionIdGenerator: () => `session-${n++}` });
    world.factory = async (context) => {
      await sleep(5);
      return world.build(context);
    };
    const replies = await Promise.all(Array.from({ length: 50 }, () => world.initialize('').reply()));
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(10);
    expect(replies.filter(({ status }) => status === 503)).toHaveLength(40);
    expect(world.servers.size).toBe(10);
    expect(await world.metrics()).toEqual({
      mcp_sessions_active: 10,
      mcp_sessions_opened_total: 10,
      'mcp_sessions_rejected_total atCapacity': 40,
    });
  });
});
