// An app whose process forks workers with `node:cluster`, each a node. Bundled and started by `workers.test.ts`, never by jest.
import nodeCluster from 'node:cluster';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { createClient } from 'redis';
import { createHttpServer, mcpRouter } from '../../src/index.js';

const WORKERS = 3;

function workerServer(): McpServer {
  const server = new McpServer({ name: 'worker', version: '1.0.0' });
  server.registerTool('pid', {}, () => ({
    content: [{ type: 'text', text: JSON.stringify({ pid: process.pid }) }],
  }));
  return server;
}

async function work(): Promise<void> {
  const client = await createClient({ url: process.env.REDIS_URL! })
    .on('error', () => undefined)
    .connect();
  const router = mcpRouter({
    serverFactory: workerServer,
    // As in the docs, without host and port.
    cluster: { redis: { client }, secret: 'of the workers of this test, and of nobody else' },
    logger: false,
  });
  const app = express();
  app.use('/mcp', router);
  app.get('/ready', (req, res, next) => {
    res.setHeader('x-pid', process.pid);
    router.ready(req, res, next);
  });
  // The workers share this port.
  const http = createHttpServer(app).listen(0, '127.0.0.1');
  await once(http, 'listening');
  process.send!((http.address() as AddressInfo).port);
}

if (nodeCluster.isPrimary) {
  const ports = Array.from({ length: WORKERS }, async () => {
    const worker = nodeCluster.fork();
    const [port] = (await once(worker, 'message')) as [number];
    return { port, pid: worker.process.pid };
  });
  process.send!(await Promise.all(ports));
} else {
  await work();
}
