import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  bearerPrincipal,
  createMcpEndpoint,
  stop,
  type HttpRequest,
  type McpEndpoint,
  type McpEndpointOptions,
} from 'express-mcp-router/node';
import { memoryStore } from 'express-mcp-router/stores';

// An app on plain node:http. scripts/check-package.mjs compiles and runs it where Express is not installed, neither its code nor
// its types: once as an ES module, once as CommonJS.

function buildServer(): McpServer {
  const server = new McpServer({ name: 'consumer', version: '1.0.0' });
  server.registerTool('path', { description: 'Tells the path of the request' }, (extra) => {
    // The types of SDK 1.26 lack the URL.
    const requestInfo = extra.requestInfo as { readonly headers: unknown; readonly url?: URL } | undefined;
    return { content: [{ type: 'text', text: String(requestInfo?.url?.pathname) }] };
  });
  return server;
}

const bearer = bearerPrincipal({ key: 'a key of no less than thirty-two bytes' });
const options: McpEndpointOptions = {
  serverFactory: buildServer,
  logger: false,
  store: memoryStore(),
  principal: (req: HttpRequest) => req.auth?.clientId ?? bearer(req),
};

const isMetrics = (url: string | undefined): boolean => url === '/metrics';

/** What both kinds of server take. */
function serve(mcp: McpEndpoint) {
  const http = createServer((req, res) => {
    if (isMetrics(req.url)) mcp.metrics(req, res);
    else if (!mcp.preflight(req, res)) mcp.handle(req, res);
  });
  const http2 = createHttp2Server((req, res) => mcp.handle(req, res));
  assert.ok(http2);
  return http;
}

async function main(): Promise<void> {
  // The name is no literal, so that the compiler does not look for the package.
  const name: string = 'express';
  await assert.rejects(import(name), /Cannot find/);
  const mcp = createMcpEndpoint(options);
  const server = serve(mcp).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const client = new Client({ name: 'consumer', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/any/path`)));
  const { content } = await client.callTool({ name: 'path', arguments: {} });
  assert.deepEqual(content, [{ type: 'text', text: '/any/path' }]);
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^mcp_sessions_active 1$/m);

  await client.close();
  await stop(server, mcp, { timeoutMs: 5_000 });
}

// Nothing ends the process: it must end by itself, so that no timer or socket of the package keeps it alive.
main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
