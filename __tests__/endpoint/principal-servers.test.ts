import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { McpRouterOptions, ServerContext } from '../../src/index.js';
import { start, type Harness } from '../support/harness.js';
import { call, send, type PerRequest } from '../support/per-request.js';
import { FakeClock } from '../support/fake-clock.js';
import { Deferred, until } from '../support/waiting.js';
import { answersTo, askedBy, textOf } from './asked.js';
import { askingServer } from './asking-server.js';

type Fields = Readonly<Record<string, unknown>>;

const capabilities = { elicitation: {}, roots: {} };
const seen: string[] = [];
let released: Deferred;
/** The contexts of the servers that were built, and those servers. */
let contexts: ServerContext[];
let servers: McpServer[];
let clock: FakeClock;
let harness: Harness;

async function serve(perRequest: Fields = {}, options: Partial<McpRouterOptions> = {}): Promise<void> {
  contexts = [];
  released = new Deferred();
  servers = [];
  clock = new FakeClock();
  harness = await start({
    serverFactory: (context) => {
      contexts.push(context);
      const server = askingServer({ seen, released });
      servers.push(server);
      return server;
    },
    perRequest: { servers: 'principal', ...perRequest },
    principal: (req) => req.headers['x-user'] as string | undefined,
    clock,
    ...options,
  });
}

afterEach(async () => {
  seen.splice(0);
  released.resolve();
  await harness.close();
});

const of = (user: string, more: PerRequest = {}): PerRequest => ({
  capabilities,
  ...more,
  headers: { 'x-user': user, ...more.headers },
});
const add = (more: PerRequest) => call(harness.url, 'add', { a: 1, b: 2 }, more);

