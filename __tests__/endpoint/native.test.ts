import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import {
  acceptedContent,
  InMemoryTransport,
  inputRequired,
  McpServer,
  PerRequestHTTPServerTransport,
  ProtocolError,
  SUPPORTED_PROTOCOL_VERSIONS,
  type CallToolResult,
} from '@modelcontextprotocol/server';
import { pino } from 'pino';
import { z } from 'zod';
import type { JSONRPCMessage, McpServerLike, WireTransport } from '../../src/index.js';
import { v2 } from '../../src/v2.js';
import { start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { call, send, subscribe, VERSION } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { askingServer } from './asking-server.js';

// Servers of SDK v2 serve MCP 2026-07-28 themselves (docs/two-eras.md). Pages are those of MCP 2026-07-28.

const META = 'io.modelcontextprotocol/';
const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const supportedProtocolVersions = [VERSION, ...SUPPORTED_PROTOCOL_VERSIONS];
const ask = {
  message: 'Your name?',
  requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } } },
};

const seen: string[] = [];
let released: Deferred;

function nativeServer(options: { supportedProtocolVersions?: string[] } = { supportedProtocolVersions }): McpServer {
  const server = new McpServer(
    { name: 'native', version: '2.0.0' },
    { capabilities: { logging: {}, resources: { subscribe: true } }, instructions: 'Native.', ...options },
  );
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, (args) => text(args.text));
  server.registerTool('path', {}, (ctx) => text(new URL(ctx.http?.req?.url ?? 'x:').pathname));
  server.registerTool('ask', {}, ({ mcpReq }) => {
    const answer = acceptedContent<{ name: string }>(mcpReq.inputResponses, 'name');
    if (answer !== undefined) return text(answer.name);
    return inputRequired({ inputRequests: { name: inputRequired.elicit(ask) }, requestState: 'of the server' });
  });
  server.registerTool('state', {}, ({ mcpReq }) => text(String(mcpReq.requestState())));
  server.registerTool('busy', {}, async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (const progress of [1, 2, 2, 3]) {
      if (progressToken === undefined) continue;
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress } });
    }
    for (const [level, data] of [
      ['info', 'low'],
      ['error', 'high'],
    ]) {
      await mcpReq.notify({ method: 'notifications/message', params: { level, data } });
    }
    return text('done');
  });
  server.registerResource('upstream', 'native://upstream', {}, () => {
    throw new ProtocolError(-32601, 'no such method upstream');
  });
  const region = z.string().meta({ 'x-mcp-header': 'Region' });
  server.registerTool('region', { inputSchema: z.object({ region }) }, (args) => text(args.region));
  server.registerTool('hold', {}, async ({ mcpReq }) => {
    seen.push('holding');
    mcpReq.signal.addEventListener('abort', () => seen.push('aborted'));
    await released.promise;
    return text('released');
  });
  return server;
}

let harness: Harness;
let servers: McpServer[];
beforeEach(async () => {
  seen.splice(0);
  released = new Deferred();
  servers = [];
  harness = await start({
    perRequest: { sdk: v2() },
    serverFactory: () => {
      const server = nativeServer();
      servers.push(server);
      return server;
    },
  });
});
afterEach(async () => {
  released.resolve();
  await harness.close();
});

