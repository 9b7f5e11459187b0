import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { CallToolRequestSchema, McpError } from '@modelcontextprotocol/sdk/types.js';
import { Registry } from 'prom-client';
import { z } from 'zod';
import { HttpError, type McpRouterOptions } from '../../src/index.js';
import { askingServer } from '../endpoint/asking-server.js';
import { parseExposition, type Sample } from '../support/exposition.js';
import { FakeClock } from '../support/fake-clock.js';
import { initializeBody, post, start, type Harness } from '../support/harness.js';
import { call, send } from '../support/per-request.js';
import { RawSession } from '../support/raw-session.js';
import { never, until } from '../support/waiting.js';

const NAME = 'mcp_server_operation_duration_seconds_count';

let clock: FakeClock;
let registry: Registry;
let harness: Harness | undefined;
beforeEach(() => {
  clock = new FakeClock();
  registry = new Registry();
});
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

/** Its tools end in each way that a tool can. */
function server(): McpServer {
  const made = new McpServer({ name: 'tools', version: '1.0.0' });
  const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
  made.registerTool('works', { inputSchema: z.object({ n: z.number().optional() }) }, () => text('done'));
  made.registerTool('fails', {}, () => ({ ...text('no'), isError: true }));
  made.registerTool('hangs', {}, () => never());
  made.registerPrompt('refused', {}, () => {
    throw new McpError(-32042, 'sign in first');
  });
  made.registerPrompt('own', {}, () => {
    throw new McpError(7, 'a code of the app');
  });
  return made;
}

async function open(options: Partial<McpRouterOptions> = {}): Promise<RawSession> {
  const { metrics } = options;
  harness = await start({ serverFactory: server, clock, ...options, metrics: { ...metrics, registry } });
  return RawSession.open(harness.url);
}

async function samples(): Promise<Sample[]> {
  return parseExposition(await registry.metrics()).filter(({ name, value }) => name === NAME && value > 0);
}

/** The counts that are not 0, by method and error type; `-` where the label is missing. */
async function errorTypes(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { labels, value } of await samples()) {
    if (labels.mcp_method_name !== 'initialize' || labels.outcome !== 'ok')
      counts[`${labels.mcp_method_name} ${labels.outcome} ${labels.error_type ?? '-'}`] = value;
  }
  return counts;
}

/** How many calls have been counted under each name of a tool. */
async function tools(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { labels, value } of await samples()) {
    if (labels.mcp_method_name !== 'tools/call') continue;
    const tool = labels.gen_ai_tool_name ?? '-';
    counts[tool] = (counts[tool] ?? 0) + value;
  }
  return counts;
}

