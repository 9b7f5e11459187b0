// Hono on Node.
// npm install express-mcp-router hono @hono/node-server @modelcontextprotocol/sdk zod
import type { Server } from 'node:http';
import { serve, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { createMcpEndpoint, stop } from 'express-mcp-router/node';
import { Hono } from 'hono';
import { z } from 'zod';

const sum = { a: z.number(), b: z.number() };

function serverFactory(): McpServer {
  const server = new McpServer({ name: 'hono', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
}

const mcp = createMcpEndpoint({ serverFactory, perRequest: true });
const app = new Hono<{ Bindings: HttpBindings }>();

app.all('/mcp', ({ env }) => {
  mcp.handle(env.incoming, env.outgoing);
  return RESPONSE_ALREADY_SENT; // Hono sends nothing; the endpoint answers.
});
app.get('/', (context) => context.json({ status: 'ok' }));

const port = Number(process.env.PORT ?? 3000);
// `serve` may also make servers of HTTP/2; without options it makes one of node:http.
const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }) as Server;

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
