import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { createHttpServer, mcpRouter, type McpRouterOptions } from 'express-mcp-router';
import { z } from 'zod';

// What someone who installed the package writes. scripts/check-package.mjs compiles and runs it outside of this repository,
// against the packed tarball: once as an ES module, once as CommonJS.

function buildServer(): McpServer {
  const server = new McpServer({ name: 'consumer', version: '1.0.0' });
  server.registerTool('echo', { description: 'Echoes', inputSchema: { text: z.string() } }, ({ text }) => ({
    content: [{ type: 'text', text }],
  }));
  return server;
}

async function main(): Promise<void> {
  const options: McpRouterOptions = { serverFactory: buildServer, logger: false };
  const mcp = mcpRouter(options);
  const app = express();
  app.use('/mcp', mcp);
  app.get('/metrics', mcp.metrics);
  const server = createHttpServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const client = new Client({ name: 'consumer', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`));
  await client.connect(transport);
  const { content } = await client.callTool({ name: 'echo', arguments: { text: 'packed' } });
  assert.deepEqual(content, [{ type: 'text', text: 'packed' }]);

  const metrics = await (await fetch(`${url}/metrics`)).text();
  assert.match(metrics, /^mcp_sessions_active 1$/m);
  await transport.terminateSession();
  assert.equal(mcp.sessions.list().length, 0);

  await client.close();
  await mcp.close();
  server.close();
}

// Nothing ends the process: it must end by itself, so that no timer or socket of the package keeps it alive.
main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
