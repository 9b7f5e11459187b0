import { setTimeout as sleep } from 'node:timers/promises';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { InitializeRequestSchema, McpError } from '@modelcontextprotocol/sdk/types.js';
import type { McpRouterOptions } from '../../src/index.js';
import { echoCall, initializeBody } from '../support/harness.js';
import { never, soon, until } from '../support/waiting.js';
import { expectNothingLeft, expectRefusal, Gate, World } from './world.js';

let world: World;
afterEach(async () => {
  await world.router.close();
  await world.stop();
});

const started = async (options: Partial<McpRouterOptions> = {}): Promise<World> => (world = await World.start(options));
const as = (user: string) => ({ 'x-user': user });
const ids = (): string[] => world.router.sessions.list().map(({ id }) => id);

describe('opening has one lock for each session, a promise that every concurrent request awaits (docs/sessions.md, "States")', () => {
  test('100 simultaneous initialize POSTs with 20 ms factories make 100 sessions, each with its own server', async () => {
    let n = 0;
    await started({ sessionIdGenerator: () => `session-${n++}` });
    world.factory = async (context) => {
      await sleep(20);
      return world.build(context);
    };
    const replies = await Promise.all(Array.from({ length: 100 }, () => world.initialize('').reply()));
    expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200));
    const opened = replies.map(({ headers }) => headers['mcp-session-id'] as string);
    expect(new Set(opened)).toEqual(new Set(ids()));
    expect(new Set(world.serverOf.values()).size).toBe(100);
    expect(world.router.sessions.stats()).toEqual({ initializing: 0, active: 100, orphaned: 0, hibernated: 0 });

    const calls = await Promise.all(opened.map((id) => world.wait(id, `call of ${id}`)));
    for (const id of opened) (await world.handler(`call of ${id}`)).finish();
    for (const [i, call] of calls.entries()) expect((await call.reply()).text).toContain(`"call of ${opened[i]!}"`);
  });

  const opening = async () => {
    await started();
    const gate = world.holdFactory('known');
    const initialize = world.initialize('known', as('alice'));
    await gate.reached.promise;
    return { gate, initialize };
  };
  const headers = { 'mcp-session-id': 'known', ...as('alice') };

  test('requests that arrive on a session while it opens wait for it, and are served by the one server', async () => {
    const { gate, initialize } = await opening();
    const ping = world.ping('known', as('alice'));
    const stream = world.send('GET', headers);
    const notification = world.notify('known', 'notifications/initialized', {}, as('alice'));
    const waiting = [ping, stream, notification];
    for (const exchange of waiting) await exchange.arrived.promise;
    expect(world.router.sessions.stats()).toEqual({ initializing: 1, active: 0, orphaned: 0, hibernated: 0 });

    gate.resolve();
    expect((await initialize.reply()).status).toBe(200);
    expect((await ping.reply()).status).toBe(200);
    expect(await stream.status()).toBe(200);
    expect((await notification.reply()).status).toBe(202);
    expect(world.contexts).toHaveLength(1);
    expect(world.router.sessions.stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });
  });

  test('a DELETE that arrives while it opens ends it as soon as it is open', async () => {
    const { gate, initialize } = await opening();
    const closed: string[] = [];
    world.router.sessions.on('closed', ({ id }, reason) => closed.push(`${id} ${reason}`));
    const termination = world.send('DELETE', headers);
    await termination.arrived.promise;
    gate.resolve();
    expect((await initialize.reply()).status).toBe(200);
    expect((await termination.reply()).status).toBe(200);
    expect(closed).toEqual(['known deleted']);
    await expectNothingLeft(world);
  });

  test('another principal gets its 404 at once, and does not learn that anything opens', async () => {
    const { gate, initialize } = await opening();
    for (const method of ['POST', 'GET', 'DELETE']) {
      const body = method === 'POST' ? echoCall(1, 'x') : undefined;
      const { status, text } = await world.send(method, { ...headers, ...as('mallory') }, body).reply();
      const none = await world.send(method, { ...headers, 'mcp-session-id': 'none' }, body).reply();
      expect([status, text]).toEqual([404, none.text]);
    }
    expect(world.router.sessions.stats().initializing).toBe(1);
    gate.resolve();
    expect((await initialize.reply()).status).toBe(200);
  });

  test('a second initialize that names it is refused with 400 while it opens, and makes nothing', async () => {
    const { gate, initialize } = await opening();
    const { status, text } = await world.send('POST', headers, initializeBody(7)).reply();
    expect([status, JSON.parse(text)]).toMatchObject([400, { id: 7, error: { code: -32600 } }]);
    expect(world.contexts).toHaveLength(1);
    gate.resolve();
    expect((await initialize.reply()).status).toBe(200);
  });

  test('requests that waited for a session that cannot be opened get 404, and nothing is left', async () => {
    const { gate, initialize } = await opening();
    const waiting = [world.ping('known', as('alice')), world.send('GET', headers), world.send('DELETE', headers)];
    for (const exchange of waiting) await exchange.arrived.promise;
    gate.reject(new Error('the factory failed'));
    expect((await initialize.reply()).status).toBe(500);
    for (const exchange of waiting) expect((await exchange.reply()).status).toBe(404);
    await expectNothingLeft(world);
  });
});

