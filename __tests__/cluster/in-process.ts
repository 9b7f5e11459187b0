import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CallToolRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { pino } from 'pino';
import { mcpRouter, type McpRouterOptions, type ServerContext } from '../../src/index.js';
import type { ClusterOptions } from '../../src/options/options.js';
import { nodeOf } from '../../src/sessions/records/record-store.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { KEEP_ALIVE } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { connectRedis, type Connect, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer, type RedisServerInit } from '../support/redis-server.js';
import { scriptedServer, type Extra, type LowServer } from '../support/scripted.js';
import { until } from '../support/waiting.js';

/** Short, and long enough for a machine that is busy. */
const TIMES = { lease: 2_000, renewInterval: 500, fenceAfter: 1_500, claimTimeout: 4_000 };

/** What a tool is called with; what it returns is told as JSON. */
export interface Called {
  readonly args: Readonly<Record<string, string>>;
  readonly extra: Extra;
  readonly server: LowServer;
  readonly context: ServerContext;
  readonly node: InProcessNode;
}

export type Tool = (called: Called) => unknown;

const TOOLS: Readonly<Record<string, Tool>> = {
  async add({ context }) {
    const count = Number(context.state.get('count') ?? 0) + 1;
    await context.state.set('count', count);
    return { count };
  },
  echo: ({ args }) => args,
};

/** Whether a command removes a record: of all scripts on one, only that takes an owner and then an epoch. */
export function isDestroy(command: readonly string[]): boolean {
  return command.length === 6 && command[3]?.endsWith(':session') === true && /^\d+$/.test(command[5]!);
}

export interface InProcessNodeInit extends Partial<McpRouterOptions> {
  readonly name?: string;
  readonly tools?: Readonly<Record<string, Tool>>;
  readonly times?: Partial<ClusterOptions>;
  /** How it is connected to Redis. Default: by node-redis. */
  readonly connect?: Connect;
  /** Sees each command on its way to Redis, and may give another answer. */
  readonly tap?: (send: SendCommand) => SendCommand;
  /** What the app's own middleware leaves on each request. */
  readonly auth?: object;
  /** Whether its start waits until it is a member. Default: true. */
  readonly joins?: boolean;
}

/** A router that is a node of a cluster, in the test's own process: the test sees into it. */
export class InProcessNode {
  readonly contexts: ServerContext[] = [];
  readonly log = new LogLines();
  readonly router;
  readonly http: HttpServer;
  readonly redis: ConnectedRedis;
  readonly name: string;
  #closed = false;

  private constructor(redis: ConnectedRedis, prefix: string, init: Omit<InProcessNodeInit, 'connect' | 'joins'>) {
    const { name = 'node', tools = {}, times, tap, auth, ...options } = init;
    this.name = name;
    this.redis = redis;
    this.router = mcpRouter({
      serverFactory: (context) => this.#server(context, { ...TOOLS, ...tools }),
      cluster: {
        redis: { ...(tap === undefined ? redis.access : { sendCommand: tap(redis.ask) }), prefix },
        secret: 'of the nodes in this process only',
        ...TIMES,
        ...times,
      },
      principal: ({ headers }) => headers['x-principal']?.toString(),
      logger: pino({ level: 'info' }, this.log),
      retryInterval: 50,
      ...options,
    });
    const app = express();
    app.use((req, _res, next) => {
      if (auth !== undefined) Object.assign(req, { auth });
      next();
    });
    app.get('/ready', this.router.ready);
    app.get('/metrics', this.router.metrics);
    app.use('/mcp', this.router);
    this.http = createServer({ keepAliveTimeout: KEEP_ALIVE }, app).listen(0, '127.0.0.1');
  }

  static async start(url: string, prefix: string, init: InProcessNodeInit = {}): Promise<InProcessNode> {
    const { connect = connectRedis, joins = true, ...rest } = init;
    const node = new InProcessNode(await connect(url), prefix, rest);
    await once(node.http, 'listening');
    if (joins) await until('the node is a member', async () => (await node.ready()) === 200);
    return node;
  }

  get url(): URL {
    return this.#at('/mcp');
  }

  async ready(): Promise<number> {
    const response = await fetch(this.#at('/ready'));
    await response.text();
    return response.status;
  }

  async metrics(): Promise<string> {
    return (await fetch(this.#at('/metrics'))).text();
  }

  /** The lines of one message, of one session where its short ID is given. */
  lines(msg: string): Readonly<Record<string, unknown>>[] {
    return this.log.all.filter((line) => line.msg === msg);
  }

  /** Closes the app's own side, too. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.router.close();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
    this.redis.close();
  }

  #at(path: string): URL {
    return new URL(`http://127.0.0.1:${(this.http.address() as AddressInfo).port}${path}`);
  }

  #server(context: ServerContext, tools: Readonly<Record<string, Tool>>): LowServer {
    this.contexts.push(context);
    const server = scriptedServer({});
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
      const args = (params.arguments ?? {}) as Record<string, string>;
      const told = (await tools[params.name]!({ args, extra, server, context, node: this })) as object | undefined;
      const text = JSON.stringify({ node: this.name, epoch: context.epoch, ...told });
      return { content: [{ type: 'text' as const, text }] };
    });
    return server;
  }
}

/** Nodes on one Redis, which are closed after each test. */
export class InProcessCluster {
  redis!: RedisServer;
  ask!: SendCommand;
  #own!: ConnectedRedis;
  readonly #nodes: InProcessNode[] = [];
  #tests = 0;

  static async start(init: RedisServerInit = {}): Promise<InProcessCluster> {
    const cluster = new InProcessCluster();
    await cluster.#start(init);
    return cluster;
  }

  /** A cluster that starts before the tests of the file or `describe` that calls this, and stops after them. */
  static ofSuite(): InProcessCluster {
    const cluster = new InProcessCluster();
    // The first start downloads Debian's package where no redis-server is there yet.
    beforeAll(() => cluster.#start(), 300_000);
    afterEach(() => cluster.clear());
    afterAll(() => cluster.stop());
    return cluster;
  }

  /** What the keys of this test begin with. */
  get prefix(): string {
    return `${this.#tests}:`;
  }

  async node(init: InProcessNodeInit = {}): Promise<InProcessNode> {
    const node = await InProcessNode.start(this.redis.url, this.prefix, init);
    this.#nodes.push(node);
    return node;
  }

  /** Nodes `a`, `b`, and so on, that are alike. */
  nodes(count: number, init: InProcessNodeInit = {}): Promise<InProcessNode[]> {
    const names = ['a', 'b', 'c', 'd'].slice(0, count);
    return Promise.all(names.map((name) => this.node({ ...init, name })));
  }

  /** Ends the nodes of one test. */
  async clear(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map((node) => node.close()));
    this.#tests += 1;
  }

  async #start(init: RedisServerInit = {}): Promise<void> {
    this.redis = await RedisServer.start(init);
    this.#own = await connectRedis(this.redis.url);
    this.ask = this.#own.ask;
  }

  /** The record of a session, as Redis has it. */
  async record(): Promise<{ key: string; owner: string; epoch: number }> {
    const [key] = (await this.ask('KEYS', `${this.prefix}{*}:session`)) as string[];
    const [owner, epoch] = (await this.ask('HMGET', key!, 'o', 'e')) as [string, string];
    return { key: key!, owner: nodeOf(owner)!, epoch: Number(epoch) };
  }

  async stop(): Promise<void> {
    await this.clear();
    this.#own.close();
    await this.redis.stop();
  }
}
