import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { Server as NetServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import express from 'express';
import type * as RateLimit from 'express-rate-limit';
import type * as Redis from 'redis';
import request from 'supertest';
import * as main from '../src/index.js';
import * as node from '../src/node.js';
import { memoryStore } from '../src/stores/index.js';
import { testClient } from '../src/testing/index.js';
import type { Page } from './support/code-blocks.js';
import { EXAMPLES, PAGES } from './support/documents.js';
import { echoServer, initializeBody, JSON_HEADERS, start, type Harness } from './support/harness.js';
import { RedisServer } from './support/redis-server.js';
import { runBlocks, type World } from './support/run-blocks.js';
import { until } from './support/waiting.js';

/** Pages whose blocks run in a test of their own, or in none. */
const ELSEWHERE = new Map([
  ['docs/testing.md', 'its blocks are tests, which docs.test.ts runs'],
  ['CONTRIBUTING.md', 'it has no blocks of an app'],
]);

interface Made {
  readonly listener: RequestListener;
  readonly options: Partial<main.McpRouterOptions>;
  close(): Promise<void>;
}

const KEY = readFileSync('__tests__/support/tls/localhost-key.pem');
const CERT = readFileSync('__tests__/support/tls/localhost-cert.pem');

let redis: RedisServer;
let harness: Harness;
beforeAll(async () => {
  process.env.MCP_CLUSTER_SECRET = 's'.repeat(32);
  process.env.PRINCIPAL_KEY = 'k'.repeat(32);
  redis = await RedisServer.start();
  harness = await start();
}, 300_000);
afterAll(async () => {
  await harness.close();
  await redis.stop();
});

/** All that the blocks of one page have made, so that it can be used, and ended. */
class Belongings {
  readonly made: Made[] = [];
  readonly #servers: NetServer[] = [];
  readonly #redisClients: { destroy(): void }[] = [];
  readonly #listeners = process.listeners('SIGTERM');

  /** The package, whose routers are noted here. */
  wrapped(entry: typeof main | typeof node): object {
    const mcpRouter = (options: main.McpRouterOptions) => {
      const router = main.mcpRouter({ ...options, logger: false });
      const app = express().use('/mcp', router);
      this.made.push({ listener: app, options, close: () => router.close() });
      return router;
    };
    const createMcpEndpoint = (options: node.McpEndpointOptions) => {
      const endpoint = node.createMcpEndpoint({ ...options, logger: false });
      this.made.push({ listener: endpoint.handle, options: {}, close: () => endpoint.close() });
      return endpoint;
    };
    return { ...entry, mcpRouter, createMcpEndpoint };
  }

  createClient(options: object): object {
    const { createClient } = jest.requireActual<typeof Redis>('redis');
    const client = createClient({ ...options, url: redis.url });
    this.#redisClients.push(client);
    return client;
  }

  /** Servers of the page listen on a free port, whatever the page says. */
  catchServers(): void {
    const listen = Reflect.get(NetServer.prototype, 'listen') as (...args: unknown[]) => unknown;
    jest.spyOn(NetServer.prototype, 'listen').mockImplementation(function (this: NetServer, ...args: unknown[]) {
      servers.push(this);
      const callback = args.find((argument) => typeof argument === 'function');
      return Reflect.apply(listen, this, [0, '127.0.0.1', callback]) as NetServer;
    });
    const servers = this.#servers;
  }

  async end(): Promise<void> {
    jest.restoreAllMocks();
    for (const listener of process.listeners('SIGTERM')) {
      if (!this.#listeners.includes(listener)) process.removeListener('SIGTERM', listener);
    }
    await Promise.all(this.made.map((one) => one.close()));
    for (const server of this.#servers) server.close();
    for (const client of this.#redisClients) client.destroy();
  }
}

/** jose is an ES module, which Jest cannot load. The example `examples/authentication` is run with it. */
const JOSE = { createRemoteJWKSet: () => undefined, jwtVerify: () => Promise.reject(new Error()), errors: {} };

/** Clients of a page connect to the harness, whatever the page says. */
class HarnessTransport extends StreamableHTTPClientTransport {
  constructor() {
    super(harness.url);
  }
}

function files(name: string): Buffer {
  if (name.endsWith('principal.key')) return Buffer.alloc(32, 'k');
  return name.includes('key') ? KEY : CERT;
}

function worldOf(belongings: Belongings): World {
  const createClient = (options: object) => belongings.createClient(options);
  const modules = new Map<string, () => unknown>([
    ['express-mcp-router', () => belongings.wrapped(main)],
    ['express-mcp-router/node', () => belongings.wrapped(node)],
    // A test of its own fails a Sentinel over. Here a client of the one Redis stands for it.
    ['redis', () => ({ createClient, createSentinel: () => createClient({ disableOfflineQueue: true }) })],
    ['jose', () => JOSE],
    ['@modelcontextprotocol/sdk/client/streamableHttp.js', () => ({ StreamableHTTPClientTransport: HarnessTransport })],
    ['node:fs', () => ({ readFileSync: files, createWriteStream: () => new PassThrough().resume() })],
  ]);
  const router = main.mcpRouter({ serverFactory: echoServer, logger: false });
  belongings.made.push({ listener: express().use('/mcp', router), options: {}, close: () => router.close() });
  const nothing = () => undefined;
  return {
    load: (name) => modules.get(name)?.() ?? jest.requireActual(name),
    given: {
      app: express(),
      server: createServer(),
      serverFactory: echoServer,
      buildServer: echoServer,
      buildAcme: echoServer,
      buildGlobex: echoServer,
      tenantOf: () => 'acme',
      mcp: router,
      router,
      authenticate: (_req: unknown, _res: unknown, next: () => void) => next(),
      verifier: { verifyAccessToken: () => Promise.reject(new Error('no token is valid here')) },
      isRevoked: () => Promise.resolve(false),
      isOperator: () => Promise.resolve(true),
      audit: nothing,
      transfer: () => Promise.resolve(),
      carts: {},
      id: 'the ID of a session',
      url: harness.url.href,
      lostLines: { inc: nothing },
      adapter: new Map(),
      myStore: memoryStore(),
      client: belongings.createClient({ disableOfflineQueue: true }),
      redis: { call: () => Promise.resolve(null) },
      key: KEY,
      cert: CERT,
      describe: nothing,
      test: nothing,
      console: { ...console, log: nothing },
    },
  };
}

/** A client that the router knows, one without a token, and one that the app refuses. */
const EXPECTED = [200, 401, 403];

/** Uses a router of a page as a client does, in each era that it serves. */
async function use({ listener, options }: Made): Promise<void> {
  const path = `/mcp${options.path ?? ''}`;
  if (options.sessions !== false) {
    await until('the router is a member of its cluster', async () => {
      const client = await testClient(listener, { path });
      const { status } = client.opening!;
      if (status === 200) expect((await client.request('tools/list')).status).toBe(200);
      else expect([503, ...EXPECTED]).toContain(status);
      await client.close();
      return status !== 503;
    });
  }
  if (options.perRequest !== undefined) {
    const client = await testClient(listener, { path, era: 'request' });
    expect(EXPECTED).toContain((await client.request('server/discover')).status);
    await client.close();
  }
}

const titleOf = ({ name, blocks }: Page) => `${name}:${blocks.at(-1)!.line}`;
const running = [...PAGES, ...EXAMPLES].filter(
  ({ name, blocks }) => !ELSEWHERE.has(name) && blocks.some(({ language }) => language === 'ts'),
);

test.each(running.map((page) => [titleOf(page), page] as const))(
  '%s: its blocks run, and a client can use each router that they make',
  async (_, page) => {
    const belongings = new Belongings();
    try {
      belongings.catchServers();
      await runBlocks(page, worldOf(belongings));
      jest.restoreAllMocks();
      for (const made of belongings.made) await use(made);
    } finally {
      await belongings.end();
    }
  },
);

test('a page whose block throws is found', async () => {
  const page = { name: 'bad', blocks: [{ language: 'ts', code: 'throw new Error(String(initializeBody));', line: 1 }] };
  const world = { load: () => ({}), given: { initializeBody } };
  await expect(runBlocks(page, world)).rejects.toThrow('protocolVersion');
});

test('docs/recipes.md: a user over the rate limit gets a JSON-RPC 429 with Retry-After, and another user does not', async () => {
  const belongings = new Belongings();
  const world = worldOf(belongings);
  const { rateLimit, ...others } = jest.requireActual<typeof RateLimit>('express-rate-limit');
  const two = (options: object) => rateLimit({ ...options, limit: 2 });
  const authenticate: express.RequestHandler = (req, _res, next) => {
    const clientId = req.get('x-user') ?? '';
    Object.assign(req, { auth: { token: 't', clientId, scopes: [], extra: { sub: clientId } } });
    next();
  };
  const page = PAGES.find(({ name }) => name === 'docs/recipes.md')!;
  await runBlocks(page, {
    load: (name) => (name === 'express-rate-limit' ? { ...others, rateLimit: two } : world.load(name)),
    given: { ...world.given, authenticate },
  });
  const ask = (user: string) =>
    request(world.given.app as express.Express)
      .post('/mcp')
      .set(JSON_HEADERS)
      .set('x-user', user)
      .send({ jsonrpc: '2.0', id: 1, method: 'ping' });
  await ask('alice').expect(400);
  await ask('alice').expect(400);
  const { headers, body } = await ask('alice').expect(429);
  expect(body).toMatchObject({ jsonrpc: '2.0', error: { message: 'Too many requests of this user' } });
  expect(Number(headers['retry-after'])).toBeGreaterThan(50);
  await ask('bob').expect(400);
  await belongings.end();
});
