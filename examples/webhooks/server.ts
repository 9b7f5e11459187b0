// A webhook changes a resource, and the clients that subscribed to it are told (docs/notify.md).
// npm install express-mcp-router express @modelcontextprotocol/sdk zod
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { mcpRouter, stop } from 'express-mcp-router';
import { z } from 'zod';

const stock = new Map([['apples', 7]]);
const uriOf = (item: string): string => `stock://${item}`;

function serverFactory(): McpServer {
  const server = new McpServer(
    { name: 'stock', version: '1.0.0' },
    { capabilities: { resources: { subscribe: true } } },
  );
  for (const item of stock.keys()) {
    server.registerResource(item, uriOf(item), { description: `How many ${item} there are` }, () => ({
      contents: [{ uri: uriOf(item), text: String(stock.get(item)) }],
    }));
  }
  // The router remembers what each session is subscribed to. The server only has to agree.
  server.server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));
  return server;
}

const app = express();
const mcp = mcpRouter({ serverFactory, perRequest: true });
app.use('/mcp', mcp);

const change = z.object({ item: z.string(), count: z.number() });

// Verify the sender's signature here before you trust the body.
app.post('/webhooks/stock', express.json(), async (req, res) => {
  const { success, data } = change.safeParse(req.body);
  if (!success) {
    res.sendStatus(400);
    return;
  }
  const isNew = !stock.has(data.item);
  stock.set(data.item, data.count);
  const told = isNew ? await mcp.notify.resourceListChanged() : await mcp.notify.resourceUpdated(uriOf(data.item));
  res.json(told); // { delivered, stored, dropped }
});
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
