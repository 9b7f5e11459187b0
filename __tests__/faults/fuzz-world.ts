import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv-provider.js';
import { EmptyResultSchema } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { z } from 'zod';
import {
  mcpErrorHandler,
  mcpRouter,
  memoryEventStore,
  type McpRouter,
  type McpRouterOptions,
  type McpServerLike,
  type ServerContext,
} from '../../src/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { openSession, start, type Harness } from '../support/harness.js';
import type { RawResponse } from '../support/raw-http.js';
import type { ENDPOINTS, FuzzRequest, SessionChoice } from './fuzz-requests.js';

type Endpoint = (typeof ENDPOINTS)[number];

/** In every error that the app throws; no client may ever see it. */
export const SECRET = 'SECRET-b7e2';
/** What the app answers where no router does. */
export const THE_APP = 'the app';

export const REQUEST_TIMEOUT = 20_000;
export const TTL = 300_000;
/** Bytes, for the routers and for the parser in front of one of them. */
const MAX_BODY_SIZE = 50_000;
/** What is opened before each batch, if fewer live. */
const MIN_LIVE = 20;
/** Event IDs remembered: few enough to be of sessions that live still. */
const MAX_EVENTS = 100;

const broken = (): never => {
  throw new Error(`${SECRET} at /srv/app/internal.js:1:1`);
};

/** An event store that, while it is moody, fails now and then, and now and then does not answer. */
class MoodyEventStore implements EventStore {
  moody = true;
  readonly #store: EventStore;
  #turns = 0;

  constructor(clock: FakeClock) {
    this.#store = memoryEventStore({ clock, maxBytes: 1_000_000 });
  }

  async storeEvent(...args: Parameters<EventStore['storeEvent']>): Promise<string> {
    if (this.#everyNth(97)) return broken();
    if (this.#everyNth(997)) return new Promise(() => undefined);
    return this.#store.storeEvent(...args);
  }

  async getStreamIdForEventId(id: string): Promise<string | undefined> {
    return this.moody && id.length % 7 === 0 ? broken() : this.#store.getStreamIdForEventId?.(id);
  }

  async replayEventsAfter(...args: Parameters<EventStore['replayEventsAfter']>): Promise<string> {
    return this.#everyNth(13) ? broken() : this.#store.replayEventsAfter(...args);
  }

  #everyNth(n: number): boolean {
    this.#turns += 1;
    return this.moody && this.#turns % n === 0;
  }
}

/** One for all servers: each would make its own, which takes longer than the request that it is made for. */
const jsonSchemaValidator = new AjvJsonSchemaValidator();

function toolServer(): McpServer {
  const options = { capabilities: { logging: {} }, jsonSchemaValidator };
  const server = new McpServer({ name: 'fuzzed', version: '1.0.0' }, options);
  const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
  server.registerTool('echo', { inputSchema: z.looseObject({ text: z.string() }) }, (args) => text(args.text));
  server.registerTool('hang', {}, () => new Promise(() => undefined));
  server.registerTool('fail', {}, () => Promise.reject(new Error('the tool failed')));
  server.registerTool('report', {}, async (extra) => {
    const progressToken = extra._meta?.progressToken ?? 'none';
    await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
    await server.sendLoggingMessage({ level: 'info', data: 'reported' });
    return text('reported');
  });
  server.registerTool('ask', {}, async (extra) => {
    await extra.sendRequest({ method: 'ping' }, EmptyResultSchema);
    return text('asked');
  });
  server.registerTool('unwritable', {}, () => ({ ...text('x'), toJSON: broken }));
  server.registerTool('leave', {}, async () => {
    await server.close();
    return text('left');
  });
  server.registerTool('elicit', {}, async () => {
    const requestedSchema = { type: 'object' as const, properties: {} };
    return text((await server.server.elicitInput({ message: 'Go on?', requestedSchema })).action);
  });
  server.registerTool('large', {}, () => text('x'.repeat(100_000)));
  return server;
}

/** A server that is none of the SDK's: answers `initialize`, and throws on everything else. */
function throwingServer(): McpServerLike {
  return {
    async connect(transport) {
      transport.onmessage = (message) => {
        if (!('method' in message) || !('id' in message) || message.method !== 'initialize') return broken();
        const result = {
          protocolVersion: '2025-11-25',
          capabilities: {},
          serverInfo: { name: 'throws', version: '1' },
        };
        void transport.send({ jsonrpc: '2.0', id: message.id, result });
      };
      await transport.start();
    },
    close: async () => broken(),
  };
}

function serverFactory({ req }: ServerContext): McpServerLike | Promise<McpServerLike> {
  switch (req.headers['x-fault']) {
    case 'factory throws':
      return broken();
    case 'factory rejects':
      return Promise.reject(new Error(SECRET));
    case 'factory returns nothing':
      return undefined as unknown as McpServerLike;
    case 'factory never settles':
      return new Promise(() => undefined);
    case 'server throws':
      return throwingServer();
    default:
      return toolServer();
  }
}

/** Four routers in one app. Their factory, servers, event store and listeners fail on request, or now and then. */
export class World {
  readonly clock = new FakeClock();
  readonly eventStore = new MoodyEventStore(this.clock);
  readonly routers = new Map<Endpoint, McpRouter>();
  readonly #live = new Map<Endpoint, { id: string; principal: string | undefined }[]>();
  readonly #dead: string[] = ['7b1c8f0e-0000-4000-8000-000000000000'];
  readonly #events: string[] = [];
  #harness: Harness | undefined;
  /** The same app behind a server that waits for no request longer than this many ms. */
  readonly #impatience = 150;
  #impatient: http.Server | undefined;