describe('session IDs (spec 2025-11-25, basic/transports: visible ASCII, unique)', () => {
  test.each([
    ['an empty one', ''],
    ['a space', 'a b'],
    ['a line break', 'a\nb'],
    ['a message beyond ASCII', 'sesión'],
    ['DEL', 'a\x7f'],
    ['a number', 7],
    ['nothing', undefined],
    ['a promise', Promise.resolve('a')],
  ])('that the generator must not give, %s, are answered with 500 and leave nothing', async (_, id) => {
    await started({ sessionIdGenerator: () => id as string });
    expect(await world.initialize('').reply()).toMatchObject({ status: 500 });
    expect(world.contexts).toEqual([]);
    await expectNothingLeft(world);
  });

  test('of a generator that throws are answered with 500 and leave nothing', async () => {
    await started({
      sessionIdGenerator: () => {
        throw new Error('no entropy');
      },
    });
    expect(await world.initialize('').reply()).toMatchObject({ status: 500 });
    await expectNothingLeft(world);
  });

  test('that the generator repeats are answered with 500, and the session that has the ID lives on', async () => {
    await started();
    const gate = world.holdFactory('same');
    const first = world.initialize('same', as('alice'));
    await gate.reached.promise;
    expect(await world.initialize('same', as('bob')).reply()).toMatchObject({ status: 500 });
    gate.resolve();
    expect(await first.reply()).toMatchObject({ status: 200 });
    expect(await world.initialize('same', as('bob')).reply()).toMatchObject({ status: 500 });
    expect(await world.ping('same', as('alice')).reply()).toMatchObject({ status: 200 });
    expect(await world.ping('same', as('bob')).reply()).toMatchObject({ status: 404 });
    expect(world.contexts).toHaveLength(1);
    expect(world.servers.size).toBe(1);
  });

  test.each([
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['4096 characters', 'x'.repeat(4096)],
  ])('such as %s are as good as any', async (_, id) => {
    await started();
    expect(await world.ping(id).reply()).toMatchObject({ status: 404 });
    await world.open(id);
    expect(await world.ping(id).reply()).toMatchObject({ status: 200 });
    expect(ids()).toEqual([id]);
    expect((await world.send('DELETE', { 'mcp-session-id': id }).reply()).status).toBe(200);
    await expectNothingLeft(world);
  });
});

