// Without a framework.
// npm install express-mcp-router @modelcontextprotocol/sdk zod
import { createServer } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { createMcpEndpoint, stop, type HttpHandler } from 'express-mcp-router/node';
import { z } from 'zod';

const sum = { a: z.number(), b: z.number() };

function serverFactory(): McpServer {
  const server = new McpServer({ name: 'node-http', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
}

const mcp = createMcpEndpoint({ serverFactory, perRequest: true });
const routes = new Map<string, HttpHandler>([
  ['/mcp', mcp.handle],
  ['/healthz', mcp.health],
  ['/readyz', mcp.ready],
]);

const server = createServer((req, res) => {
  const [path = ''] = (req.url ?? '').split('?', 1);
  const handle = routes.get(path);
  if (handle === undefined) res.writeHead(404).end();
  else handle(req, res);
}).listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
