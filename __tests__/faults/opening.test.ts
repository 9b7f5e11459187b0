import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import type { McpRouterOptions, McpServerLike, ServerFactory } from '../../src/index.js';
import { initializeBody, post } from '../support/harness.js';
import { answerOf, RawSession } from '../support/raw-session.js';
import { scriptedServer, startScripted, type LowServer, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const INTERNAL = { jsonrpc: '2.0', id: 7, error: { code: -32603, message: 'Internal error' } };
const MODES: [name: string, options: Partial<McpRouterOptions>][] = [
  ['SSE', {}],
  ['JSON', { enableJsonResponse: true }],
  ['stateless', { stateless: true }],
];

/** A server that tells when it is closed. */
function watchedServer(): { server: LowServer; closed: () => boolean } {
  const server = scriptedServer({});
  let closed = false;
  server.onclose = () => (closed = true);
  return { server, closed: () => closed };
}

/** Everything that a failed opening must have undone. */
async function expectNothingLeft(): Promise<void> {
  expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  expect(harness.router.sessions.list()).toEqual([]);
  await until('no timer is left', () => harness.clock.pending === 0);
}

describe.each(MODES)('a serverFactory that fails (%s)', (_, options) => {
  const FAILURES: [name: string, factory: ServerFactory, cause: string][] = [
    ['throws', () => fail(new Error('no database')), 'no database'],
    ['throws a value that is no Error', () => fail('no database'), 'no database'],
    ['rejects', () => Promise.reject(new Error('no database')), 'no database'],
    [
      'returns nothing',
      () => undefined as unknown as McpServerLike,
      'serverFactory must return an McpServer or a Server',
    ],
    ['returns null', () => null as unknown as McpServerLike, 'serverFactory must return an McpServer or a Server'],
    ['returns a number', () => 5 as unknown as McpServerLike, 'serverFactory must return an McpServer or a Server'],
    ['returns {}', () => ({}) as McpServerLike, 'serverFactory must return an McpServer or a Server'],
    [
      'resolves to no server',
      () => Promise.resolve('server' as never),
      'serverFactory must return an McpServer or a Server',
    ],
    ['returns itself', () => scriptedServer as unknown as McpServerLike, 'serverFactory must return'],
    ['has a connect that throws', () => withConnect(() => fail(new Error('no luck'))), 'no luck'],
    ['has a connect that rejects', () => withConnect(() => Promise.reject(new Error('no luck'))), 'no luck'],
    ['has a connect that does nothing', () => withConnect(() => Promise.resolve()), 'did not start the transport'],
  ];

  test.each(FAILURES)(
    'and %s: 500 and -32603 to the client, the cause to the log, nothing left',
    async (_name, serverFactory, cause) => {
      harness = await startScripted({}, { serverFactory, ...options });
      const response = await post(harness.url, initializeBody(7));
      expect(response.status).toBe(500);
      expect(response.headers.get('mcp-session-id')).toBeNull();
      expect(await response.json()).toEqual(INTERNAL);
      expect(harness.log.text).toContain(cause);
      await expectNothingLeft();
    },
  );

  test('and never settles: 503 with Retry-After after openTimeout, and the server that comes too late is closed', async () => {
    const late = new Deferred<McpServerLike>();
    const called = new Deferred();
    harness = await startScripted(
      {},
      { serverFactory: () => (called.resolve(), late.promise), openTimeout: 5_000, ...options },
    );
    const reply = post(harness.url, initializeBody(7));
    await called.promise;
    harness.clock.advance(4_999);
    expect(harness.clock.pending).toBe(1);
    harness.clock.advance(1);

    const response = await soon('the reply has ended', reply);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await response.json()).toMatchObject({ id: 7, error: { code: -32000 } });
    await expectNothingLeft();

    const { server, closed } = watchedServer();
    const closing = new Deferred();
    late.resolve({ connect: (transport) => server.connect(transport), close: async () => closing.resolve() });
    await soon('the late server is closed', closing.promise);
    expect(server.transport).toBeUndefined();
    expect(closed()).toBe(false);
    await expectNothingLeft();
  });

  test('and never settles: its context.signal aborts', async () => {
    const signal = new Deferred<AbortSignal>();
    harness = await startScripted(
      {},
      { serverFactory: (context) => (signal.resolve(context.signal), never()), openTimeout: 5_000, ...options },
    );
    const reply = post(harness.url, initializeBody(7));
    const { aborted } = await signal.promise;
    expect(aborted).toBe(false);
    harness.clock.advance(5_000);
    await reply;
    expect((await signal.promise).aborted).toBe(true);
  });

  test('and connects only after openTimeout: its server is closed when it has', async () => {
    const { server } = watchedServer();
    const gate = new Deferred();
    const connecting = new Deferred();
    const closed = new Deferred();
    const slow: McpServerLike = {
      connect: async (transport) => {
        connecting.resolve();
        await gate.promise;
        await server.connect(transport);
      },
      close: async () => closed.resolve(),
    };
    harness = await startScripted({}, { serverFactory: () => slow, openTimeout: 5_000, ...options });
    const reply = post(harness.url, initializeBody(7));
    await connecting.promise;
    harness.clock.advance(5_000);
    expect((await reply).status).toBe(503);
    gate.resolve();
    await soon('the server is closed', closed.promise);
    await expectNothingLeft();
  });
});

describe.each(MODES)('a serverFactory that returns the same server twice (%s)', (_, options) => {
  test('gets an explanation in the log, its second client 500, and its first client is not disturbed', async () => {
    const release = new Deferred<object>();
    const server = scriptedServer({ work: () => release.promise });
    harness = await startScripted({}, { serverFactory: () => server, ...options });
    const first = options.stateless
      ? post(harness.url, { jsonrpc: '2.0', id: 1, method: 'work' }).then(answerOf)
      : (await RawSession.open(harness.url)).call(1, 'work');
    await until('the first call runs', () => server.transport !== undefined);

    const second = await post(harness.url, initializeBody(7));

    expect([second.status, await second.json()]).toEqual([500, INTERNAL]);
    expect(harness.log.text).toContain('Build a new server in each call');
    expect(harness.router.sessions.stats().active).toBe(options.stateless ? 0 : 1);
    release.resolve({ done: true });
    expect(await soon('the first answer', first)).toEqual({ jsonrpc: '2.0', id: 1, result: { done: true } });
  });

  test('and one that is connected elsewhere: 500, and it stays connected there', async () => {
    const { server, closed } = watchedServer();
    const [elsewhere] = InMemoryTransport.createLinkedPair();
    await server.connect(elsewhere);
    harness = await startScripted({}, { serverFactory: () => server, ...options });
    const response = await post(harness.url, initializeBody(7));
    expect([response.status, await response.json()]).toEqual([500, INTERNAL]);
    expect(harness.log.text).toContain('is connected already');
    expect(closed()).toBe(false);
    expect(server.transport).toBe(elsewhere);
    await expectNothingLeft();
    await server.close();
  });
});

function fail(error: unknown): never {
  throw error;
}

function withConnect(connect: McpServerLike['connect']): McpServerLike {
  return { connect, close: () => Promise.resolve() };
}
