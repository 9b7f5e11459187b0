// A node of a cluster. Bundled and started by `ClusterNode`, never by jest.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import {
  CreateMessageResultSchema,
  ElicitResultSchema,
  ListRootsResultSchema,
  type ServerNotification,
  type ServerRequest,
} from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { createClient } from 'redis';
import { z } from 'zod';
import { createHttpServer, mcpRouter, type ServerContext } from '../../src/index.js';
import { redisEventStore, type SendCommand } from '../../src/stores/redis.js';
import { historyTools } from './history-tools.js';
import { changeLeases } from './leases.js';
import type { NodeInit } from './node-process.js';

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

const init = JSON.parse(process.env.CLUSTER_NODE!) as NodeInit;
const { port, redisUrl, effectsUrl, storesEvents = true, cluster, apart = false, perRequest = false } = init;
const DRAIN_MS = 10_000;

const client = createClient({ url: redisUrl, disableOfflineQueue: true, socket: { reconnectStrategy: () => 50 } });
client.on('error', () => undefined);
await client.connect();
const addHistoryTools = effectsUrl === undefined ? undefined : await historyTools(effectsUrl);

async function progress({ _meta, sendNotification }: Extra, step: number, message = ''): Promise<void> {
  const progressToken = _meta?.progressToken;
  if (progressToken === undefined) return;
  await sendNotification({ method: 'notifications/progress', params: { progressToken, progress: step, message } });
}

/** Every so often for so long. Nothing follows the last at once: clients drop progress that its answer overtakes. */
async function repeat(ms: number, every: number, act: (step: number) => unknown): Promise<void> {
  for (let step = 1; step <= ms / every; step += 1) {
    await act(step);
    await sleep(every);
  }
}

const pace = z.object({ ms: z.number(), every: z.number() });

/** Each answer names its session, epoch and process, so that a test detects crossed and duplicate answers. */
function nodeServer(context: ServerContext): McpServer {
  const { state, sessionId, epoch } = context;
  const server = new McpServer({ name: 'node', version: '1.0.0' }, { capabilities: { logging: {} } });
  addHistoryTools?.(server, context);
  const life = { session: sessionId, pid: process.pid, epoch };
  const answer = (value: object = {}) => ({
    content: [{ type: 'text' as const, text: JSON.stringify({ ...life, ...value }) }],
  });
  server.registerTool('add', {}, async () => {
    const count = Number(state.get('count') ?? 0) + 1;
    await state.set('count', count);
    return answer({ count });
  });
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => answer({ text }));
  server.registerTool('slow', { inputSchema: pace }, async ({ ms, every }, extra) => {
    await repeat(ms, every, (step) => progress(extra, step));
    return answer();
  });
  server.registerTool('ask', { inputSchema: z.object({ question: z.string() }) }, async ({ question }, extra) => {
    const requestedSchema = { type: 'object' as const, properties: { reply: { type: 'string' as const } } };
    const params = { mode: 'form' as const, message: question, requestedSchema };
    const { content } = await extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema);
    return answer({ question, reply: content?.reply });
  });
  server.registerTool('sample', { inputSchema: z.object({ question: z.string() }) }, async ({ question }, extra) => {
    const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: question } }];
    const params = { messages, maxTokens: 100 };
    const { content } = await extra.sendRequest(
      { method: 'sampling/createMessage', params },
      CreateMessageResultSchema,
    );
    return answer({ question, reply: content.type === 'text' ? content.text : content.type });
  });
  server.registerTool('roots', { inputSchema: z.object({ question: z.string() }) }, async ({ question }, extra) => {
    const { roots } = await extra.sendRequest({ method: 'roots/list' }, ListRootsResultSchema);
    return answer({ question, reply: roots[0]?.name });
  });
  server.registerTool('notify', { inputSchema: z.object({ data: z.string() }) }, async ({ data }) => {
    await server.server.sendLoggingMessage({ level: 'info', data });
    return answer();
  });
  // It heeds no signal and takes no refusal, as an app's handler may: what keeps its writes back is the router alone.
  server.registerTool('write', { inputSchema: pace }, async ({ ms, every }, extra) => {
    await repeat(ms, every, (step) => {
      // Of one clock for all processes of the machine.
      const message = JSON.stringify({ ...life, at: Number(process.hrtime.bigint() / 1_000n) / 1_000 });
      void progress(extra, step, message).catch(() => undefined);
    });
    return answer();
  });
  return server;
}

/** Hides the process of another node of this machine. */
const hideProofs: SendCommand = async (...command) =>
  changeLeases(command, await client.sendCommand(command), (lease) => ({ ...lease, proof: undefined }));

const router = mcpRouter({
  serverFactory: nodeServer,
  ...(storesEvents && { eventStore: redisEventStore({ client }) }),
  cluster: {
    redis: apart ? { sendCommand: hideProofs } : { client },
    secret: 'of the nodes of this test, and of nobody else',
    ...cluster,
  },
  // A name is enough without forged requests.
  principal: ({ headers }) => headers['x-principal']?.toString(),
  retryInterval: 100,
  perRequest,
});

/** The number of readiness requests answered with "not ready" since this node began to end; undefined before. */
let refusals: number | undefined;

const app = express();
app.use('/mcp', router);
app.get('/metrics', router.metrics);
app.get('/sessions', async (_req, res) => void res.json(await router.sessions.list({ cluster: true })));
app.get('/ready', (req, res, next) => {
  if (refusals === undefined) return void router.ready(req, res, next);
  refusals += 1;
  return void res.status(503).end();
});
const http = createHttpServer(app);
http.listen(port, '127.0.0.1');
await once(http, 'listening');

async function end(): Promise<void> {
  refusals ??= 0;
  // A balancer must stop sending before a node stops taking (Kubernetes waits in `preStop` for that): it asks the second time
  // when it has acted on the first answer. Nobody may ask, though.
  for (const until = performance.now() + 15_000; refusals < 2 && performance.now() < until;) await sleep(10);
  await router.drain(DRAIN_MS);
  http.close();
  http.closeIdleConnections();
  await once(http, 'close');
  // Nothing is left then that would keep the process alive.
  client.destroy();
}

process.once('SIGTERM', () => void end());
process.send!('listening');
