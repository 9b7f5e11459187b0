// A node of a cluster. The clients' port serves /mcp and nothing else. Health and metrics have a port of their own.
import { hostname } from 'node:os';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { createHttpServer, mcpRouter, stop } from 'express-mcp-router';
import { redisEventStore } from 'express-mcp-router/redis';
import { createClient } from 'redis';
import { z } from 'zod';

const {
  PORT = '3000',
  INTERNAL_PORT = '9464',
  REDIS_URL = 'redis://127.0.0.1:6379',
  MCP_CLUSTER_SECRET = '', // less than 32 bytes are refused
  MCP_CLUSTER_HOST = hostname(), // the address by which the other nodes reach this one
  MCP_CLUSTER_PORT = '7946',
  MCP_BIND = '0.0.0.0',
  MCP_ALLOWED_HOSTS = '', // the names by which clients reach the endpoint, separated by commas
  MCP_STOP_TIMEOUT_MS = '20000',
} = process.env;

const sum = { a: z.number(), b: z.number() };

function serverFactory({ state }) {
  const server = new McpServer({ name: 'app', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  server.registerTool('count', { description: 'Counts your calls' }, async () => {
    const count = (state.get('count') ?? 0) + 1;
    await state.set('count', count);
    return { content: [{ type: 'text', text: String(count) }] };
  });
  return server;
}

// A command must not run long after its request was refused, so none waits for a connection.
const client = createClient({ url: REDIS_URL, disableOfflineQueue: true });
client.on('error', (error) => console.error(error));
await client.connect();

const hosts = MCP_ALLOWED_HOSTS.split(',').filter((host) => host !== '');
const mcp = mcpRouter({
  serverFactory,
  perRequest: true,
  cluster: {
    redis: { client },
    secret: MCP_CLUSTER_SECRET,
    host: MCP_BIND,
    advertise: MCP_CLUSTER_HOST,
    port: Number(MCP_CLUSTER_PORT),
  },
  eventStore: redisEventStore({ client }),
  metrics: { route: false }, // below, on the internal port
  ...(hosts.length > 0 && { allowedHosts: hosts }),
});

const app = express();
app.disable('x-powered-by');
app.use('/mcp', mcp);

const internal = express();
internal.get('/healthz', mcp.health);
internal.get('/readyz', mcp.ready);
internal.get('/metrics', mcp.metrics);

const server = createHttpServer(app);
server.keepAliveTimeout = 65_000; // longer than the proxy keeps an idle connection
server.listen(Number(PORT), MCP_BIND);
internal.listen(Number(INTERNAL_PORT), MCP_BIND);

// Node is process 1 in a container, so without a handler SIGTERM would do nothing.
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    await stop(server, mcp, { timeoutMs: Number(MCP_STOP_TIMEOUT_MS) });
    process.exit(); // the Redis client would keep the process alive
  });
}
