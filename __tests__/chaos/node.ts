// A process of an app: two routers on one Redis. Bundled and started by `NodeProcess`, never by jest.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type { ServerNotification, ServerRequest } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { createClient } from 'redis';
import { mcpRouter, type McpRouter, type ServerContext } from '../../src/index.js';
import { systemClock } from '../../src/runtime/clock.js';
import { redisEventStore, redisStore } from '../../src/stores/redis.js';
import type { NodeInit } from './node-process.js';

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

const { port, redisUrl, renewMs } = JSON.parse(process.argv[2]!) as NodeInit;

/** Node's own clock, which knows how many of its timers are to run still. */
const timers = new Set<unknown>();
const clock = {
  now: () => systemClock.now(),
  setTimeout(callback: () => void, ms: number) {
    const timer = systemClock.setTimeout(() => {
      timers.delete(timer);
      callback();
    }, ms);
    timers.add(timer);
    return timer;
  },
  clearTimeout(timer: unknown) {
    timers.delete(timer);
    systemClock.clearTimeout(timer);
  },
};

const redis = createClient({ url: redisUrl, disableOfflineQueue: true, socket: { reconnectStrategy: () => 50 } });
redis.on('error', () => undefined);
await redis.connect();

/** Makes a number the session's own, and tells the one before. */
async function set({ state }: ServerContext, to: unknown): Promise<{ before: unknown }> {
  const before = state.get('number');
  await state.set('number', to);
  return { before };
}

/** What is under way: calls that send events, and events that are being stored. */
let busy = 0;

async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  busy += 1;
  try {
    return await work();
  } finally {
    busy -= 1;
  }
}

/** Sends so many numbered events on the standalone stream, and as many on the request's own. */
async function emit(server: McpServer['server'], { call, count }: Record<string, number>, extra: Extra) {
  for (let n = 0; n < count!; n += 1) {
    const [standalone, own] = ['standalone', 'own'].map((stream) => ({
      method: 'notifications/message' as const,
      params: { level: 'info' as const, data: { stream, call, n } },
    }));
    await server.notification(standalone!);
    await extra.sendNotification(own!);
  }
  return {};
}

function serverFactory(context: ServerContext): McpServer {
  const server = new McpServer({ name: 'node', version: '1.0.0' }, { capabilities: { logging: {}, tools: {} } });
  server.server.fallbackRequestHandler = async ({ method, params }, extra) => {
    if (method === 'set') return set(context, params?.to);
    if (method === 'get') return { number: context.state.get('number') };
    return whileBusy(() => emit(server.server, params as Record<string, number>, extra));
  };
  return server;
}

const eventStore = redisEventStore({ client: redis, maxEvents: 10_000_000, maxAge: 60 * 60_000 });
const storeEvent = eventStore.storeEvent.bind(eventStore);
eventStore.storeEvent = (...event) => whileBusy(() => storeEvent(...event));

const build = (): McpRouter =>
  mcpRouter({
    serverFactory,
    clock,
    store: redisStore({ client: redis }),
    eventStore,
    retryInterval: 20,
    logger: false,
  });

const lasting = build();
/** Gives way to another one all the time, so that whatever it is asked has to be restored first. */
let passing = build();
const renewing =
  renewMs === undefined
    ? undefined
    : setInterval(() => {
        void passing.drain(30_000);
        passing = build();
      }, renewMs);

const app = express();
app.get('/busy', (_req, res) => void res.json(busy));
app.use('/lasting', lasting);
app.use('/passing', (req, res, next) => passing(req, res, next));
const http = app.listen(port, '127.0.0.1');
await once(http, 'listening');

/** Closes everything, and tells which sockets and timers are left. */
async function end(): Promise<void> {
  clearInterval(renewing);
  await Promise.all([lasting.close(), passing.close()]);
  http.close();
  http.closeIdleConnections();
  await once(http, 'close');
  redis.destroy();
  // What closed in this turn is gone in the next.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const left = process.getActiveResourcesInfo().filter((name) => /TCP|Timeout/.test(name));
  process.send!({ left: [...left, ...Array.from(timers, () => 'timer')] });
  process.disconnect();
}

process.on('message', () => void end());
process.send!({ port: (http.address() as AddressInfo).port });
