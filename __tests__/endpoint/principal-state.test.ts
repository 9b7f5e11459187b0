import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import type { McpRouterOptions, ServerContext } from '../../src/index.js';
import { memoryStore, type SessionStore } from '../../src/stores/index.js';
import { start, type Harness } from '../support/harness.js';
import { call } from '../support/per-request.js';
import { FakeClock } from '../support/fake-clock.js';
import { Deferred, until } from '../support/waiting.js';
import { textOf } from './asked.js';

const text = (value: unknown) => ({ content: [{ type: 'text' as const, text: String(value) }] });

/** What the tool `hold` waits for. */
let released: Deferred;
let held: number;

/** Tools that read and write the state of their principal. */
function stateServer({ state }: ServerContext): McpServer {
  const server = new McpServer({ name: 'state', version: '1.0.0' });
  const set = (key: string, value: unknown) =>
    state.set(key, value).then(
      () => text('saved'),
      (error: unknown) => text((error as Error).message),
    );
  const input = { key: z.string(), value: z.unknown().optional() };
  server.registerTool('get', { inputSchema: input }, ({ key }) => text(JSON.stringify(state.get(key))));
  server.registerTool('set', { inputSchema: input }, ({ key, value }) => set(key, value));
  server.registerTool('hold', { inputSchema: input }, async ({ key, value }) => {
    held += 1;
    await released.promise;
    const saved = set(key, value);
    held -= 1;
    return saved;
  });
  server.registerTool('count', {}, async () => {
    for (;;) {
      try {
        await state.set('n', Number(state.get('n') ?? 0) + 1);
        return text(state.get('n'));
      } catch (error) {
        if (!/changed by another/.test((error as Error).message)) throw error;
      }
    }
  });
  return server;
}

const clock = new FakeClock();
const nodes: Harness[] = [];
let store: SessionStore;

beforeEach(() => {
  released = new Deferred();
  held = 0;
  store = memoryStore({ clock });
});
afterEach(async () => {
  released.resolve();
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

async function serve(servers: 'request' | 'principal', options: Partial<McpRouterOptions> = {}): Promise<Harness> {
  const node = await start({
    sessions: false,
    perRequest: { servers },
    principal: (req) => req.headers['x-user'] as string | undefined,
    serverFactory: stateServer,
    store,
    clock,
    ...options,
  });
  nodes.push(node);
  return node;
}

const as = (user: string) => ({ headers: { 'x-user': user } });
const set = async (node: Harness, user: string, key: string, value: unknown, tool = 'set') =>
  textOf(await call(node.url, tool, { key, value }, as(user)));
const get = async (node: Harness, user: string, key: string) =>
  JSON.parse(textOf(await call(node.url, 'get', { key }, as(user))) ?? '') as unknown;

describe.each(['request', 'principal'] as const)(
  'context.state of MCP 2026-07-28 with `servers: \'%s\'` (docs/transport.md, "MCP 2026-07-28")',
  (servers) => {
    test("is the principal's: its next request has it, on every node, and no other principal's", async () => {
      const [one, other] = [await serve(servers), await serve(servers)];
      expect(await set(one, 'alice', 'a', { x: [1] })).toBe('saved');
      expect(await set(other, 'alice', 'b', 2)).toBe('saved');
      expect(await set(one, 'alice', 'c', 3)).toBe('saved');
      for (const node of [one, other]) {
        expect([await get(node, 'alice', 'a'), await get(node, 'alice', 'b')]).toEqual([{ x: [1] }, 2]);
        await expect(get(node, 'bob', 'a')).rejects.toThrow();
      }
    });

    test('outlives its process; a value that is set to undefined is gone', async () => {
      const first = await serve(servers);
      await set(first, 'alice', 'a', 1);
      await set(first, 'alice', 'b', 1);
      await set(first, 'alice', 'b', undefined);
      await first.close();
      const second = await serve(servers);
      expect(await get(second, 'alice', 'a')).toBe(1);
      await expect(get(second, 'alice', 'b')).rejects.toThrow();
    });

    test('loses no write in silence: of two to one key, the later is refused and has the value of the first', async () => {
      const [one, other] = [await serve(servers), await serve(servers)];
      const late = set(one, 'alice', 'a', 'late', 'hold');
      await until('it holds', () => held === 1);
      expect(await set(other, 'alice', 'a', 'first')).toBe('saved');
      const beside = set(one, 'alice', 'b', 'beside', 'hold');
      await until('both hold', () => held === 2);
      released.resolve();
      if (servers === 'request') {
        expect(await late).toMatch(/context.state: "a" was changed by another request/);
        expect(await get(one, 'alice', 'a')).toBe('first');
      }
      expect(await beside).toBe('saved');
      expect(await get(other, 'alice', 'b')).toBe('beside');
    });

    test('counts right when many requests on two nodes count at once, and each tries again', async () => {
      const both = [await serve(servers), await serve(servers)];
      const counts = await Promise.all(
        Array.from({ length: 12 }, (_, n) => call(both[n % 2]!.url, 'count', {}, as('alice'))),
      );
      expect(new Set(counts.map(textOf)).size).toBe(12);
      expect(await get(both[0]!, 'alice', 'n')).toBe(12);
    });

    test('lives on for `ttl` after its last use', async () => {
      const node = await serve(servers, { ttl: 60_000 });
      await set(node, 'alice', 'a', 1);
      for (let n = 0; n < 3; n += 1) {
        clock.advance(50_000);
        expect(await get(node, 'alice', 'a')).toBe(1);
      }
      clock.advance(80_000);
      await expect(get(node, 'alice', 'a')).rejects.toThrow();
    });
  },
);

test('a saved write is not reported as lost when a later write of the same server is lost', async () => {
  const writes: Deferred[] = [];
  const gated = new Proxy(store, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      if (name !== 'create' && name !== 'update') return method.bind(target);
      return async (...args: unknown[]) => {
        const go = new Deferred();
        writes.push(go);
        await go.promise;
        return method.apply(target, args);
      };
    },
  });
  const [one, other] = [await serve('principal', { store: gated }), await serve('principal')];
  const second = set(one, 'alice', 'a', 'second', 'hold');
  await until('the second call runs', () => held === 1);
  const first = set(one, 'alice', 'a', 'first');
  await until('the first value is being written', () => writes.length === 1);
  released.resolve();
  await until('the second value is set', () => held === 0);
  writes[0]!.resolve();
  await until('the second value is being written', () => writes.length === 2);
  expect(await set(other, 'alice', 'a', 'of another')).toBe('saved');
  writes[1]!.resolve();
  expect(await first).toBe('saved');
  expect(await second).toMatch(/context.state: "a" was changed by another request/);
  expect(await get(one, 'alice', 'a')).toBe('of another');
});

