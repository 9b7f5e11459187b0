import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import {
  createHttpServer,
  mcpRouter,
  principalOf,
  type ClusterOptions,
  type ContextState,
  type McpRouter,
  type McpRouterOptions,
  type OpeningRequest,
  type RedisOptions,
  type RejectReason,
  type SessionStore as Store,
  type Sessions,
} from 'express-mcp-router';
import { adminPage, type AdminPageOptions } from 'express-mcp-router/admin';
import {
  keyvStore,
  memoryEventStore,
  memoryStore,
  type KeyvLike,
  type MemoryStoreOptions,
  type SessionEventStore,
  type SessionStore,
  type StoredRecord,
} from 'express-mcp-router/stores';
import { sessionStoreContract, type ContractCase } from 'express-mcp-router/testing';
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

/** A store of the consumer's own: nothing but what is required. */
class OwnStore implements SessionStore {
  readonly #records: SessionStore;

  constructor(options?: MemoryStoreOptions) {
    this.#records = memoryStore(options);
  }

  create(id: string, data: string, owner: string | undefined, ttl: number): Promise<boolean> {
    return this.#records.create(id, data, owner, ttl);
  }

  get(id: string): Promise<StoredRecord | undefined> {
    return this.#records.get(id);
  }

  update(id: string, epoch: number, data: string, ttl: number): Promise<boolean> {
    return this.#records.update(id, epoch, data, ttl);
  }

  destroy(id: string, epoch?: number): Promise<boolean> {
    return this.#records.destroy(id, epoch);
  }

  claim(id: string, expected: Pick<StoredRecord, 'owner' | 'epoch'>, owner: string): Promise<boolean> {
    return this.#records.claim(id, expected, owner);
  }
}

/** As much of a Keyv as a store needs. */
function buildKeyv(): KeyvLike {
  const values = new Map<string, unknown>();
  return {
    get: async (key) => values.get(key),
    set: async (key, value) => values.set(key, value).has(key),
    delete: async (key) => values.delete(key),
    on: () => undefined,
  };
}

async function checkStores(): Promise<void> {
  const stores: SessionStore[] = [memoryStore(), keyvStore(buildKeyv()), new OwnStore()];
  const cases = stores.flatMap((store): ContractCase[] =>
    sessionStoreContract({ store: () => store, resolution: 500 }),
  );
  await Promise.all(cases.map(({ run }) => run()));
  const events: SessionEventStore = Object.assign(memoryEventStore(), { purge: async () => undefined });
  assert.equal(await events.storeEvent('a', { jsonrpc: '2.0', method: 'x' }).then(() => events.purge('a')), undefined);
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- as passport's types do it
  namespace Express {
    interface Request {
      user?: { id: string };
    }
  }
}

/** Types of the package that an app names when it splits its set-up into functions. */
export interface Parts {
  readonly cluster: ClusterOptions;
  readonly redis: RedisOptions;
  readonly state: ContextState;
  readonly opening: OpeningRequest;
  readonly reason: RejectReason;
  readonly store: Store;
}

const sessionsOf = (router: McpRouter): Sessions => router.sessions;

async function main(): Promise<void> {
  await checkStores();
  const options: McpRouterOptions = {
    serverFactory: buildServer,
    logger: false,
    principal: (req) => req.user?.id ?? req.get('x-user') ?? (req.auth && principalOf(req.auth)),
  };
  const mcp = mcpRouter(options);
  const app = express();
  app.use('/mcp', mcp);
  app.get('/metrics', mcp.metrics);
  const operators: AdminPageOptions = { authorize: (req) => req.headers['x-role'] === 'operator' };
  app.use('/admin', adminPage(mcp, operators));
  const server = createHttpServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const client = new Client({ name: 'consumer', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`));
  await client.connect(transport);
  const { content } = await client.callTool({ name: 'echo', arguments: { text: 'packed' } });
  assert.deepEqual(content, [{ type: 'text', text: 'packed' }]);

  const headers = { 'x-role': 'operator' };
  assert.match(await (await fetch(`${url}/admin/`, { headers })).text(), /<title>MCP sessions<\/title>/);
  assert.match(await (await fetch(`${url}/admin/app.js`, { headers })).text(), /api\/sessions/);
  assert.match(await (await fetch(`${url}/admin/api/sessions`, { headers })).text(), /"found":1/);
  assert.equal((await fetch(`${url}/admin/`)).status, 403);

  const metrics = await (await fetch(`${url}/metrics`)).text();
  assert.match(metrics, /^mcp_sessions_active 1$/m);
  await transport.terminateSession();
  assert.equal(sessionsOf(mcp).list().length, 0);

  await client.close();
  await mcp.close();
  server.close();
}

// Nothing ends the process: it must end by itself, so that no timer or socket of the package keeps it alive.
main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
