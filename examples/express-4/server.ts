// An app that parses bodies before its routes. Express 4 and 5 are alike here.
// npm install express-mcp-router express@4 @modelcontextprotocol/sdk zod
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { createHttpServer, mcpErrorHandler, mcpRouter, stop } from 'express-mcp-router';
import { z } from 'zod';

const sum = { a: z.number(), b: z.number() };

function serverFactory(): McpServer {
  const server = new McpServer({ name: 'express-4', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
}

const app = express();
app.use(express.json({ limit: '4mb' })); // for the other routes; the router takes `req.body` where it is there
app.get('/', (_req, res) => res.json({ status: 'ok' }));

const mcp = mcpRouter({ serverFactory, perRequest: true });
app.use('/mcp', mcp);
app.use('/mcp', mcpErrorHandler()); // what the parser refuses is answered with JSON-RPC, not with HTML

// Like http.createServer(app), and faster.
const server = createHttpServer(app).listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