test('`context.state.set` of MCP 2026-07-28 says why nothing is kept: without a principal, without a store', async () => {
  const [node, without] = [await serve('request'), await serve('request', { store: undefined })];
  const reply = await call(node.url, 'set', { key: 'a', value: 1 });
  expect(textOf(reply)).toBe('context.state: nothing is kept, as the request has no principal');
  expect(await set(without, 'alice', 'a', 1)).toBe('context.state: nothing is kept, as the router has no store');
});

test('a request of MCP 2026-07-28 gets 503 while the store does not answer, and `set` rejects (docs/http.md)', async () => {
  let fails = false;
  const failing = new Proxy(store, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => (fails ? Promise.reject(new Error('down')) : method.apply(target, args));
    },
  });
  const node = await serve('principal', { store: failing });
  const late = set(node, 'alice', 'a', 1, 'hold');
  await until('it holds', () => held === 1);
  fails = true;
  expect((await call(node.url, 'get', { key: 'a' }, as('alice'))).status).toBe(503);
  released.resolve();
  expect(await late).toContain('the store does not answer');
  fails = false;
  expect(await set(node, 'alice', 'b', 2)).toBe('saved');
  expect(await get(node, 'alice', 'a')).toBe(1);
});

test('no session ID names the record of a principal, so a client can neither read nor remove it', async () => {
  let ids: string[] = [];
  const seen = new Proxy(store, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        ids.push(String(args[0]));
        return method.apply(target, args);
      };
    },
  });
  const node = await serve('request', { sessions: true, store: seen, sessionIdGenerator: () => `id-${ids.length}` });
  await set(node, 'alice', 'a', 1);
  const [id = ''] = ids;
  expect(id).toMatch(/^principal-state\.[\w-]{43}$/);
  ids = [];
  const headers = { 'mcp-session-id': id, 'x-user': 'alice', accept: 'text/event-stream' };
  for (const method of ['GET', 'DELETE']) expect((await fetch(node.url, { method, headers })).status).toBe(404);
  expect(await node.router.sessions.close(id)).toBe(false);
  expect(ids).toEqual([]);
  expect(await get(node, 'alice', 'a')).toBe(1);
});