describe('a server of SDK v2 with the option perRequest.sdk', () => {
  test('answers in its own words: type, name and capabilities (server/discover; basic/index, "Responses")', async () => {
    const discovered = await send(harness.url, 'server/discover');
    expect(discovered).toMatchObject({
      status: 200,
      result: {
        resultType: 'complete',
        supportedVersions: [VERSION],
        instructions: 'Native.',
        _meta: { [`${META}serverInfo`]: { name: 'native', version: '2.0.0' } },
      },
    });
    const reply = await call(harness.url, 'echo', { text: 'x' }, { id: 'mine' });
    expect(reply).toMatchObject({ status: 200, id: 'mine', result: { ...text('x'), resultType: 'complete' } });
    expect((await call(harness.url, 'path')).result).toMatchObject(text('/mcp'));
  });

  test('asks by input_required, and gets the answers and its own state in the retry (basic/patterns/mrtr)', async () => {
    const capabilities = { elicitation: { form: {} } };
    const asked = await call(harness.url, 'ask', {}, { capabilities });
    expect(asked.result).toMatchObject({ resultType: 'input_required', requestState: 'of the server' });
    const inputResponses = { name: { action: 'accept', content: { name: 'Ada' } } };
    const params = { inputResponses, requestState: 'of the server' };
    expect((await call(harness.url, 'ask', {}, { capabilities, params })).result).toMatchObject(text('Ada'));
    expect((await call(harness.url, 'state', {}, { params })).result).toMatchObject(text('of the server'));
  });

  test('sends rising progress, and logs from the level that the request names (basic/patterns/progress)', async () => {
    const meta = { progressToken: 't', [`${META}logLevel`]: 'warning' };
    const { notifications, result } = await call(harness.url, 'busy', {}, { meta });
    expect(notifications.map(({ params }) => params)).toEqual([
      ...[1, 2, 3].map((progress) => ({ progressToken: 't', progress })),
      { level: 'error', data: 'high' },
    ]);
    expect(result).toMatchObject(text('done'));
  });

  test('has its handler aborted when the client closes the reply (basic/patterns/cancellation)', async () => {
    const client = new AbortController();
    const held = call(harness.url, 'hold', {}, { signal: client.signal }).catch(() => 'gone');
    await until('the handler holds', () => seen.includes('holding'));
    client.abort();
    expect(await held).toBe('gone');
    await until('its signal aborts', () => seen.includes('aborted'));
  });

  test('gets 200 with a -32601 that its handler throws: 404 is for unknown methods (basic/transports/streamable-http)', async () => {
    const reply = await send(harness.url, 'resources/read', { params: { uri: 'native://upstream' } });
    expect(reply).toMatchObject({ status: 200, error: { code: -32601, message: 'no such method upstream' } });
  });

  test('refuses with the HTTP status of the rule (basic/transports/streamable-http)', async () => {
    expect(await send(harness.url, 'x/y')).toMatchObject({ status: 404, error: { code: -32601 } });
    const mismatch = await call(harness.url, 'region', { region: 'eu' });
    expect(mismatch).toMatchObject({ status: 400, error: { code: -32020 } });
    const mirrored = await call(harness.url, 'region', { region: 'eu' }, { headers: { 'mcp-param-region': 'eu' } });
    expect(mirrored.result).toMatchObject(text('eu'));
    const undeclared = await call(harness.url, 'ask');
    expect(undeclared).toMatchObject({ status: 400, error: { code: -32021 } });
  });

  test('answers the clients of SDK v2 in both eras on one endpoint', async () => {
    for (const mode of ['auto', 'legacy'] as const) {
      const client = new Client({ name: 'c', version: '1' }, { versionNegotiation: { mode } });
      await client.connect(new StreamableHTTPClientTransport(harness.url));
      expect(await client.callTool({ name: 'echo', arguments: { text: mode } })).toMatchObject(text(mode));
      await client.close();
    }
  });

  test('announces changes to its subscription, without being asked for each resource (basic/patterns/subscriptions)', async () => {
    const notifications = { toolsListChanged: true, resourceSubscriptions: ['test://a'] };
    const { stream, acknowledgement } = await subscribe(harness.url, notifications, { id: 'sub' });
    expect(acknowledgement).toMatchObject({ params: { notifications } });
    await servers[0]?.server.sendResourceUpdated({ uri: 'test://b' });
    await servers[0]?.server.sendResourceUpdated({ uri: 'test://a' });
    await servers[0]?.server.sendToolListChanged();
    const _meta = { [`${META}subscriptionId`]: 'sub' };
    expect(await stream.message()).toMatchObject({ params: { uri: 'test://a', _meta } });
    expect(await stream.message()).toMatchObject({
      method: 'notifications/tools/list_changed',
      params: { _meta },
    });
    await servers[0]?.close();
    expect(await stream.message()).toMatchObject({ id: 'sub', result: { resultType: 'complete', _meta } });
  });

  test('must name the revision: else the request fails, and the failure says how to mend it', async () => {
    const unmarked = await start({ perRequest: { sdk: v2() }, serverFactory: () => nativeServer({}) });
    expect(await call(unmarked.url, 'echo', { text: 'x' })).toMatchObject({ status: 500 });
    await unmarked.close();
    const transport = new InMemoryTransport() as unknown as WireTransport;
    const connected = v2().adapt(nativeServer({}))?.connect(transport);
    await expect(connected).rejects.toThrow('supportedProtocolVersions: [');
  });
});

