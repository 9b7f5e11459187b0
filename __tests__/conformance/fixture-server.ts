import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import express from 'express';
import { mcpRouter, memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { redisEventStore } from '../../src/stores/redis.js';
import { HaProxy } from '../support/haproxy.js';
import { connectRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { buildFixtureServer } from './fixtures.js';

// Serves the fixtures on the router until it is killed: `fixture-server [--json] [--nodes <number>] [--port <port>]`. Prints
// its URL, which says localhost, as the suite's DNS rebinding scenario wants it. Several nodes are a cluster behind HAProxy, plain
// round-robin.

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    nodes: { type: 'string', default: '1' },
    port: { type: 'string', default: process.env.PORT ?? '0' },
  },
});

async function serve(options: Partial<McpRouterOptions>, port = 0): Promise<number> {
  const app = express();
  const router = mcpRouter({
    serverFactory: buildFixtureServer,
    enableJsonResponse: values.json,
    logger: false,
    ...options,
  });
  app.get('/ready', router.ready);
  app.use('/mcp', router);
  const server = app.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function serveCluster(nodes: number): Promise<number> {
  const redis = await RedisServer.start();
  const { access } = await connectRedis(redis.url);
  const cluster = { redis: access, secret: 'of these nodes, and of nobody else' };
  const options = { cluster, eventStore: redisEventStore(access) };
  const ports = await Promise.all(Array.from({ length: nodes }, () => serve(options)));
  const balancer = await HaProxy.start(ports);
  await until('the balancer sends to all nodes', async () => (await balancer.up()).length === nodes);
  return balancer.port;
}

const nodes = Number(values.nodes);
const port =
  nodes > 1 ? await serveCluster(nodes) : await serve({ eventStore: memoryEventStore() }, Number(values.port));
console.log(`http://localhost:${port}/mcp`);
