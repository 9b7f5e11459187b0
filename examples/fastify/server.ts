// npm install express-mcp-router fastify @modelcontextprotocol/sdk zod
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { createMcpEndpoint, stop } from 'express-mcp-router/node';
import Fastify from 'fastify';
import { z } from 'zod';

const sum = { a: z.number(), b: z.number() };

function serverFactory(): McpServer {
  const server = new McpServer({ name: 'fastify', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
}

const mcp = createMcpEndpoint({ serverFactory, perRequest: true });
const app = Fastify();

app.register((scope, _options, done) => {
  // The endpoint reads the body itself. So bad JSON gets a JSON-RPC error, and the body may be as large as `maxBodySize`.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _body, parsed) => parsed(null));
  scope.all('/mcp', { bodyLimit: Number.MAX_SAFE_INTEGER }, (request, reply) => {
    reply.hijack(); // Fastify sends nothing; the endpoint answers.
    mcp.handle(request.raw, reply.raw);
  });
  done();
});
app.get('/healthz', (request, reply) => {
  reply.hijack();
  mcp.health(request.raw, reply.raw);
});

void app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });

process.once('SIGTERM', () => {
  void stop(app.server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
