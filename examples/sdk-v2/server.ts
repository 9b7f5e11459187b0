// A server of SDK v2, which serves clients of both eras (docs/two-eras.md).
// npm install express-mcp-router express @modelcontextprotocol/server zod
import { McpServer, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server';
import express from 'express';
import { mcpRouter, stop, type ServerContext } from 'express-mcp-router';
import { v2 } from 'express-mcp-router/v2';
import { z } from 'zod';

const supportedProtocolVersions = ['2026-07-28', ...SUPPORTED_PROTOCOL_VERSIONS];
const inputSchema = z.object({ a: z.number(), b: z.number() });

function serverFactory({ era }: ServerContext): McpServer {
  const server = new McpServer({ name: 'sdk-v2', version: '1.0.0' }, { supportedProtocolVersions });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
    _meta: { era },
  }));
  return server;
}

const app = express();
const mcp = mcpRouter({ serverFactory, perRequest: { sdk: v2() } });
app.use('/mcp', mcp);
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