describe('a server that serves the revision itself, with servers: principal', () => {
  test('is shared by all clients of its principal, as it learns of each from the request', async () => {
    let built = 0;
    const shared = await start({
      perRequest: { sdk: v2(), servers: 'principal' },
      principal: () => 'alice',
      serverFactory: () => {
        built += 1;
        return nativeServer();
      },
    });
    for (const request of [
      {},
      { capabilities: { elicitation: { form: {} } } },
      { meta: { [`${META}clientInfo`]: { name: 'other', version: '2' } } },
      { meta: { [`${META}clientInfo`]: undefined } },
    ]) {
      expect((await call(shared.url, 'echo', { text: 'x' }, request)).result).toMatchObject(text('x'));
    }
    const asked = await call(shared.url, 'ask', {}, { capabilities: { elicitation: { form: {} } } });
    expect(asked.result).toMatchObject({ resultType: 'input_required' });
    expect(await call(shared.url, 'ask')).toMatchObject({ status: 400, error: { code: -32021 } });
    expect(built).toBe(1);
    await shared.close();
  });

  test('is no reason to share a bridged one between clients that declare other capabilities', async () => {
    const declared: unknown[] = [];
    const shared = await start({
      perRequest: { sdk: v2(), servers: 'principal' },
      principal: () => 'alice',
      serverFactory: () => {
        const server = askingServer();
        server.registerTool('declared', {}, () => {
          declared.push(server.server.getClientCapabilities());
          return { content: [{ type: 'text', text: 'told' }] };
        });
        return server;
      },
    });
    for (const capabilities of [{}, { roots: {} }, {}, { roots: {} }]) {
      expect((await call(shared.url, 'declared', {}, { capabilities })).result).toMatchObject(text('told'));
    }
    expect(declared).toEqual([{}, { roots: {} }, {}, { roots: {} }]);
    await shared.close();
  });
});

test('an answer that throws as it is read fails its request only, and is reported', async () => {
  const lines = new LogLines();
  const unreadable = (name: string, fields: object) =>
    Object.defineProperty(fields, name, {
      enumerable: true,
      get() {
        throw new Error(`${name} is not readable`);
      },
    });
  const answers: Readonly<Record<string, object>> = {
    'x/result': { result: unreadable('isError', { content: [] }) },
    'x/error': { error: unreadable('code', { message: 'x' }) },
  };
  const bare = (): McpServerLike => ({
    connect: (transport) => {
      transport.onmessage = (message) => {
        if (!('id' in message) || !('method' in message)) return;
        void transport.send({ jsonrpc: '2.0', id: message.id, ...answers[message.method] } as JSONRPCMessage);
      };
      return transport.start();
    },
    close: () => Promise.resolve(),
  });
  const rejected: unknown[] = [];
  const onRejection = (error: unknown): void => void rejected.push(error);
  process.on('unhandledRejection', onRejection);
  const failing = await start({
    perRequest: { sdk: { adapt: (server) => ({ ...server, inputSchemaOf: () => undefined }) } },
    serverFactory: bare,
    logger: pino({}, lines),
    requestTimeout: 10_000,
  });
  for (const method of Object.keys(answers)) {
    expect(await send(failing.url, method)).toMatchObject({ error: { code: -32603, message: 'Internal error' } });
  }
  await new Promise(setImmediate);
  process.off('unhandledRejection', onRejection);
  await failing.close();
  expect(rejected).toEqual([]);
  for (const name of ['isError', 'code']) expect(lines.text).toContain(`${name} is not readable`);
});

test('a server of SDK v2 is not asked for all its tools to compare one with its headers (docs/performance.md)', async () => {
  let lists = 0;
  const serverFactory = (): McpServer => {
    const server = nativeServer();
    server.server.setRequestHandler('tools/list', () => {
      lists += 1;
      return { tools: [] };
    });
    return server;
  };
  const counted = await start({ perRequest: { sdk: v2() }, serverFactory });
  const given = (header: string) =>
    call(counted.url, 'region', { region: 'eu' }, { headers: { 'mcp-param-region': header } });
  expect((await given('eu')).result).toMatchObject(text('eu'));
  expect(await given('us')).toMatchObject({ status: 400, error: { code: -32020 } });
  expect(lists).toBe(0);
  expect((await call(counted.url, 'unknown')).error).toMatchObject({ code: -32602 });
  expect(lists).toBe(1);
  await counted.close();
});

test('a server of SDK v1 is bridged as without the option, and a state that it does not know is refused', async () => {
  const bridged = await start({ perRequest: { sdk: v2() }, serverFactory: () => askingServer() });
  expect((await call(bridged.url, 'add', { a: 1, b: 2 })).result).toMatchObject(text('3'));
  const unknown = await call(bridged.url, 'add', { a: 1, b: 2 }, { params: { requestState: 'of no call' } });
  expect(unknown).toMatchObject({ status: 200, error: { code: -32602 } });
  await bridged.close();
});

test('connect() of SDK v2 binds a server by the class of its transport, which v2() relies on', async () => {
  class Own extends PerRequestHTTPServerTransport {}
  const server = nativeServer();
  await server.connect(new Own({ classification: { era: 'modern', revision: VERSION } }));
  const bound = server.server as unknown as { getNegotiatedProtocolVersion(): string | undefined };
  expect(bound.getNegotiatedProtocolVersion()).toBe(VERSION);
  await server.close();
});