describe('an open that fails leaves nothing: no server, no session, no timer, no gauge (docs/sessions.md, "How a session ends")', () => {
  test.each([
    ['Accept has neither JSON nor SSE', 406, { accept: 'text/html' }, initializeBody()],
    ['Content-Type is not JSON', 415, { 'content-type': 'text/plain' }, initializeBody()],
    ['the body is not JSON', 400, {}, '{"jsonrpc":'],
    ['the params are none of initialize', 400, {}, { jsonrpc: '2.0', id: 0, method: 'initialize', params: {} }],
    ['it comes in a batch', 400, {}, [initializeBody()]],
  ])('when %s: %i, and the factory is not asked', async (_, status, headers, body) => {
    await started();
    expect((await world.send('POST', headers, body).reply()).status).toBe(status);
    expect(world.contexts).toEqual([]);
    await expectNothingLeft(world);
    expect(await world.metrics()).toEqual({});
  });

  test('when the client hangs up in the middle of the body', async () => {
    await started();
    const exchange = world.sendPart({ 'content-length': 200 }, JSON.stringify(initializeBody()).slice(0, 40));
    await exchange.arrived.promise;
    await exchange.hangUp();
    expect(world.contexts).toEqual([]);
    await expectNothingLeft(world);
  });

  /** The `initialize` fails as an internal error does, leaves nothing, and the next one opens a session. */
  const expectFailure = async (): Promise<void> => {
    expect(await world.initialize('a').reply()).toMatchObject({ status: 500 });
    await expectNothingLeft(world);
    expect(await world.metrics()).toEqual({ 'mcp_sessions_rejected_total internalError': 1 });
    world.factory = (context) => world.build(context);
    await world.open('next');
  };

  /** Servers that do something else where the SDK's would connect. */
  const withConnect = (
    connect: (server: McpServer, transport: Transport, goOn: () => Promise<void>) => Promise<void>,
  ): void => {
    world.factory = () => {
      const server = world.make();
      const original = server.connect.bind(server);
      server.connect = (transport) => connect(server, transport, () => original(transport));
      return server;
    };
  };

  test('when connect() rejects after it has taken the transport: 500', async () => {
    await started();
    withConnect(async (_server, _transport, goOn) => {
      await goOn();
      throw new Error('refused');
    });
    await expectFailure();
  });

  test('when the server closes itself as soon as it is connected: 500', async () => {
    await started();
    withConnect(async (server, _transport, goOn) => {
      await goOn();
      await server.close();
    });
    await expectFailure();
  });

  /** Servers that do something else where the SDK's would answer `initialize`. */
  const withInitialize = (answer: (server: McpServer) => Promise<never>): void => {
    world.factory = () => {
      const server = world.make();
      server.server.setRequestHandler(InitializeRequestSchema, () => answer(server));
      return server;
    };
  };

  test('when the server closes itself while it initializes: 500', async () => {
    await started();
    withInitialize(async (server) => {
      await server.close();
      return never();
    });
    await expectFailure();
  });

  test("when the server answers initialize with an error: the client gets the server's own words, and no session", async () => {
    await started();
    withInitialize(() => Promise.reject(new McpError(-32042, 'Not today')));
    const { status, headers, text } = await world.initialize('a').reply();
    expect(status).toBe(200);
    expect(headers).not.toHaveProperty('mcp-session-id');
    expect(JSON.parse(text)).toMatchObject({
      id: 0,
      error: { code: -32042, message: expect.stringContaining('Not today') },
    });
    await expectNothingLeft(world);
  });

  /** Where an opening can hang. */
  const places: [string, (held: Gate) => void][] = [
    ['the factory runs', (held) => world.gates.set('a', held)],
    [
      'connect() runs, before it takes the transport',
      (held) =>
        withConnect(async (_server, _transport, goOn) => {
          held.reached.resolve();
          await held.promise;
          await goOn();
        }),
    ],
    [
      'connect() runs, after it took the transport',
      (held) =>
        withConnect(async (_server, _transport, goOn) => {
          await goOn();
          held.reached.resolve();
          await held.promise;
        }),
    ],
    [
      'the server initializes',
      (held) =>
        withInitialize(async () => {
          held.reached.resolve();
          await held.promise;
          return never();
        }),
    ],
  ];

  test.each(places)('when the client hangs up while %s, without counting it as rejected', async (_, hold) => {
    await started();
    const held = new Gate();
    hold(held);
    const exchange = world.initialize('a');
    await held.reached.promise;
    await exchange.hangUp();
    await until('the open is given up', () => world.router.sessions.list().length === 0);
    held.resolve();
    await expectNothingLeft(world);
    expect(await world.metrics()).toEqual({});
  });

  test.each(places)('when openTimeout passes while %s: 503, however late it goes on', async (_, hold) => {
    await started({ openTimeout: 500 });
    const held = new Gate();
    hold(held);
    const exchange = world.initialize('a');
    await held.reached.promise;
    world.clock.advance(499);
    expect(world.router.sessions.stats().initializing).toBe(1);
    world.clock.advance(1);
    await expectRefusal(exchange, 'the session could not be opened in time');
    expect(world.router.sessions.list()).toEqual([]);
    held.resolve();
    await expectNothingLeft(world);
    expect(await world.metrics()).toEqual({ 'mcp_sessions_rejected_total openTimeout': 1 });
  });

  test.each(places)('when the router closes while %s: 503, however late it goes on', async (_, hold) => {
    await started();
    const held = new Gate();
    hold(held);
    const exchange = world.initialize('a');
    await held.reached.promise;
    await soon('the router is closed', world.router.close());
    await expectRefusal(exchange, 'shutting down');
    held.resolve();
    await expectNothingLeft(world);
    expect(await world.metrics()).toEqual({ 'mcp_sessions_rejected_total draining': 1 });
  });
});
