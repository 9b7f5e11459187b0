import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { z } from 'zod';
import { mcpRouter } from '../../src/index.js';
import { initializeBody, JSON_HEADERS } from '../support/harness.js';

// A process with a small heap, whose clients open sessions and never come back. Prints the number of replies by status, and
// the sessions that are open at the end.

const OPENINGS = 3_000;
const PARALLEL = 8;

/** The factory of the README: one server with two tools, with schemas of its own. */
function buildServer(): McpServer {
  const server = new McpServer({ name: 'small-heap', version: '1.0.0' });
  for (const name of ['add', 'multiply']) {
    server.registerTool(name, { description: name, inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => ({
      content: [{ type: 'text', text: String(name === 'add' ? a + b : a * b) }],
    }));
  }
  return server;
}

const router = mcpRouter({ serverFactory: buildServer, logger: false });
const server = http.createServer(express().use('/mcp', router));
await once(server.listen(0, '127.0.0.1'), 'listening');
const { port } = server.address() as AddressInfo;
const agent = new http.Agent({ keepAlive: true, maxSockets: PARALLEL });

async function open(): Promise<number> {
  const request = http.request({ port, host: '127.0.0.1', path: '/mcp', method: 'POST', agent, headers: JSON_HEADERS });
  request.end(JSON.stringify(initializeBody()));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response.statusCode!;
}

const statuses = new Map<number, number>();
let begun = 0;
async function openMany(): Promise<void> {
  while (begun < OPENINGS) {
    begun += 1;
    const status = await open();
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
}
await Promise.all(Array.from({ length: PARALLEL }, openMany));
console.log(JSON.stringify({ statuses: [...statuses], active: router.sessions.stats().active }));
await router.close();
agent.destroy();
server.close();
