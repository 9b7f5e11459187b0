import type { Server as HttpServer, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { pino } from 'pino';
import {
  mcpRouter,
  type McpRouter,
  type McpRouterOptions,
  type ServerContext,
  type ServerFactory,
} from '../../src/index.js';
import { memoryStore, type SessionStore } from '../../src/stores/index.js';
import { FakeClock } from './fake-clock.js';
import { KEEP_ALIVE } from './harness.js';
import { LogLines } from './log-lines.js';
import { never } from './waiting.js';

/** How each operation of a store in trouble ends. */
export type Trouble = 'fails' | 'hangs';

/** A session store that the test can put into trouble, and that records its calls. */
export class StopStore implements Required<SessionStore> {
  trouble: Trouble | undefined;
  /** The methods that are in trouble; all, when it is not set. */
  only: readonly (keyof SessionStore)[] | undefined;
  /** Each method that was called, and for which session. */
  readonly asked: string[] = [];
  readonly #store: Required<SessionStore>;
  #held: (() => void)[] | undefined;

  constructor(store: Required<SessionStore>) {
    this.#store = store;
  }

  create = this.#through('create');
  get = this.#through('get');
  update = this.#through('update');
  destroy = this.#through('destroy');
  claim = this.#through('claim');
  touch = this.#through('touch');
  release = this.#through('release');
  remaining = this.#through('remaining');

  /** Keeps every call waiting until `resume`, in order. */
  hold(): void {
    this.#held = [];
  }

  get held(): number {
    return this.#held?.length ?? 0;
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const proceed of held) proceed();
  }

  #through<K extends keyof SessionStore>(method: K): Required<SessionStore>[K] {
    const call = async (id: string, ...rest: unknown[]): Promise<unknown> => {
      this.asked.push(`${method} ${id}`);
      if (this.#held !== undefined) await new Promise<void>((resolve) => this.#held?.push(resolve));
      if (this.trouble !== undefined && (this.only === undefined || this.only.includes(method))) {
        if (this.trouble === 'hangs') return never();
        throw new Error('the store is in trouble');
      }
      const perform = this.#store[method].bind(this.#store) as (...args: unknown[]) => Promise<unknown>;
      return perform(id, ...rest);
    };
    return call as Required<SessionStore>[K];
  }
}

/**
 * An endpoint whose router can be put away as if its process had died, and another be put in its place: only what is in the
 * stores goes over. The address stays.
 */
export class Restartable {
  readonly clock = new FakeClock();
  readonly log = new LogLines();
  /** Every context that a factory was given, oldest first. */
  readonly contexts: ServerContext[] = [];
  readonly url: URL;
  /** A session store in memory that a test can make fail or hang. */
  readonly store: StopStore;
  /** Makes the servers; a test may put another in its place. */
  factory: ServerFactory;
  router: McpRouter;
  readonly #http: HttpServer;
  readonly #replies = new Set<ServerResponse>();
  readonly #options: Partial<McpRouterOptions>;
  readonly #routers: McpRouter[] = [];

  private constructor(http: HttpServer, factory: ServerFactory, options: Partial<McpRouterOptions>) {
    this.#http = http;
    this.url = new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`);
    this.store = new StopStore(memoryStore({ clock: this.clock }));
    this.#options = { principal: (req) => req.headers['x-user'] as string | undefined, ...options };
    this.factory = factory;
    this.router = this.another();
  }

  static async start(factory: ServerFactory, options: Partial<McpRouterOptions> = {}): Promise<Restartable> {
    const app = express();
    const http = await new Promise<HttpServer>((resolve) => {
      const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
    });
    http.keepAliveTimeout = KEEP_ALIVE;
    const made = new Restartable(http, factory, options);
    app.use('/mcp', (req, res, next) => {
      made.#replies.add(res);
      res.once('close', () => made.#replies.delete(res));
      made.router(req, res, next);
    });
    return made;
  }

  /** Another router on the same stores, as another process would have it; requests go on to `router`. */
  another(options: Partial<McpRouterOptions> = {}): McpRouter {
    const router = mcpRouter({
      serverFactory: (context) => {
        this.contexts.push(context);
        return this.factory(context);
      },
      clock: this.clock,
      logger: pino({ level: 'warn' }, this.log),
      store: this.store,
      ...this.#options,
      ...options,
    });
    this.#routers.push(router);
    return router;
  }

  /**
   * The process dies: every reply is cut, nothing of it is ever heard of again; another one begins. Idle connections stay: one of
   * the client's pool that is cut would fail a request that has nothing to do with it.
   */
  crash(options: Partial<McpRouterOptions> = {}): void {
    for (const reply of this.#replies) reply.destroy();
    this.router = this.another(options);
  }

  /** The value of a series that the router of now has in its metrics. */
  async metric(series: string): Promise<string | undefined> {
    const text = await new Promise<string>((resolve) => {
      const res = { setHeader: () => undefined, end: resolve, headersSent: false };
      void this.router.metrics({ method: 'GET' } as never, res as never, () => undefined);
    });
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line?.slice(series.length + 1);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#routers.map((router) => router.close()));
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}
