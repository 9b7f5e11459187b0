import { createMCPClient } from '@ai-sdk/mcp';
import * as v2 from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { start, type Harness } from '../support/harness.js';
import { featureServer } from './feature-server.js';

const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const accepted = { action: 'accept' as const, content: { name: 'Ada' } };
const sampled = { role: 'assistant' as const, model: 'm', content: { type: 'text' as const, text: 'sampled' } };
const roots = { roots: [{ uri: 'file:///home' }] };

/** What every client of the protocol must see; the same through each of them. */
interface AnyClient {
  call(name: string, args: Record<string, unknown>): Promise<string>;
  steps(count: number): Promise<number[]>;
  announced(text: string): Promise<string>;
  close(): Promise<void>;
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? '';

async function connectV1(url: URL): Promise<AnyClient> {
  const client = new Client({ name: 'v1', version: '1' }, { capabilities });
  client.setRequestHandler(ElicitRequestSchema, () => accepted);
  client.setRequestHandler(CreateMessageRequestSchema, () => sampled);
  client.setRequestHandler(ListRootsRequestSchema, () => roots);
  const transport = new StreamableHTTPClientTransport(url);
  await client.connect(transport);
  return {
    call: async (name, args) => textOf(await client.callTool({ name, arguments: args })),
    async steps(count) {
      const seen: number[] = [];
      const onprogress = (step: { progress: number }) => void seen.push(step.progress);
      await client.callTool({ name: 'steps', arguments: { count } }, undefined, { onprogress });
      return seen;
    },
    async announced(text) {
      const heard = new Promise<string>((resolve) =>
        client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => resolve(String(params.data))),
      );
      await client.callTool({ name: 'announce', arguments: { text } });
      return heard;
    },
    async close() {
      await transport.terminateSession();
      await client.close();
    },
  };
}

function connectV2(mode?: 'auto') {
  return async (url: URL): Promise<AnyClient> => {
    const client = new v2.Client(
      { name: 'v2', version: '1' },
      { capabilities, ...(mode && { versionNegotiation: { mode } }) },
    );
    client.setRequestHandler('elicitation/create', () => accepted);
    client.setRequestHandler('sampling/createMessage', () => sampled);
    client.setRequestHandler('roots/list', () => roots);
    const transport = new v2.StreamableHTTPClientTransport(url);
    await client.connect(transport);
    return {
      call: async (name, args) => textOf(await client.callTool({ name, arguments: args })),
      async steps(count) {
        const seen: number[] = [];
        const onprogress = (step: { progress: number }) => void seen.push(step.progress);
        await client.callTool({ name: 'steps', arguments: { count } }, { onprogress });
        return seen;
      },
      async announced(text) {
        const heard = new Promise<string>((resolve) =>
          client.setNotificationHandler('notifications/message', ({ params }) => resolve(String(params.data))),
        );
        await client.callTool({ name: 'announce', arguments: { text } });
        return heard;
      },
      async close() {
        await transport.terminateSession();
        await client.close();
      },
    };
  };
}

/** The server's standalone stream is up: from here on a notification reaches the client. */
async function streamOpen(harness: Harness): Promise<void> {
  const open = async () => {
    const metrics = await (await fetch(new URL('/mcp/metrics', harness.url))).text();
    return metrics.includes('mcp_streams_open{kind="standalone"} 1');
  };
  while (!(await open())) await new Promise(setImmediate);
}

const MODES: [string, () => Partial<McpRouterOptions>][] = [
  ['SSE', () => ({})],
  ['JSON', () => ({ enableJsonResponse: true })],
  ['SSE with an event store', () => ({ eventStore: memoryEventStore() })],
  ['JSON with an event store', () => ({ enableJsonResponse: true, eventStore: memoryEventStore() })],
];

describe.each([
  ["the SDK's v1 client", connectV1],
  ["the SDK's v2 client", connectV2()],
  ["the SDK's v2 client that negotiates the era (mode: auto) and falls back to initialize", connectV2('auto')],
])('%s', (_name, connect) => {
  test.each(MODES)('uses everything that the protocol has, over %s replies', async (_mode, options) => {
    const harness = await start({ serverFactory: featureServer, ...options() });
    try {
      const client = await connect(harness.url);
      expect(await client.call('echo', { text: 'hello' })).toBe('hello');
      expect(await client.steps(5)).toEqual([1, 2, 3, 4, 5]);
      expect(await client.call('ask', {})).toBe('Ada');
      expect(await client.call('sample', {})).toBe('sampled');
      expect(await client.call('roots', {})).toBe('file:///home');
      await streamOpen(harness);
      expect(await client.announced('to all')).toBe('to all');
      await client.close();
      expect(harness.router.sessions.list()).toEqual([]);
    } finally {
      await harness.close();
    }
  });
});

describe("the AI SDK's client, which shares no code with the MCP SDK", () => {
  test.each(MODES)('lists and calls tools, over %s replies', async (_mode, options) => {
    const harness = await start({ serverFactory: featureServer, ...options() });
    try {
      const client = await createMCPClient({ transport: { type: 'http', url: harness.url.href } });
      const tools = await client.tools();
      const result = await tools.echo?.execute({ text: 'hello' }, { toolCallId: '1', messages: [] });
      expect(result).toMatchObject({ content: [{ type: 'text', text: 'hello' }] });
      await client.close();
    } finally {
      await harness.close();
    }
  });
});