describe('error_type of operations (OpenTelemetry, semantic conventions for MCP)', () => {
  test('is the JSON-RPC code of an error, or `tool_error`; an operation that succeeds has none', async () => {
    const session = await open();
    await session.call(1, 'tools/call', { name: 'works' });
    await session.call(2, 'tools/call', { name: 'fails' });
    await session.call(3, 'prompts/get', { name: 'refused' });
    await session.call(4, 'prompts/get', { name: 'no such' });
    await session.call(5, 'no/such');
    expect(await errorTypes()).toEqual({
      'tools/call ok -': 1,
      'tools/call error tool_error': 1,
      'prompts/get error -32042': 1,
      'prompts/get error -32602': 1,
      'other error -32601': 1,
    });
  });

  test('is `other` for a code that MCP does not define', async () => {
    const session = await open();
    await session.call(1, 'prompts/get', { name: 'own' });
    expect(await errorTypes()).toEqual({ 'prompts/get error other': 1 });
  });

  test('is the code that the client gets after a time-out, and after the end of the session', async () => {
    const session = await open({ requestTimeout: 60_000 });
    const runs = () => until('it runs', () => harness!.router.sessions.get(session.id)?.requests === 1);
    const first = session.call(1, 'tools/call', { name: 'hangs' });
    await runs();
    clock.advance(60_000);
    expect(await first).toMatchObject({ error: { code: -32001 } });
    const second = session.call(2, 'tools/call', { name: 'hangs' });
    await runs();
    await harness!.router.sessions.close(session.id);
    expect(await second).toMatchObject({ error: { code: -32000 } });
    expect(await errorTypes()).toEqual({ 'tools/call timeout -32001': 1, 'tools/call closed -32000': 1 });
  });

  test('is missing after a cancellation, as the client gets no error', async () => {
    const session = await open();
    const reply = session.request(1, 'tools/call', { name: 'hangs' });
    await until('it runs', () => harness!.router.sessions.get(session.id)?.requests === 1);
    await session.cancel(1);
    await (await reply).text();
    expect(await errorTypes()).toEqual({ 'tools/call cancelled -': 1 });
  });

  test('of an initialize that fails is the code that its client gets', async () => {
    harness = await start({
      metrics: { registry },
      serverFactory: () => {
        throw new Error('no');
      },
    });
    await post(harness.url, initializeBody());
    expect(await errorTypes()).toEqual({ 'initialize error -32603': 1 });
  });

  test('of an initialize that the app refuses is the code of its `HttpError`', async () => {
    harness = await start({
      metrics: { registry },
      serverFactory: () => {
        throw new HttpError(403, { code: -32002 });
      },
    });
    await post(harness.url, initializeBody());
    expect(await errorTypes()).toEqual({ 'initialize error -32002': 1 });
  });

  test('of requests of MCP 2026-07-28 is that of their reply', async () => {
    harness = await start({ metrics: { registry }, perRequest: true, serverFactory: () => askingServer() });
    await call(harness.url, 'no such');
    await send(harness.url, 'prompts/get', { params: { name: 'no such' } });
    await send(harness.url, 'no/such');
    expect(await errorTypes()).toEqual({
      'tools/call error tool_error': 1,
      'prompts/get error -32602': 1,
      'other error -32601': 1,
    });
  });
});

describe('names of tools (option `metrics.tools`)', () => {
  test('are not shown by default', async () => {
    const session = await open();
    await session.call(1, 'tools/call', { name: 'works' });
    expect(await tools()).toEqual({ '-': 1 });
  });

  test('are shown by choice, for every outcome', async () => {
    const session = await open({ metrics: { tools: true } });
    await session.call(1, 'tools/call', { name: 'works' });
    await session.call(2, 'tools/call', { name: 'works', arguments: { n: 'not a number' } });
    await session.call(3, 'tools/list');
    expect(await tools()).toEqual({ works: 2 });
  });

  test('that a client invents count as `other`, and so does a tool that has never succeeded', async () => {
    const session = await open({ metrics: { tools: true } });
    for (let n = 0; n < 5; n += 1) await session.call(n, 'tools/call', { name: `invented-${n}` });
    await session.call(5, 'tools/call', { name: 'fails' });
    expect(await tools()).toEqual({ other: 6 });
  });

  test('are 200 at most, each of 128 characters at most; calls of further tools count as `other`', async () => {
    const any = (): McpServer => {
      const made = new McpServer({ name: 'any', version: '1.0.0' }, { capabilities: { tools: {} } });
      made.server.setRequestHandler(CallToolRequestSchema, () => ({ content: [] }));
      return made;
    };
    const session = await open({ serverFactory: any, metrics: { tools: true } });
    await session.call('long', 'tools/call', { name: 'x'.repeat(129) });
    for (let n = 0; n < 202; n += 1) await session.call(n, 'tools/call', { name: `tool-${n}` });
    await session.call('again', 'tools/call', { name: 'tool-0' });
    const counts = await tools();
    expect(Object.keys(counts)).toHaveLength(201);
    expect([counts.other, counts['tool-0'], counts['tool-199']]).toEqual([3, 2, 1]);
  });
});
