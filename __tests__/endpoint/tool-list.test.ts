import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { FakeClock } from '../support/fake-clock.js';
import { start, type Harness } from '../support/harness.js';
import { call, type PerRequest } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';

// The bridge lists a server's tools to compare the arguments of a call with their headers (MCP 2026-07-28,
// basic/transports/streamable-http, "Server Validation").

const PAGES = 3;
const clock = new FakeClock();

let server: Server;
/** The cursor of each `tools/list`. */
let listed: (string | undefined)[];
let isAborted: boolean;
let released: Deferred | undefined;
let harness: Harness;

beforeEach(async () => {
  listed = [];
  isAborted = false;
  released = undefined;
  harness = await start({
    perRequest: { servers: 'principal' },
    principal: () => 'alice',
    clock,
    serverFactory: () => {
      server = new Server({ name: 'paged', version: '1.0.0' }, { capabilities: { tools: { listChanged: true } } });
      server.setRequestHandler(ListToolsRequestSchema, async ({ params }, { signal }) => {
        signal.addEventListener('abort', () => (isAborted = true));
        listed.push(params?.cursor);
        await released?.promise;
        const page = Number(params?.cursor ?? 0);
        const properties = { region: { type: 'string', 'x-mcp-header': 'Region' } };
        const tools = [{ name: `tool-${page}`, inputSchema: { type: 'object' as const, properties } }];
        return { tools, ...(page + 1 < PAGES && { nextCursor: String(page + 1) }) };
      });
      server.setRequestHandler(CallToolRequestSchema, () => ({ content: [] }));
      return server;
    },
  });
});
afterEach(async () => {
  released?.resolve();
  await harness.close();
});

const tool = (name: string, request: PerRequest = {}) => call(harness.url, name, { region: 'x' }, request);
const MISMATCH = { status: 400, error: { code: -32020 } };

test('calls at the same time share one list, which is read until the page with the tool', async () => {
  released = new Deferred();
  const calls = [tool('tool-0'), tool('tool-1'), tool('tool-0')];
  await until('a list is asked for', () => listed.length === 1);
  released.resolve();
  for (const reply of await Promise.all(calls)) expect(reply).toMatchObject(MISMATCH);
  expect(listed).toEqual([undefined, '1']);
  expect(await tool('tool-2')).toMatchObject(MISMATCH);
  expect(listed).toEqual([undefined, '1', '2']);
});

test('an unknown tool has the list read once a second, and again after it has changed', async () => {
  for (let n = 0; n < 5; n += 1) expect((await tool(`unknown-${n}`)).status).toBe(200);
  expect(listed).toHaveLength(PAGES);
  clock.advance(1_000);
  await Promise.all([tool('unknown'), tool('other')]);
  expect(listed).toHaveLength(2 * PAGES);
  await server.sendToolListChanged();
  await tool('unknown');
  expect(listed).toHaveLength(3 * PAGES);
});

test('a list is cancelled when the last call that waits for it has hung up, and the next call asks again', async () => {
  released = new Deferred();
  const clients = [new AbortController(), new AbortController()];
  const calls = clients.map(({ signal }) => tool('tool-0', { signal }).catch(() => 'gone'));
  await until('a list is asked for', () => listed.length === 1);
  clients[0]?.abort();
  expect(await calls[0]).toBe('gone');
  expect(isAborted).toBe(false);
  clients[1]?.abort();
  await until('the list is cancelled', () => isAborted);
  released.resolve();
  expect(await tool('tool-0')).toMatchObject(MISMATCH);
  expect(listed).toEqual([undefined, undefined]);
});

test('a list that ends in an error leaves the calls to the server', async () => {
  await tool('tool-0');
  server.setRequestHandler(ListToolsRequestSchema, () => {
    listed.push('failed');
    throw new Error('not now');
  });
  await server.sendToolListChanged();
  for (let n = 0; n < 2; n += 1) expect((await tool('tool-0')).status).toBe(200);
  expect(listed).toEqual([undefined, 'failed']);
});
