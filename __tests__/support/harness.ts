import type { AddressInfo } from 'node:net';
import type { Server as HttpServer } from 'node:http';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express, { type Express } from 'express';
import { z } from 'zod';
import { mcpRouter, type McpRouter, type McpRouterOptions, type ServerContext } from '../../src/index.js';

/** A router in a real Express app on a real port. */
export interface Harness {
  readonly url: URL;
  readonly app: Express;
  readonly router: McpRouter;
  readonly http: HttpServer;
  /** A connected SDK client. */
  client(name?: string): Promise<Client>;
  close(): Promise<void>;
}

/**
 * In ms. By default Node closes a socket that is idle for 5 s. A test that takes longer between two requests would then meet a
 * reset.
 */
export const KEEP_ALIVE = 120_000;

const echoInput = z.object({ text: z.string() });

/** A server with one tool, `echo`; what most tests need. */
export function echoServer(context?: Pick<ServerContext, 'sessionId'>): McpServer {
  const server = new McpServer({ name: 'echo', version: '1.0.0' }, { capabilities: { logging: {} } });
  server.registerTool('echo', { inputSchema: echoInput }, ({ text }) => ({
    content: [{ type: 'text', text }],
    _meta: { session: context?.sessionId },
  }));
  return server;
}

export async function start(
  options: Partial<McpRouterOptions> = {},
  mount: (app: Express, router: McpRouter) => void = (app, router) => app.use('/mcp', router),
): Promise<Harness> {
  const app = express();
  const router = mcpRouter({ serverFactory: echoServer, logger: false, ...options });
  mount(app, router);
  const http = await new Promise<HttpServer>((resolve) => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });
  http.keepAliveTimeout = KEEP_ALIVE;
  const url = new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`);
  const clients: Client[] = [];
  return {
    url,
    app,
    router,
    http,
    async client(name = 'test') {
      const client = new Client({ name, version: '1.0.0' });
      clients.push(client);
      await client.connect(new StreamableHTTPClientTransport(url));
      return client;
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
      await router.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** The headers that a client sends with each POST. */
export const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

/** An `initialize` as a client sends it. */
export function initializeBody(id: string | number = 0, protocolVersion = '2025-11-25') {
  return {
    jsonrpc: '2.0',
    id,
    method: 'initialize',
    params: { protocolVersion, capabilities: {}, clientInfo: { name: 'raw', version: '1.0.0' } },
  };
}

/** POSTs a body to the endpoint. */
export function post(
  url: URL,
  body: unknown,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { ...JSON_HEADERS, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  });
}

/** Opens a session by hand and gives its ID. */
export async function openSession(
  url: URL,
  headers: Record<string, string> = {},
  protocolVersion = '2025-11-25',
): Promise<string> {
  const response = await post(url, initializeBody(0, protocolVersion), headers);
  await response.text();
  const id = response.headers.get('mcp-session-id');
  if (response.status !== 200 || id === null) throw new Error(`initialize was answered with ${response.status}`);
  await post(url, { jsonrpc: '2.0', method: 'notifications/initialized' }, { ...headers, 'mcp-session-id': id });
  return id;
}

/** The messages of an SSE reply that has ended. */
export function messagesOf(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: ') && line.length > 6)
    .map((line) => JSON.parse(line.slice(6)) as unknown);
}

/** A `tools/call` of `echo`. */
export function echoCall(id: string | number, text: string) {
  return { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'echo', arguments: { text } } };
}
