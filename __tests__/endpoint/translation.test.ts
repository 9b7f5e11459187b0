import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  GetPromptRequestSchema,
  ListToolsRequestSchema,
  McpError,
  UrlElicitationRequiredError,
} from '@modelcontextprotocol/sdk/types.js';
import type { McpRouterOptions } from '../../src/index.js';
import { start, type Harness } from '../support/harness.js';
import { call, send } from '../support/per-request.js';

// What a server of SDK v1 says, as a client of MCP 2026-07-28 gets it. Pages are those below docs/specification/2026-07-28.

let harness: Harness;
let low: Server;

/** @param prepare - Registers the handlers of each server. */
async function serve(
  prepare: (server: Server) => void,
  perRequest: McpRouterOptions['perRequest'] = true,
): Promise<void> {
  harness = await start({
    serverFactory: () => {
      low = new Server({ name: 'low', version: '1.0.0' }, { capabilities: { tools: {}, prompts: {} } });
      low.setRequestHandler(ListToolsRequestSchema, () => ({ tools: [] }));
      prepare(low);
      return low;
    },
    perRequest,
    principal: (req) => req.headers['x-user'] as string | undefined,
  });
}

afterEach(() => harness.close());

test('a handler that throws -32601 gets 200: 404 is for unknown methods (basic/transports/streamable-http)', async () => {
  await serve((server) => {
    server.setRequestHandler(GetPromptRequestSchema, () => {
      throw new McpError(-32601, 'needs a task');
    });
  });
  const reply = await send(harness.url, 'prompts/get', { params: { name: 'x' } });
  expect(reply).toMatchObject({ status: 200, error: { code: -32601, message: 'MCP error -32601: needs a task' } });
  expect(await send(harness.url, 'resources/list')).toMatchObject({ status: 404, error: { code: -32601 } });
});

test('a handler that passes on the refusal of its question does not deny its own method (basic/index, "Error Codes")', async () => {
  await serve((server) => {
    server.setRequestHandler(ListToolsRequestSchema, async () => {
      await server.listRoots();
      return { tools: [] };
    });
  });
  const reply = await send(harness.url, 'tools/list', { capabilities: { roots: {} } });
  expect(reply).toMatchObject({ status: 200, error: { code: -32603 } });
});

test('an error that wants no URL visited is an error, and asks nothing (basic/patterns/mrtr)', async () => {
  await serve((server) => {
    server.setRequestHandler(CallToolRequestSchema, () => {
      throw new UrlElicitationRequiredError([]);
    });
  });
  const reply = await call(harness.url, 'x', {}, { capabilities: { elicitation: { url: {} } } });
  expect(reply).toMatchObject({ status: 200, error: { code: -32602 } });
});

test('a result with a toJSON of its own is sent as that has it (ECMA-262, "SerializeJSONProperty")', async () => {
  class Hiding {
    content = [];
    secret = 'x';
    _meta = { kept: true };
    toJSON = (): object => ({ content: this.content, _meta: this._meta });
  }
  await serve((server) => {
    server.setRequestHandler(CallToolRequestSchema, () => new Hiding() as object as { content: [] });
  });
  const { result } = await call(harness.url, 'x');
  expect(result).toMatchObject({ content: [], resultType: 'complete', _meta: { kept: true } });
  expect(result).not.toHaveProperty('secret');
});

test('a server knows the extensions of its client (basic/index, "Capabilities")', async () => {
  let known: unknown;
  await serve((server) => {
    server.setRequestHandler(CallToolRequestSchema, () => {
      known = server.getClientCapabilities();
      return { content: [] };
    });
  });
  const extensions = { 'com.example/x': { on: true } };
  await call(harness.url, 'x', {}, { capabilities: { extensions, tasks: {} } });
  expect(known).toEqual({ extensions });
});

test('a malformed field beside the name of one client fails no other that shares its server (docs/two-eras.md, "Servers")', async () => {
  let known: unknown;
  await serve(
    (server) => {
      server.setRequestHandler(CallToolRequestSchema, () => {
        known = server.getClientVersion();
        return { content: [] };
      });
    },
    { servers: 'principal' },
  );
  const meta = { 'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1.0.0', title: 7 } };
  const reply = await call(harness.url, 'x', {}, { meta, headers: { 'x-user': 'alice' } });
  expect(reply.status).toBe(200);
  expect(known).toEqual({ name: 'raw', version: '1.0.0' });
});