describe('a principal\'s server (docs/transport.md, "MCP 2026-07-28")', () => {
  test('is shared by the requests of its principal, and by no others', async () => {
    await serve();
    const raw = { 'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '2.0.0' } };
    for (const more of [of('alice'), of('alice'), of('alice', { meta: raw }), of('bob')]) {
      expect(textOf(await add(more))).toBe('3');
    }
    expect(contexts.map(({ principal }) => principal)).toEqual(['alice', 'bob']);
    const { era, sessionId, clientInfo, clientCapabilities } = contexts[1]!;
    expect([era, sessionId, clientInfo, clientCapabilities]).toEqual(['request', undefined, undefined, undefined]);
  });

  test('is another one where the client capabilities or the client name differ', async () => {
    await serve();
    const other = { 'io.modelcontextprotocol/clientInfo': { name: 'other', version: '1.0.0' } };
    const unnamed = { 'io.modelcontextprotocol/clientInfo': undefined };
    for (const more of [{}, { capabilities: { roots: {} } }, { meta: other }, { meta: unnamed }, {}]) {
      await add(of('alice', more));
    }
    expect(contexts.length).toBe(4);
  });

  test('is never shared without a principal', async () => {
    await serve();
    for (let n = 0; n < 2; n += 1) await add({ capabilities });
    expect(contexts.length).toBe(2);
    expect(contexts[0]?.clientInfo).toEqual({ name: 'raw', version: '1.0.0' });
    await until('they are closed', () => contexts.every(({ signal }) => signal.aborted));
  });

  test('opens once for requests that come at the same time', async () => {
    const opening = new Deferred();
    await serve(
      {},
      {
        serverFactory: async (context) => {
          contexts.push(context);
          await opening.promise;
          return askingServer();
        },
      },
    );
    const client = new AbortController();
    const gone = add(of('alice', { signal: client.signal })).catch(() => 'gone');
    await until('it opens', () => contexts.length === 1);
    const replies = [1, 2, 3].map(() => add(of('alice')));
    client.abort();
    expect(await gone).toBe('gone');
    opening.resolve();
    for (const reply of await Promise.all(replies)) expect(textOf(reply)).toBe('3');
    expect(contexts.length).toBe(1);
  });

  test('fails all requests that wait for it when it cannot be opened, and the next one opens another', async () => {
    const opening = new Deferred();
    await serve(
      {},
      {
        serverFactory: async (context) => {
          contexts.push(context);
          await opening.promise;
          if (contexts.length === 1) throw new Error('no server now');
          return askingServer();
        },
      },
    );
    const replies = [add(of('alice'))];
    await until('it opens', () => contexts.length === 1);
    replies.push(add(of('alice')));
    await send(harness.url, 'ping', of('alice'));
    opening.resolve();
    for (const { status } of await Promise.all(replies)) expect(status).toBe(500);
    expect(textOf(await add(of('alice')))).toBe('3');
    expect(contexts.length).toBe(2);
  });

  test('asks each client what its own call asks; a question from outside of a handler fails, and the error says why', async () => {
    const wanted: Deferred[] = [];
    const failed: string[] = [];
    await serve(
      {},
      {
        serverFactory: (context) => {
          contexts.push(context);
          const server = askingServer();
          let wake = new Deferred();
          const loop = async (): Promise<void> => {
            for (;;) {
              await wake.promise;
              wake = new Deferred();
              await server.server.listRoots().catch((error: unknown) => failed.push((error as Error).message));
              wanted.shift()?.resolve();
            }
          };
          void loop();
          server.registerTool('elsewhere', {}, async () => {
            const done = new Deferred();
            wanted.push(done);
            wake.resolve();
            await done.promise;
            return { content: [] };
          });
          return server;
        },
      },
    );
    const [hi, ho] = await Promise.all(
      ['Hi', 'Ho'].map((greeting) => call(harness.url, 'greet', { greeting }, of('alice', { id: 1 }))),
    );
    const asked = [hi, ho].map((reply) => askedBy(reply!));
    const retry = (greeting: string, n: number, name: string) =>
      call(
        harness.url,
        'greet',
        { greeting },
        of('alice', {
          params: { requestState: asked[n]?.requestState, inputResponses: answersTo(asked[n]!, { 'Name?': name }) },
        }),
      );
    expect(textOf(await retry('Ho', 1, 'Bob'))).toBe('Ho Bob');
    expect(textOf(await retry('Hi', 0, 'Ann'))).toBe('Hi Ann');
    expect((await call(harness.url, 'elsewhere', {}, of('alice'))).status).toBe(200);
    expect(failed).toEqual([expect.stringContaining('pass relatedRequestId')]);
    expect(contexts.length).toBe(1);
  });

  test('aborts only the handler whose client has hung up', async () => {
    await serve();
    const client = new AbortController();
    const first = askedBy(await call(harness.url, 'wait', {}, of('alice')));
    const held = call(harness.url, 'hold', {}, of('alice', { signal: client.signal })).catch(() => 'gone');
    await until('it holds', () => seen.includes('holding'));
    client.abort();
    await held;
    await until('its handler aborts', () => seen.includes('aborted'));
    const answer = { requestState: first.requestState, inputResponses: answersTo(first, { 'still there?': 'yes' }) };
    expect(textOf(await call(harness.url, 'wait', {}, of('alice', { params: answer })))).toBe('yes');
    expect(seen.filter((what) => what === 'aborted').length).toBe(1);
  });

  test('is closed when it was idle for `serverIdle`; a call that waits for its client keeps it open', async () => {
    await serve({ serverIdle: 1_000 });
    const asked = askedBy(await call(harness.url, 'wait', {}, of('alice')));
    await add(of('alice'));
    clock.advance(10_000);
    const answer = { requestState: asked.requestState, inputResponses: answersTo(asked, { 'still there?': 'yes' }) };
    expect(textOf(await call(harness.url, 'wait', {}, of('alice', { params: answer })))).toBe('yes');
    expect(contexts[0]?.signal.aborted).toBe(false);
    clock.advance(1_000);
    expect(contexts[0]?.signal.aborted).toBe(true);
    await add(of('alice'));
    expect(contexts.length).toBe(2);
  });

  test('makes room for that of another principal when it is idle, and is no longer shared where none is', async () => {
    await serve({ maxServers: 1 });
    await add(of('alice'));
    await call(harness.url, 'wait', {}, of('bob'));
    expect(contexts.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    await add(of('carol'));
    await until('the server of one request is closed', () => contexts[2]?.signal.aborted === true);
    await add(of('bob'));
    expect(contexts.length).toBe(3);
  });

  test('of one principal, whatever its clients say of themselves, pushes out no other principal', async () => {
    await serve({ maxServers: 3, maxServersPerPrincipal: 2 });
    await add(of('bob'));
    for (let n = 0; n < 5; n += 1) {
      const meta = { 'io.modelcontextprotocol/clientInfo': { name: `client-${n}`, version: '1' } };
      expect(textOf(await add(of('alice', { meta })))).toBe('3');
    }
    await add(of('bob'));
    expect(contexts.filter(({ principal }) => principal === 'bob')).toHaveLength(1);
    expect(contexts[0]?.signal.aborted).toBe(false);
  });

  test('is replaced by another one after the app has closed it', async () => {
    await serve();
    await add(of('alice'));
    await servers[0]?.close();
    expect(textOf(await add(of('alice')))).toBe('3');
    expect(contexts.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  });

  test('is asked for its tools once, until it announces that they have changed (basic/transports/streamable-http)', async () => {
    await serve();
    const region = (value: string) =>
      call(harness.url, 'region', { region: 'x' }, of('alice', { headers: { 'mcp-param-region': value } }));
    expect((await region('y')).error).toMatchObject({ code: -32020 });
    let listed = 0;
    const handlers = Reflect.get(servers[0]!.server, '_requestHandlers') as Map<
      string,
      (...args: unknown[]) => unknown
    >;
    const list = handlers.get('tools/list');
    handlers.set('tools/list', (...args) => {
      listed += 1;
      return list?.(...args);
    });
    expect((await region('x')).status).toBe(200);
    expect((await region('y')).error).toMatchObject({ code: -32020 });
    expect(listed).toBe(0);
    servers[0]!.sendToolListChanged();
    await until('the next call lists them', async () => (await region('x')).status === 200 && listed === 1);
    expect((await region('x')).status).toBe(200);
    expect(listed).toBe(1);
  });

  test('ends with the router: its calls are answered, and its handlers abort', async () => {
    await serve();
    const held = call(harness.url, 'hold', {}, of('alice'));
    await until('it holds', () => seen.includes('holding'));
    await harness.router.close();
    expect((await held).error?.message).toBe('Session closed');
    expect([seen.includes('aborted'), contexts[0]?.signal.aborted]).toEqual([true, true]);
  });
});
