import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { CallToolRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { Registry } from 'prom-client';
import {
  mcpRouter,
  type McpRouter,
  type McpRouterOptions,
  type ServerContext,
  type ServerFactory,
} from '../../src/index.js';
import { memoryStore } from '../../src/stores/index.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { parseExposition } from '../support/exposition.js';
import { FakeClock } from '../support/fake-clock.js';
import { initializeBody, JSON_HEADERS } from '../support/harness.js';
import { ProcessClock } from '../support/process-clock.js';
import { StopStore } from '../support/restartable.js';

const COUNTED = /^mcp_(sessions_(?!limit$)|streams_open$)/;
const isCount = (name: string, labels: Readonly<Record<string, string>>): boolean =>
  name === 'mcp_server_operation_duration_seconds_count' && labels.mcp_method_name === 'tools/call';

export interface ReplyText {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** One request of a client, seen from both of its ends. */
export class Exchange {
  readonly arrived = new Deferred();
  /** The server's response has closed, and the router has seen it. */
  readonly closed = new Deferred();
  readonly #request: http.ClientRequest;
  readonly #response: Promise<http.IncomingMessage>;
  readonly #reply: Promise<ReplyText>;
  #text = '';
  #pings = 0;

  constructor(
    readonly number: number,
    request: http.ClientRequest,
  ) {
    this.#request = request;
    this.#response = new Promise((resolve, reject) => request.on('response', resolve).on('error', reject));
    this.#reply = this.#response.then(async (response) => {
      response.setEncoding('utf8');
      for await (const chunk of response) this.#text += chunk as string;
      return { status: response.statusCode!, headers: response.headers, text: this.#text };
    });
    // A client that hung up does not care.
    this.#reply.catch(() => undefined);
  }

  /** Sends the rest of a body that was begun. */
  finish(rest: string): void {
    this.#request.end(rest);
  }

  /** The status, as soon as the head of the reply is here. */
  async status(): Promise<number> {
    return (await soon('the head of a reply', this.#response)).statusCode!;
  }

  /** Resolves to the ID of the next ping on the stream. */
  async ping(): Promise<string> {
    const pings = (): RegExpExecArray[] => [...this.#text.matchAll(/"id":"([^"]+)","method":"ping"/g)];
    await until('a ping has come', () => pings().length > this.#pings);
    this.#pings += 1;
    return pings()[this.#pings - 1]![1]!;
  }

  /** All of the reply, when the server's end is over too. */
  async reply(): Promise<ReplyText> {
    const reply = await soon('the end of a reply', this.#reply);
    await this.over();
    return reply;
  }

  over(): Promise<void> {
    return soon('the end of an exchange on the server', this.closed.promise);
  }

  async hangUp(): Promise<void> {
    this.#request.destroy();
    await this.over();
  }
}

/** A call of the tool `wait`, which ends when the test says so. */
export interface Handler {
  readonly finish: () => void;
  readonly signal: AbortSignal;
}

/** Holds a factory up until the test opens it; rejected, the factory throws. */
export class Gate extends Deferred {
  readonly reached = new Deferred();
}

/** A router in a real app on a fake clock, with the sight of everything that it began and has to end. */
export class World {
  readonly clock = new FakeClock();
  /** Where records are kept, if the router has a session store. */
  readonly store = new StopStore(memoryStore({ clock: this.clock }));
  router: McpRouter;
  /** Servers that the factory made and that are not closed. */
  readonly servers = new Set<McpServer>();
  /** Servers by the ID of their session. */
  readonly serverOf = new Map<string, McpServer>();
  readonly exchanges: Exchange[] = [];
  readonly handlers = new Map<string, Deferred<Handler>>();
  /** What `drain` or `close` returned. */
  stopped: Promise<void> | undefined;
  /** What the next session will be called. */
  nextId = 'session';
  /** The context of each call of the factory. */
  readonly contexts: ServerContext[] = [];
  /** Makes the servers; a test may put another in its place. */
  factory: ServerFactory = (context) => this.build(context);
  /** What holds up the factory of a session. */
  readonly gates = new Map<string, Gate>();
  readonly #options: Partial<McpRouterOptions>;
  #process: { clock: ProcessClock; registry: Registry };
  readonly #http: http.Server;
  #agent = new http.Agent({ keepAlive: true });

  /** @param stored - Whether the router has a session store. */
  constructor(options: Partial<McpRouterOptions>, stored = false) {
    this.#options = { ...options, ...(stored && { store: this.store }) };
    this.#process = this.#newProcess();
    this.router = this.#newRouter();
    const app = express();
    app.use((req, res, next) => {
      const exchange = this.exchanges[Number(req.headers['x-exchange'])];
      // The first of the reply's listeners, so what waits for it goes on when all the others have been called.
      res.once('close', () => exchange?.closed.resolve());
      exchange?.arrived.resolve();
      next();
    });
    app.use('/mcp', (req, res, next) => this.router(req, res, next));
    this.#http = http.createServer(app);
  }

  static async start(options: Partial<McpRouterOptions> = {}, stored = false): Promise<World> {
    const world = new World(options, stored);
    await once(world.#http.listen(0, '127.0.0.1'), 'listening');
    return world;
  }

  /** The process dies with all that it had, and another begins on the same store. */
  crash(): void {
    this.#process.clock.die();
    this.#http.closeAllConnections();
    this.#agent.destroy();
    this.#agent = new http.Agent({ keepAlive: true });
    this.servers.clear();
    this.#process = this.#newProcess();
    this.router = this.#newRouter();
  }

  #newProcess(): { clock: ProcessClock; registry: Registry } {
    return { clock: new ProcessClock(this.clock), registry: new Registry() };
  }

  #newRouter(): McpRouter {
    const { clock, registry } = this.#process;
    return mcpRouter({
      serverFactory: (context) => {
        this.contexts.push(context);
        return this.factory(context);
      },
      principal: (req) => req.headers['x-user'] as string | undefined,
      sessionIdGenerator: () => this.nextId,
      clock,
      metrics: { registry },
      logger: false,
      ...this.#options,
    });
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  send(method: string, headers: http.OutgoingHttpHeaders, body?: unknown): Exchange {
    const { request, exchange } = this.#begin(method, headers);
    request.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body));
    return exchange;
  }

  /** POSTs only the beginning of a body. */
  sendPart(headers: http.OutgoingHttpHeaders, part: string): Exchange {
    const { request, exchange } = this.#begin('POST', headers);
    request.write(part);
    return exchange;
  }

  #begin(method: string, headers: http.OutgoingHttpHeaders): { request: http.ClientRequest; exchange: Exchange } {
    const accept = method === 'GET' ? { accept: 'text/event-stream' } : method === 'POST' ? JSON_HEADERS : {};
    const request = http.request({
      port: this.port,
      host: '127.0.0.1',
      path: '/mcp',
      agent: this.#agent,
      method,
      headers: { ...accept, 'x-exchange': this.exchanges.length, ...headers },
    });
    const exchange = new Exchange(this.exchanges.length, request);
    this.exchanges.push(exchange);
    return { request, exchange };
  }

  /** Sends an `initialize` that asks for a session under this ID. */
  initialize(id: string, headers: http.OutgoingHttpHeaders = {}): Exchange {
    this.nextId = id;
    return this.send('POST', headers, initializeBody());
  }

  /** Holds up the factory of the session that is to have this ID. */
  holdFactory(id: string): Gate {
    const gate = new Gate();
    this.gates.set(id, gate);
    return gate;
  }

  /** Opens a session under this ID. */
  async open(id: string, headers: http.OutgoingHttpHeaders = {}): Promise<string> {
    const { status, text } = await this.initialize(id, headers).reply();
    if (status !== 200) throw new Error(`initialize was answered with ${status}: ${text}`);
    return id;
  }

  ping(session: string, headers: http.OutgoingHttpHeaders = {}): Exchange {
    return this.send('POST', { 'mcp-session-id': session, ...headers }, { jsonrpc: '2.0', id: 'ping', method: 'ping' });
  }

  notify(session: string, method: string, params: object, headers: http.OutgoingHttpHeaders = {}): Exchange {
    return this.send('POST', { 'mcp-session-id': session, ...headers }, { jsonrpc: '2.0', method, params });
  }

  /** Calls the tool `wait`. The key is the request's ID too. */
  call(session: string, key: string, headers: http.OutgoingHttpHeaders = {}): Exchange {
    const params = { name: 'wait', arguments: { key } };
    const body = { jsonrpc: '2.0', id: key, method: 'tools/call', params };
    return this.send('POST', { 'mcp-session-id': session, ...headers }, body);
  }

  /** Calls the tool `wait`; resolves once its handler runs. */
  async wait(session: string, key: string, headers: http.OutgoingHttpHeaders = {}): Promise<Exchange> {
    this.expectCall(key);
    const exchange = this.call(session, key, headers);
    await this.handler(key);
    return exchange;
  }

  /** Resolves with the next handler of the tool with this key. */
  expectCall(key: string): void {
    this.handlers.set(key, new Deferred());
  }

  handler(key: string): Promise<Handler> {
    return soon(`the handler of ${key}`, this.handlers.get(key)!.promise);
  }

  /** The series of sessions, streams and calls of the tool, by name and label, without those that are 0. */
  async metrics(): Promise<Record<string, number>> {
    const samples = parseExposition(await this.#process.registry.metrics())
      .filter(({ name, value, labels }) => value !== 0 && (COUNTED.test(name) || isCount(name, labels)))
      .map(({ name, labels: { cause, kind, reason, outcome }, value }) => {
        const label = cause ?? kind ?? reason ?? outcome;
        return [
          outcome !== undefined ? `calls ${outcome}` : label === undefined ? name : `${name} ${label}`,
          value,
        ] as const;
      });
    return Object.fromEntries(samples);
  }

  async stop(): Promise<void> {
    this.#process.clock.die();
    this.#agent.destroy();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  /** A server that answers what the SDK answers by itself, and calls of the tool `wait`. */
  async build({ sessionId }: Pick<ServerContext, 'sessionId'>): Promise<McpServer> {
    const gate = sessionId === undefined ? undefined : this.gates.get(sessionId);
    gate?.reached.resolve();
    await gate?.promise;
    const server = this.make();
    if (sessionId !== undefined) this.serverOf.set(sessionId, server);
    return server;
  }

  make(): McpServer {
    const { servers } = this;
    class CountedServer extends McpServer {
      override async close(): Promise<void> {
        servers.delete(this);
        await super.close();
      }
    }
    const server = new CountedServer({ name: 'world', version: '1.0.0' }, { capabilities: { tools: {} } });
    servers.add(server);
    server.server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
      const finished = new Deferred();
      this.handlers.get(String(params.arguments?.key))?.resolve({ finish: finished.resolve, signal });
      await finished.promise;
      return { content: [] };
    });
    return server;
  }
}

/** A refused `initialize`, as docs/http.md has it. */
export async function expectRefusal(exchange: Exchange, message: string): Promise<void> {
  const { status, headers, text } = await exchange.reply();
  expect([status, headers['retry-after'], JSON.parse(text)]).toEqual([
    503,
    '5',
    { jsonrpc: '2.0', id: 0, error: { code: -32000, message: `Service Unavailable: ${message}` } },
  ]);
}

/** Everything that a failed opening made is undone (docs/sessions.md, "How a session ends"). */
export async function expectNothingLeft(world: World): Promise<void> {
  await until('all servers are closed', () => world.servers.size === 0);
  expect(world.router.sessions.list()).toEqual([]);
  expect(world.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  expect(await world.metrics()).not.toMatchObject({ mcp_sessions_active: expect.anything() });
  for (const { signal } of world.contexts) expect(signal.aborted).toBe(true);
  await until('no timer is left', () => world.clock.pending === 0);
  for (const exchange of world.exchanges) await exchange.over();
}
