// npm install express-mcp-router express @modelcontextprotocol/sdk zod
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { mcpRouter, stop } from 'express-mcp-router';
import { z } from 'zod';

const sum = { a: z.number(), b: z.number() };

/** Called for each client that connects: every session has a server of its own. */
function serverFactory(): McpServer {
  const server = new McpServer({ name: 'minimal', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: sum }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
}

const app = express();
const mcp = mcpRouter({ serverFactory, perRequest: true });
app.use('/mcp', mcp);
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