  async start(): Promise<this> {
    const options: McpRouterOptions = {
      serverFactory,
      clock: this.clock,
      logger: false,
      ttl: TTL,
      orphanAfter: 20_000,
      maxLifetime: 10 * TTL,
      requestTimeout: REQUEST_TIMEOUT,
      openTimeout: REQUEST_TIMEOUT,
      keepAlive: 5_000,
      pingInterval: 30_000,
      maxSessions: 100,
      maxSessionsPerPrincipal: 80,
      maxBodySize: MAX_BODY_SIZE,
      eventStore: this.eventStore,
      principal: ({ headers }) =>
        headers['x-fault'] === 'principal throws' ? broken() : headers['x-user']?.toString(),
    };
    const perRequest = { suspendTtl: REQUEST_TIMEOUT, maxSubscriptions: 50, maxSuspended: 50 };
    options.perRequest = perRequest;
    const { clock, logger, principal, maxBodySize, requestTimeout, openTimeout, keepAlive } = options;
    const stateless = { perRequest, clock, logger, principal, maxBodySize, requestTimeout, openTimeout, keepAlive };
    this.#harness = await start(options, (app, router) => {
      this.#add('/mcp', router);
      this.#add('/json', mcpRouter({ ...options, enableJsonResponse: true }));
      this.#add('/parsed', mcpRouter({ ...options, eventStore: undefined }));
      this.routers.set('/stateless', mcpRouter({ ...stateless, serverFactory, stateless: true }));
      app.use('/parsed', express.json({ limit: MAX_BODY_SIZE }));
      for (const [path, mounted] of this.routers) app.use(path, mounted);
      app.use(mcpErrorHandler());
      app.use((_req, res) => void res.writeHead(299).end(THE_APP));
    });
    this.#impatient = http.createServer(
      { headersTimeout: this.#impatience, requestTimeout: this.#impatience, connectionsCheckingInterval: 20 },
      this.#harness.app,
    );
    await new Promise<void>((resolve) => this.#impatient!.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get harness(): Harness {
    return this.#harness!;
  }

  get port(): number {
    return Number(this.harness.url.port);
  }

  get impatientPort(): number {
    return (this.#impatient!.address() as AddressInfo).port;
  }

  /** Sees to it that there are sessions to name, and looks which. */
  async refresh(): Promise<void> {
    for (const [path, { sessions }] of this.routers) {
      if (path === '/stateless') continue;
      for (let missing = MIN_LIVE - sessions.list().length; missing > 0; missing -= 1) {
        await openSession(new URL(path, this.harness.url), missing % 2 === 0 ? { 'x-user': 'alice' } : {});
      }
      this.#live.set(path, sessions.list());
    }
  }

  /** The headers that name what the request chose: a session of the router that it goes to, an event. */
  headersFor({ target, session, lastEvent }: FuzzRequest): [string, string][] {
    const event = lastEvent === undefined ? undefined : this.#events[lastEvent % this.#events.length];
    const headers = this.#sessionHeaders(target, session);
    return event === undefined ? headers : [...headers, ['Last-Event-ID', event]];
  }

  /** Remembers the event IDs of a reply, for a later request to resume after. */
  saw({ body }: RawResponse): void {
    const id = /^id: (.+)$/m.exec(body)?.[1];
    if (id === undefined) return;
    this.#events.push(id);
    if (this.#events.length > MAX_EVENTS) this.#events.shift();
  }

  #sessionHeaders(target: string, choice: SessionChoice | undefined): [string, string][] {
    if (choice === undefined) return [];
    if (choice.kind === 'odd') return [['Mcp-Session-Id', choice.odd]];
    if (choice.kind === 'dead') return [['Mcp-Session-Id', this.#dead[choice.pick % this.#dead.length]!]];
    const path = [...this.#live.keys()].find((prefix) => target.includes(prefix)) ?? '/mcp';
    const live = this.#live.get(path)!;
    const { id, principal } = live[choice.pick % live.length]!;
    const user = choice.kind === 'foreign' ? `not ${principal}` : principal;
    return [['Mcp-Session-Id', id], ...(user === undefined ? [] : ([['X-User', user]] as [string, string][]))];
  }

  /** Resolves once no socket is open; those that clients keep for their next request are closed. */
  async disconnected(): Promise<void> {
    for (const server of [this.harness.http, this.#impatient!]) {
      const count = () => new Promise<number>((resolve) => server.getConnections((_, open) => resolve(open)));
      while ((await count()) > 0) {
        server.closeIdleConnections();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  async close(): Promise<void> {
    this.#impatient?.closeAllConnections();
    await new Promise((resolve) => this.#impatient?.close(resolve));
    await Promise.all([...this.routers.values()].map((router) => router.close()));
    await this.#harness?.close();
  }

  #add(path: Endpoint, router: McpRouter): void {
    this.routers.set(path, router);
    router.sessions
      .on('opened', broken)
      .on('orphaned', async () => broken())
      .on('closed', ({ id }) => {
        this.#dead.push(id);
        broken();
      });
  }
}
