// One node of the cluster, in its own process, which ends with the contender's.
import express from 'express';
import { createHttpServer, mcpRouter } from 'express-mcp-router';
import { createClient } from 'redis';
import { answerParent, endWithParent } from '../run/answering.mjs';
import { cpuMs } from '../run/cpu.mjs';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { sinceEpoch } from '../run/since-epoch.mjs';
import { listen } from './listening.mjs';
import { notifyAll } from './notify-all.mjs';

endWithParent();
const { redisUrl, settings } = JSON.parse(process.argv[2]);

// Figures without Redis are useless, so an error of Redis ends the node.
const client = createClient({ url: redisUrl, socket: { reconnectStrategy: false } });
await client.connect();

const mcp = mcpRouter({
  serverFactory: sdkFactory(settings),
  cluster: { redis: { client }, secret: 'a secret of the nodes of this benchmark' },
  maxSessions: 100_000,
  metrics: false,
  logger: false,
});
const app = express().use('/mcp', mcp).get('/ready', mcp.ready);
const url = await listen(createHttpServer(app));

answerParent({
  url: () => url,
  cpu: cpuMs,
  notifyTimed: async ({ from, count }) => {
    for (let number = from; number < from + count; number++) await notifyAll(mcp, { number, at: sinceEpoch() });
  },
  redisCommands: async () => Number(/^total_commands_processed:(\d+)/m.exec(await client.info('stats'))[1]),
});
