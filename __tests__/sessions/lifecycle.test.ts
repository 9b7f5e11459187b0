import { pino } from 'pino';
import type { McpRouterOptions } from '../../src/index.js';
import { LogLines } from '../support/log-lines.js';
import { initializeBody } from '../support/harness.js';
import { soon, until } from '../support/waiting.js';
import { type Exchange, World } from './world.js';

let world: World;
afterEach(async () => {
  for (const gate of world.gates.values()) gate.resolve();
  await world.router.close();
  await world.stop();
});

const started = async (options: Partial<McpRouterOptions> = {}): Promise<World> => (world = await World.start(options));
const header = (session: string) => ({ 'mcp-session-id': session });
const ids = (): string[] => world.router.sessions.list().map(({ id }) => id);

/** Whether the promise has settled by now, however many microtasks that takes. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  const turn = new Promise((resolve) => setImmediate(() => resolve(pending)));
  return (await Promise.race([promise.catch(() => undefined), turn])) !== pending;
}

async function probe(which: 'health' | 'ready'): Promise<[status: number, body: unknown]> {
  let body = '';
  const res = { statusCode: 0, setHeader: () => undefined, end: (text: string) => (body = text) };
  await world.router[which]({} as never, res as never, () => undefined);
  return [res.statusCode, JSON.parse(body)];
}

/** Why sessions were closed, in order, with the state that each was in before. */
function closings(): string[] {
  const seen: string[] = [];
  world.router.sessions.on('closed', ({ id, state }, reason) => seen.push(`${id} ${state} ${reason}`));
  return seen;
}

async function expectStopped(): Promise<void> {
  expect(world.router.sessions.list()).toEqual([]);
  for (const exchange of world.exchanges) await exchange.over();
  expect(world.servers.size).toBe(0);
  expect(world.clock.pending).toBe(0);
  expect(await probe('ready')).toEqual([503, { status: 'draining' }]);
  expect(await probe('health')).toEqual([200, { status: 'ok' }]);
  expect((await world.initialize('late').reply()).status).toBe(503);
}

