import { CallToolRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { until } from '../support/waiting.js';
import { World } from './world.js';

const header = (session: string) => ({ 'mcp-session-id': session });

describe('the reaper (docs/sessions.md, "States" and "How a session ends")', () => {
  let world: World;
  afterEach(async () => {
    await world.router.close();
    await world.stop();
  });

  const started = async (options: Partial<McpRouterOptions> = {}): Promise<World> =>
    (world = await World.start(options));
  const stateOf = (id: string): string => {
    const session = world.router.sessions.get(id);
    return session === undefined ? 'gone' : [session.state, session.orphanCause ?? []].flat().join(' ');
  };
  const loseStream = async (id: string): Promise<void> => {
    const stream = world.send('GET', header(id));
    expect(await stream.status()).toBe(200);
    await stream.hangUp();
  };
  const statusOfPing = async (id: string): Promise<number> => (await world.ping(id).reply()).status;

  test('counts a session as orphaned after orphanAfter, and closes it after ttl, to the millisecond', async () => {
    await started({ ttl: 1_000, orphanAfter: 300 });
    await world.open('a');
    for (const [ms, state] of [
      [299, 'active'],
      [1, 'orphaned idle'],
      [699, 'orphaned idle'],
      [1, 'gone'],
    ] as const) {
      world.clock.advance(ms);
      expect(stateOf('a')).toBe(state);
    }
    expect(await statusOfPing('a')).toBe(404);
  });

  test('counts both from the last exchange; an orphan whose client is back is active again', async () => {
    await started({ ttl: 1_000, orphanAfter: 300 });
    await world.open('a');
    world.clock.advance(999);
    expect(stateOf('a')).toBe('orphaned idle');
    expect(await statusOfPing('a')).toBe(200);
    expect(stateOf('a')).toBe('active');
    world.clock.advance(299);
    expect(stateOf('a')).toBe('active');
    world.clock.advance(700);
    expect(stateOf('a')).toBe('orphaned idle');
    world.clock.advance(1);
    expect(stateOf('a')).toBe('gone');
  });

  test('with orphanAfter as long as ttl, a session emits orphaned and then closed', async () => {
    await started({ ttl: 1_000, orphanAfter: 1_000 });
    const seen: string[] = [];
    world.router.sessions.on('orphaned', (_, cause) => seen.push(cause)).on('closed', (_, reason) => seen.push(reason));
    await world.open('a');
    world.clock.advance(999);
    expect(seen).toEqual([]);
    // A timer of 0 ms takes 1.
    world.clock.advance(2);
    expect(seen).toEqual(['idle', 'expired']);
    await until('nothing is left', () => world.clock.pending === 0);
  });

  test('closes a session by orphanTtl if it lost its stream, and by ttl if it never had one', async () => {
    await started({ ttl: 1_000, orphanAfter: 100, orphanTtl: 400 });
    await world.open('idle');
    await world.open('lost');
    await loseStream('lost');
    world.clock.advance(100);
    expect([stateOf('idle'), stateOf('lost')]).toEqual(['orphaned idle', 'orphaned stream_lost']);
    world.clock.advance(299);
    expect(stateOf('lost')).toBe('orphaned stream_lost');
    world.clock.advance(1);
    expect([stateOf('idle'), stateOf('lost')]).toEqual(['orphaned idle', 'gone']);
    world.clock.advance(600);
    expect(stateOf('idle')).toBe('gone');
  });

  test.each([
    ['has begun to stream: a stream that was lost', 200, false, 'orphaned stream_lost'],
    ['has not begun: no stream as yet', 199, false, 'orphaned idle'],
    ['will be JSON: no stream at all', 200, true, 'orphaned idle'],
  ])('takes the reply of a call that is left, where it %s', async (_, ms, enableJsonResponse, state) => {
    await started({ ttl: 1_000, orphanAfter: 100, orphanTtl: 400, keepAlive: 200, enableJsonResponse });
    await world.open('a');
    const call = await world.wait('a', 'call');
    world.clock.advance(ms);
    await call.hangUp();
    (await world.handler('call')).finish();
    await until('the call is settled', () => world.router.sessions.get('a')!.requests === 0);
    world.clock.advance(100);
    expect(stateOf('a')).toBe(state);
  });

  test('forgets a lost stream once its client has another, which the server then ends', async () => {
    await started({ ttl: 1_000, orphanAfter: 100, orphanTtl: 400, eventStore: memoryEventStore() });
    world.factory = () => {
      const server = world.make();
      server.server.setRequestHandler(CallToolRequestSchema, (_, { closeStandaloneSSEStream }) => {
        closeStandaloneSSEStream?.();
        return { content: [] };
      });
      return server;
    };
    await world.open('a');
    await loseStream('a');
    const stream = world.send('GET', header('a'));
    await stream.status();
    await world.call('a', 'poll').reply();
    expect((await stream.reply()).status).toBe(200);
    world.clock.advance(100);
    expect(stateOf('a')).toBe('orphaned idle');
  });

  test('does not count requests of other principals as a sign of life', async () => {
    await started({ ttl: 1_000, orphanAfter: 300 });
    await world.open('a', { 'x-user': 'alice' });
    world.clock.advance(500);
    for (const method of ['POST', 'GET', 'DELETE']) {
      const body = method === 'POST' ? { jsonrpc: '2.0', id: 1, method: 'ping' } : undefined;
      const { status } = await world.send(method, { ...header('a'), 'x-user': 'mallory' }, body).reply();
      expect(status).toBe(404);
    }
    expect(stateOf('a')).toBe('orphaned idle');
    world.clock.advance(500);
    expect(stateOf('a')).toBe('gone');
  });

  test('leaves a session alone for as long as a stream is open', async () => {
    await started({ ttl: 1_000, orphanAfter: 300 });
    await world.open('a');
    const stream = world.send('GET', header('a'));
    await stream.status();
    world.clock.advance(100_000);
    expect(stateOf('a')).toBe('active');
    await stream.hangUp();
    world.clock.advance(999);
    expect(stateOf('a')).toBe('orphaned stream_lost');
    world.clock.advance(1);
    expect(stateOf('a')).toBe('gone');
  });

  test('leaves a session alone for as long as a handler runs, though its client has gone (spec 2025-11-25)', async () => {
    await started({ ttl: 1_000, orphanAfter: 300 });
    await world.open('a');
    const call = await world.wait('a', 'call');
    await call.hangUp();
    world.clock.advance(100_000);
    expect(stateOf('a')).toBe('active');
    expect((await world.handler('call')).signal.aborted).toBe(false);
    (await world.handler('call')).finish();
    await until('the call is settled', () => world.router.sessions.get('a')!.requests === 0);
    world.clock.advance(999);
    expect(stateOf('a')).toBe('orphaned idle');
    world.clock.advance(1);
    expect(stateOf('a')).toBe('gone');
  });

  test('is not kept waiting for ever by a handler that never settles: requestTimeout ends its lease', async () => {
    await started({ ttl: 1_000, orphanAfter: 300, requestTimeout: 5_000 });
    await world.open('a');
    const call = await world.wait('a', 'call');
    await call.hangUp();
    world.clock.advance(5_000);
    expect((await world.handler('call')).signal.aborted).toBe(true);
    expect(stateOf('a')).toBe('active');
    world.clock.advance(1_000);
    expect(stateOf('a')).toBe('gone');
  });

  test('ends a session at maxLifetime, however busy its client is', async () => {
    await started({ ttl: 1_000, orphanAfter: 300, maxLifetime: 2_000 });
    const closed: string[] = [];
    world.router.sessions.on('closed', (_, reason) => closed.push(reason));
    await world.open('a');
    for (let age = 0; age < 1_900; age += 100) {
      world.clock.advance(100);
      expect(await statusOfPing('a')).toBe(200);
    }
    world.clock.advance(99);
    expect(stateOf('a')).toBe('active');
    world.clock.advance(1);
    expect([stateOf('a'), closed]).toEqual(['gone', ['lifetime']]);
    expect(await statusOfPing('a')).toBe(404);
  });

  test('at maxLifetime ends streams and takes nothing new, but lets what runs be heard, cancelled and finished', async () => {
    await started({ maxLifetime: 2_000 });
    const closed: string[] = [];
    world.router.sessions.on('closed', (_, reason) => closed.push(reason));
    await world.open('a');
    const stream = world.send('GET', header('a'));
    await stream.status();
    const calls = [await world.wait('a', 'first'), await world.wait('a', 'second')];
    world.clock.advance(2_000);

    expect((await stream.reply()).status).toBe(200);
    expect(await statusOfPing('a')).toBe(404);
    expect((await world.send('GET', header('a')).reply()).status).toBe(404);
    expect(closed).toEqual([]);
    const cancelled = world.notify('a', 'notifications/cancelled', { requestId: 'first' });
    expect((await cancelled.reply()).status).toBe(202);
    expect((await calls[0]!.reply()).text).toBe('');
    expect(stateOf('a')).toBe('active');
    (await world.handler('second')).finish();
    expect((await calls[1]!.reply()).text).toContain('"result"');
    expect([stateOf('a'), closed]).toEqual(['gone', ['lifetime']]);
  });

  test('closes an orphan at whichever comes first, and once', async () => {
    await started({ ttl: 1_000, orphanAfter: 300, maxLifetime: 900 });
    const closed: string[] = [];
    world.router.sessions.on('closed', (_, reason) => closed.push(reason));
    await world.open('a');
    world.clock.advance(100_000);
    expect(closed).toEqual(['lifetime']);
    await until('nothing is left', () => world.clock.pending === 0);
  });
});
