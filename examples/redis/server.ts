// Sessions that outlive a restart: their records, and the events of their streams, are in Redis.
// npm install express-mcp-router express @modelcontextprotocol/sdk redis
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { mcpRouter, stop, type ServerContext } from 'express-mcp-router';
import { redisEventStore, redisStore } from 'express-mcp-router/redis';
import { createClient } from 'redis';

/** The count is in `state`, which the record keeps. A variable of this function would be lost with the process. */
function serverFactory({ state }: ServerContext): McpServer {
  const server = new McpServer({ name: 'redis', version: '1.0.0' });
  server.registerTool('count', { description: 'Counts your calls' }, async () => {
    const count = ((state.get('count') as number | undefined) ?? 0) + 1;
    await state.set('count', count); // resolves when it is saved
    return { content: [{ type: 'text', text: String(count) }] };
  });
  return server;
}

// A command must not run long after its request was refused, so none waits for a connection.
const client = createClient({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', disableOfflineQueue: true });
client.on('error', (error) => console.error(error));
await client.connect();

const app = express();
const mcp = mcpRouter({ serverFactory, store: redisStore({ client }), eventStore: redisEventStore({ client }) });
app.use('/mcp', mcp);
app.get('/readyz', mcp.ready);
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