describe('drain refuses new sessions, lets requests finish and ends streams (docs/operations.md, "Stopping")', () => {
  test('lets a call finish, serves sessions that are there and takes no new ones; then ends streams, and closes all', async () => {
    await started();
    const seen = closings();
    await world.open('a');
    await world.open('b');
    const call = await world.wait('a', 'call');
    const streams = ['a', 'b'].map((id) => world.send('GET', header(id)));
    for (const stream of streams) expect(await stream.status()).toBe(200);
    expect(await probe('ready')).toEqual([200, { status: 'ready' }]);

    const drained = world.router.drain(60_000);
    expect(await probe('ready')).toEqual([503, { status: 'draining' }]);
    const refused = await world.initialize('c').reply();
    expect([refused.status, refused.headers['retry-after'], JSON.parse(refused.text).error.code]).toEqual([
      503,
      '5',
      -32000,
    ]);
    expect((await world.ping('b').reply()).status).toBe(200);
    // A stream would hold up the end that it is opened for.
    expect((await world.send('GET', header('b')).reply()).status).toBe(503);
    expect(await isSettled(drained)).toBe(false);
    // Its client would try to open another, here, and give up before there is anywhere else.
    for (const stream of streams) expect(await isSettled(stream.over())).toBe(false);
    expect(seen).toEqual([]);

    (await world.handler('call')).finish();
    expect((await call.reply()).text).toContain('"result"');
    for (const stream of streams) expect(await stream.reply()).toMatchObject({ status: 200 });
    await soon('the drain is over', drained);
    expect(seen).toEqual(['a active shutdown', 'b active shutdown']);
    expect(await world.metrics()).toMatchObject({ 'mcp_sessions_rejected_total draining': 1 });
    await expectStopped();
  });

  test('waits for a call whose client has gone', async () => {
    await started();
    await world.open('a');
    const call = await world.wait('a', 'call');
    await call.hangUp();
    const drained = world.router.drain(60_000);
    expect(await isSettled(drained)).toBe(false);
    (await world.handler('call')).finish();
    await soon('the drain is over', drained);
    await expectStopped();
  });

  test.each([
    ['an SSE reply', false],
    ['a JSON reply', true],
  ])('ends a call that outlasts the time-out: %s', async (_, enableJsonResponse) => {
    await started({ enableJsonResponse });
    await world.open('a');
    const call = await world.wait('a', 'call');
    const drained = world.router.drain(1_000);
    world.clock.advance(999);
    expect(await isSettled(drained)).toBe(false);
    expect((await world.handler('call')).signal.aborted).toBe(false);
    world.clock.advance(1);
    await soon('the drain is over', drained);
    expect((await world.handler('call')).signal.aborted).toBe(true);
    const { status, text } = await call.reply();
    expect(status).toBe(200);
    expect(JSON.parse(enableJsonResponse ? text : text.slice(text.indexOf('{')))).toEqual({
      jsonrpc: '2.0',
      id: 'call',
      error: { code: -32000, message: 'Session closed' },
    });
    await expectStopped();
  });

  test('is over at once when every session is orphaned', async () => {
    await started({ orphanAfter: 100 });
    const seen = closings();
    await world.open('a');
    world.clock.advance(100);
    await soon('the drain is over', world.router.drain(60_000));
    expect(seen).toEqual(['a orphaned shutdown']);
    await expectStopped();
  });

  test('is over at once without sessions', async () => {
    await started();
    await soon('the drain is over', world.router.drain(60_000));
    await expectStopped();
  });

  test('again, and close before, meanwhile and after, are one and the same end', async () => {
    await started();
    const seen = closings();
    await world.open('a');
    const call = await world.wait('a', 'call');
    const drains = [world.router.drain(1_000), world.router.drain(2_000)];
    expect(await isSettled(drains[0]!)).toBe(false);
    const closes = [world.router.close(), world.router.close()];
    await soon('all are over', Promise.all([...drains, ...closes]));
    await soon('once more', Promise.all([world.router.drain(1_000), world.router.close()]));
    expect(seen).toEqual(['a active shutdown']);
    expect((await call.reply()).status).toBe(200);
    await expectStopped();
  });

  test('after close is over at once', async () => {
    await started();
    await world.open('a');
    await world.router.close();
    await soon('the drain is over', world.router.drain(60_000));
    await expectStopped();
  });

  test.each([NaN, -1, Infinity, 2 ** 31, '1000', undefined])(
    'refuses %p for a time-out, and then nothing is stopped',
    async (ms) => {
      await started();
      await expect(async () => world.router.drain(ms as number)).rejects.toThrow(
        `drain takes milliseconds from 0 to 2147483647; got ${ms}`,
      );
      expect(await probe('ready')).toEqual([200, { status: 'ready' }]);
      await world.open('a');
    },
  );
});

