import { Agent, request } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import { memoryEventStore, type McpRouterOptions, type ServerContext } from '../../src/index.js';
import { initializeBody, JSON_HEADERS, messagesOf, start } from '../support/harness.js';

/** `npm run check:long` sets more. */
const CLIENTS = Number(process.env.CROWD_CLIENTS ?? 20);
const CALLS = 20;

/** A server that knows one secret, told to it by its client, and mixes it into every answer. */
function secretServer(): McpServer {
  const server = new McpServer({ name: 'secret', version: '1.0.0' });
  let secret = 'none';
  server.registerTool('tell', { inputSchema: z.object({ secret: z.string() }) }, (args) => {
    secret = args.secret;
    return { content: [{ type: 'text', text: 'told' }] };
  });
  server.registerTool('ask', { inputSchema: z.object({ n: z.number() }) }, async ({ n }) => {
    // Answers overtake each other, within a session and between sessions.
    for (let turn = 0; turn < n % 4; turn += 1) await new Promise(setImmediate);
    return { content: [{ type: 'text', text: `${secret} ${n}` }] };
  });
  return server;
}

type Post = (body: unknown, session?: string) => Promise<{ session: string; status: number; messages: unknown[] }>;

function poster(url: URL, agent: Agent): Post {
  return (body, session) =>
    new Promise((resolve, reject) => {
      const headers = { ...JSON_HEADERS, ...(session !== undefined && { 'mcp-session-id': session }) };
      const req = request(url, { method: 'POST', agent, headers }, (res) => {
        let text = '';
        res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        res.on('end', () => {
          const json = res.headers['content-type'] === 'application/json';
          const messages = json ? [JSON.parse(text) as unknown] : messagesOf(text);
          resolve({ session: String(res.headers['mcp-session-id']), status: res.statusCode ?? 0, messages });
        });
      });
      req.on('error', reject).end(JSON.stringify(body));
    });
}

const call = (id: number, name: string, args: object) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args },
});

async function slowFactory(_context: ServerContext): Promise<McpServer> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return secretServer();
}

const VARIANTS: [string, () => Partial<McpRouterOptions>][] = [
  ['SSE', () => ({ serverFactory: secretServer })],
  ['JSON', () => ({ serverFactory: secretServer, enableJsonResponse: true })],
  ['SSE, one event store for all', () => ({ serverFactory: secretServer, eventStore: memoryEventStore() })],
  ['SSE, with factories that take 20 ms', () => ({ serverFactory: slowFactory })],
];

test.each(VARIANTS)(
  `no answer crosses between ${CLIENTS} clients at once, each with ${CALLS} calls and all with the same JSON-RPC IDs (%s)`,
  async (_name, options) => {
    const harness = await start(options());
    const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
    const send = poster(harness.url, agent);
    const client = async (index: number): Promise<void> => {
      const secret = `secret-of-${index}`;
      const { session, status } = await send(initializeBody(0));
      expect(status).toBe(200);
      await send({ jsonrpc: '2.0', method: 'notifications/initialized' }, session);
      await send(call(1, 'tell', { secret }), session);
      const ids = Array.from({ length: CALLS }, (_, id) => id);
      for (let first = 0; first < CALLS; first += 10) {
        const answers = await Promise.all(
          ids.slice(first, first + 10).map((id) => send(call(id, 'ask', { n: id }), session)),
        );
        const seen = answers.map(({ messages }) => JSON.stringify(messages));
        const due = ids.slice(first, first + 10).map((id) => {
          const result = { content: [{ type: 'text', text: `${secret} ${id}` }] };
          return JSON.stringify([{ result, jsonrpc: '2.0', id }]);
        });
        expect(seen).toEqual(due);
      }
    };
    try {
      await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)));
      expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: CLIENTS, orphaned: 0, hibernated: 0 });
    } finally {
      agent.destroy();
      await harness.close();
    }
  },
  180_000,
);
