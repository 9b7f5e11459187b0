import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Client, type ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Express } from 'express';
import { createHttpServer, type McpRouter } from 'express-mcp-router';
import { pino } from 'pino';
import { createApp } from '../../example-app/src/app.js';
import { loadConfig } from '../../example-app/src/config.js';
import { openStores, type Stores } from '../../example-app/src/stores.js';

interface ConnectOptions extends ClientOptions {
  readonly headers?: Record<string, string>;
  /** False for a client whose GET is always refused, so that nothing can come to it but on the replies to its POSTs. */
  readonly standalone?: boolean;
}

export interface ConnectedClient {
  readonly client: Client;
  readonly transport: StreamableHTTPClientTransport;
  /** Settles when the GET stream is open; the SDK opens it some time after `connect` is done. */
  readonly listening: Promise<void>;
}

/** Connects a real client of the SDK. */
export async function connect(url: string, options: ConnectOptions = {}): Promise<ConnectedClient> {
  const { headers, standalone = true, ...clientOptions } = options;
  let opened: () => void;
  const listening = new Promise<void>((resolve) => (opened = resolve));
  const transport = new StreamableHTTPClientTransport(new URL('/mcp', url), {
    ...(headers && { requestInit: { headers } }),
    fetch: async (target, init) => {
      if (init?.method !== 'GET') return fetch(target, init);
      if (!standalone) return new Response(null, { status: 405 });
      const response = await fetch(target, init);
      if (response.ok) opened();
      return response;
    },
  });
  const client = new Client({ name: 'example-app-test', version: '1.0.0' }, clientOptions);
  await client.connect(transport);
  return { client, transport, listening };
}

export interface StartedApp {
  readonly url: string;
  readonly router: McpRouter;
  connect(options?: ConnectOptions): Promise<ConnectedClient>;
  /** Ends every client that was connected, the router and the server. */
  close(): Promise<void>;
}

/** Puts the app together as `main` does, without listening; it logs nothing. */
export async function quietApp(
  env: Record<string, string> = {},
): Promise<{ app: Express; router: McpRouter; stores: Stores }> {
  const config = loadConfig(env);
  const logger = pino({ level: 'silent' });
  const stores = await openStores(config, logger);
  try {
    return { ...(await createApp(config, stores, logger)), stores };
  } catch (error) {
    await stores.close();
    throw error;
  }
}

/** Starts the app in this process, on a free port. */
export async function startApp(env: Record<string, string> = {}): Promise<StartedApp> {
  const { app, router, stores } = await quietApp(env);
  const server = createHttpServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clients: Client[] = [];
  return {
    url,
    router,
    async connect(options) {
      const connected = await connect(url, options);
      clients.push(connected.client);
      return connected;
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
      await router.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await stores.close();
    },
  };
}

/** What a tool said, and whether it said that it failed. */
export async function call(client: Client, name: string, args: Record<string, unknown> = {}) {
  const { content, isError } = await client.callTool({ name, arguments: args });
  const [first] = content as { type: string; text: string }[];
  return { text: first?.text, failed: isError ?? false };
}

/** Settles with the next notification of a kind. */
export function next<T>(listen: (handler: (notification: T) => void) => void): Promise<T> {
  return new Promise((resolve) => listen(resolve));
}