describe('close ends everything (README, "Options")', () => {
  test('ends every kind of reply, aborts handlers and pending opens, and waits for the servers', async () => {
    await started();
    const seen = closings();
    await world.open('a');
    const call = await world.wait('a', 'call');
    const abandoned = await world.wait('a', 'abandoned');
    await abandoned.hangUp();
    const stream = world.send('GET', header('a'));
    await stream.status();
    const gate = world.holdFactory('b');
    const opening = world.initialize('b');
    await gate.reached.promise;
    const part = world.sendPart({ ...header('a'), 'content-length': 60 }, '{"jsonrpc": "2.0",');
    await part.arrived.promise;

    await soon('all is closed', world.router.close());
    expect(seen).toEqual(['a active shutdown']);
    expect((await call.reply()).text).toContain('Session closed');
    expect((await stream.reply()).status).toBe(200);
    expect((await opening.reply()).status).toBe(503);
    for (const key of ['call', 'abandoned']) expect((await world.handler(key)).signal.aborted).toBe(true);
    for (const { signal } of world.contexts) expect(signal.aborted).toBe(true);
    await part.hangUp();
    await expectStopped();
  });

  test('waits for servers that take their time, also those of sessions that were closed before', async () => {
    await started();
    await world.open('a');
    await world.open('b');
    const closing: (() => void)[] = [];
    for (const server of world.servers) {
      const close = server.close.bind(server);
      server.close = () => new Promise<void>((resolve) => closing.push(() => resolve(close())));
    }
    const terminated = await world.send('DELETE', header('a')).reply();
    expect(terminated.status).toBe(200);
    const closed = world.router.close();
    expect(await isSettled(closed)).toBe(false);
    closing[0]!();
    expect(await isSettled(closed)).toBe(false);
    closing[1]!();
    await soon('all is closed', closed);
    await expectStopped();
  });

  test('waits for what an open that it ends has begun to be undone', async () => {
    await started();
    let finish = (): void => undefined;
    world.factory = () => {
      const server = world.make();
      const close = server.close.bind(server);
      server.close = () => new Promise<void>((resolve) => (finish = () => resolve(close())));
      const connect = server.connect.bind(server);
      server.connect = async (transport) => {
        await connect(transport);
        await world.gates.get('a')!.promise;
      };
      world.gates.get('a')!.reached.resolve();
      return server;
    };
    const gate = world.holdFactory('a');
    const opening = world.initialize('a');
    await gate.reached.promise;
    const closed = world.router.close();
    expect(await isSettled(closed)).toBe(false);
    finish();
    await soon('all is closed', closed);
    expect((await opening.reply()).status).toBe(503);
    await expectStopped();
  });

  test.each<[string, () => Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('cannot close');
      },
    ],
    ['rejects', () => Promise.reject(new Error('cannot close'))],
  ])('a server whose close() %s is logged, and does not delay the close of the router', async (_, close) => {
    const log = new LogLines();
    await started({ logger: pino({ level: 'error' }, log) });
    for (const id of ['a', 'b']) {
      await world.open(id);
      world.serverOf.get(id)!.close = close;
    }
    expect(await world.router.sessions.close('a')).toBe(true);
    expect(log.all).toMatchObject([{ msg: 'failure', what: 'server.close', err: { message: 'cannot close' } }]);
    await soon('all is closed', world.router.close());
    expect(log.all).toHaveLength(2);
    world.servers.clear();
    await expectStopped();
  });

  test('a server whose close() never settles is waited for five seconds and no longer', async () => {
    await started();
    await world.open('a');
    world.serverOf.get('a')!.close = () => new Promise(() => undefined);
    const closed = world.router.close();
    world.clock.advance(4_999);
    expect(await isSettled(closed)).toBe(false);
    expect(world.router.sessions.list()).toEqual([]);
    world.clock.advance(1);
    await soon('all is closed', closed);
    world.servers.clear();
    await expectStopped();
  });

  /** How many turns of the microtask queue it takes to open a session, and more. */
  const TURNS = Array.from({ length: 40 }, (_, turns) => turns);

  test.each(['initialize', 'tools/call'] as const)(
    'of a stateless router, however far a call has come: %s',
    async (method) => {
      for (const turns of TURNS) {
        await started({ stateless: true, sessionIdGenerator: undefined });
        let go = (): void => undefined;
        const reached = new Promise<void>((resolve) => {
          world.factory = async (context) => {
            const held = new Promise<void>((release) => (go = release));
            resolve();
            await held;
            return world.build(context);
          };
        });
        const params = { name: 'wait', arguments: { key: 'never' } };
        const body = method === 'initialize' ? initializeBody() : { jsonrpc: '2.0', id: 1, method, params };
        const exchange = world.send('POST', {}, body);
        await reached;
        go();
        for (let i = 0; i < turns; i += 1) await Promise.resolve();
        await soon(`all is closed, ${turns} turns later`, world.router.close());
        await soon(`the reply has ended, ${turns} turns later`, exchange.over());
        expect([turns, world.servers.size, world.clock.pending]).toEqual([turns, 0, 0]);
        await world.stop();
      }
    },
  );

  test('however far the opening of a session has come', async () => {
    for (const turns of TURNS) {
      await started();
      const gate = world.holdFactory('a');
      const exchange = world.initialize('a');
      await gate.reached.promise;
      gate.resolve();
      for (let i = 0; i < turns; i += 1) await Promise.resolve();
      await soon(`all is closed, ${turns} turns later`, world.router.close());
      await soon(`the reply has ended, ${turns} turns later`, exchange.over());
      expect([turns, ids(), world.servers.size, world.clock.pending]).toEqual([turns, [], 0, 0]);
      await world.stop();
    }
  });
});

