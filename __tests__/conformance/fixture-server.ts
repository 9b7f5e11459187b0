import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import express from 'express';
import { mcpRouter, memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { createMcpEndpoint, type McpEndpointOptions } from '../../src/node.js';
import { redisEventStore } from '../../src/stores/redis.js';
import { v2 } from '../../src/v2.js';
import { HaProxy } from '../support/haproxy.js';
import { connectRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { buildFixtureServer } from './fixtures.js';
import { buildNativeFixtureServer } from './native-fixtures.js';

// Serves the fixtures until it is killed: `fixture-server [--json] [--http] [--native] [--nodes <number>] [--port <port>]`, through
// Express or, with `--http`, on plain node:http. With `--native` servers of the SDK's version 2 serve MCP 2026-07-28 themselves.
// Prints its URL, which says localhost, as the suite's DNS rebinding scenario wants it. Several nodes are a cluster behind HAProxy,
// plain round-robin.

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    http: { type: 'boolean', default: false },
    native: { type: 'boolean', default: false },
    nodes: { type: 'string', default: '1' },
    port: { type: 'string', default: process.env.PORT ?? '0' },
  },
});

function expressApp(options: McpRouterOptions): RequestListener {
  const router = mcpRouter(options);
  return express().get('/ready', router.ready).use('/mcp', router);
}

function nodeApp(options: McpEndpointOptions): RequestListener {
  const endpoint = createMcpEndpoint(options);
  return (req, res) => (req.url === '/ready' ? endpoint.ready(req, res) : endpoint.handle(req, res));
}

async function serve(options: Partial<McpEndpointOptions>, port = 0): Promise<number> {
  const all = {
    serverFactory: values.native ? buildNativeFixtureServer : buildFixtureServer,
    enableJsonResponse: values.json,
    logger: false as const,
    perRequest: values.native ? { sdk: v2() } : true,
    ...options,
  };
  const server = createServer(values.http ? nodeApp(all) : expressApp(all)).listen(port, '127.0.0.1');
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
