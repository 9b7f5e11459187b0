import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { McpServer, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/server';
import { createMcpEndpoint, stop, type AuthInfo, type McpEndpointOptions } from 'express-mcp-router/node';
import { v2 } from 'express-mcp-router/v2';
import { z } from 'zod';

// An app whose servers are of the SDK's version 2. scripts/check-package.mjs compiles and runs it without version 1, and beside it.

const supportedProtocolVersions = ['2026-07-28', ...SUPPORTED_PROTOCOL_VERSIONS];

function buildServer(): McpServer {
  const server = new McpServer({ name: 'consumer', version: '2.0.0' }, { supportedProtocolVersions });
  const inputSchema = z.object({ text: z.string() });
  server.registerTool('echo', { description: 'Echoes', inputSchema }, ({ text }) => ({
    content: [{ type: 'text', text }],
  }));
  return server;
}

const options: McpEndpointOptions = {
  serverFactory: buildServer,
  logger: false,
  perRequest: { sdk: v2() },
  principal: ({ auth }: { auth?: AuthInfo | undefined }) => auth?.clientId,
};

async function main(): Promise<void> {
  const mcp = createMcpEndpoint(options);
  const server = createServer((req, res) => mcp.handle(req, res)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  for (const mode of ['legacy', 'auto'] as const) {
    const client = new Client({ name: 'consumer', version: '2.0.0' }, { versionNegotiation: { mode } });
    await client.connect(new StreamableHTTPClientTransport(url));
    const { content } = await client.callTool({ name: 'echo', arguments: { text: mode } });
    assert.deepEqual(content, [{ type: 'text', text: mode }]);
    assert.equal(client.getProtocolEra(), mode === 'auto' ? 'modern' : 'legacy');
    await client.close();
  }
  await stop(server, mcp, { timeoutMs: 5_000 });
}

// Nothing ends the process: it must end by itself, so that no timer or socket of the package keeps it alive.
main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