describe('a POST whose body never comes', () => {
  const body = '{"jsonrpc": "2.0",';
  const sendPart = async (headers: Record<string, string> = {}): Promise<Exchange> => {
    const part = world.sendPart({ ...headers, 'content-length': 60 }, body);
    await part.arrived.promise;
    return part;
  };
  const expectRefused = async (part: Exchange): Promise<void> => {
    const { status, headers } = await part.reply();
    expect([status, headers.connection, headers['retry-after']]).toEqual([503, 'close', '5']);
  };

  test('holds up a drain, as a request on a session does, and is ended after the time-out', async () => {
    await started();
    await world.open('a');
    const part = await sendPart(header('a'));
    const drained = world.router.drain(1_000);
    world.clock.advance(999);
    expect(await isSettled(drained)).toBe(false);
    world.clock.advance(1);
    await soon('the drain is over', drained);
    await expectRefused(part);
    await expectStopped();
  });

  test.each<[string, Partial<McpRouterOptions>]>([
    ['sessions', {}],
    ['stateless', { stateless: true, sessionIdGenerator: undefined }],
  ])('is ended by close: %s', async (_, options) => {
    await started(options);
    const part = await sendPart();
    await soon('all is closed', world.router.close());
    await expectRefused(part);
    await expectStopped();
  });

  test('is ended after a second if it begins after close()', async () => {
    await started();
    await world.router.close();
    const part = await sendPart();
    await until('it is being read', () => world.clock.pending === 1);
    world.clock.advance(1_000);
    await expectRefused(part);
    await expectStopped();
  });

  test('is served if its body arrives while the router drains', async () => {
    await started();
    await world.open('a');
    const params = { name: 'wait', arguments: { key: 'call' } };
    const call = JSON.stringify({ jsonrpc: '2.0', id: 'call', method: 'tools/call', params });
    world.expectCall('call');
    const part = world.sendPart({ ...header('a'), 'content-length': call.length }, call.slice(0, 10));
    await part.arrived.promise;
    const drained = world.router.drain(60_000);
    expect(await isSettled(drained)).toBe(false);
    part.finish(call.slice(10));
    const handler = await world.handler('call');
    expect(await isSettled(drained)).toBe(false);
    handler.finish();
    expect((await part.reply()).text).toContain('"result"');
    await soon('the drain is over', drained);
    await expectStopped();
  });
});

describe('a stateless router', () => {
  const call = {
    jsonrpc: '2.0',
    id: 'call',
    method: 'tools/call',
    params: { name: 'wait', arguments: { key: 'call' } },
  };
  const calling = async (): Promise<Exchange> => {
    await started({ stateless: true, sessionIdGenerator: undefined });
    world.expectCall('call');
    const exchange = world.send('POST', {}, call);
    await world.handler('call');
    return exchange;
  };

  test('drains: refuses new requests and lets those that run finish', async () => {
    const exchange = await calling();
    const drained = world.router.drain(60_000);
    expect((await world.send('POST', {}, { jsonrpc: '2.0', id: 1, method: 'ping' }).reply()).status).toBe(503);
    expect(await isSettled(drained)).toBe(false);
    (await world.handler('call')).finish();
    expect((await exchange.reply()).text).toContain('"result"');
    await soon('the drain is over', drained);
    await expectStopped();
  });

  test('drains no longer than it may', async () => {
    const exchange = await calling();
    const drained = world.router.drain(1_000);
    world.clock.advance(1_000);
    await soon('the drain is over', drained);
    expect((await exchange.reply()).text).toContain('Session closed');
    expect((await world.handler('call')).signal.aborted).toBe(true);
    await expectStopped();
  });

  test('closes: every reply ends, every handler is aborted, every server is closed', async () => {
    const exchange = await calling();
    const closes = [world.router.close(), world.router.close(), world.router.drain(1_000)];
    await soon('all is closed', Promise.all(closes));
    expect((await exchange.reply()).text).toContain('Session closed');
    expect((await world.handler('call')).signal.aborted).toBe(true);
    await expectStopped();
  });

  test('is drained at once when nothing runs', async () => {
    await started({ stateless: true, sessionIdGenerator: undefined });
    await soon('the drain is over', world.router.drain(60_000));
    await expectStopped();
  });
});
