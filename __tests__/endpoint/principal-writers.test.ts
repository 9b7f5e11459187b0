import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import fc from 'fast-check';
import { z } from 'zod';
import type { ServerContext } from '../../src/index.js';
import { redisStore } from '../../src/stores/redis.js';
import { start, type Harness } from '../support/harness.js';
import { call } from '../support/per-request.js';
import { REDIS_CLIENTS, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { textOf } from './asked.js';

// docs/two-eras.md, "State": of two writers at once, one tries again. Here many do, on nodes that share only a Redis.

const [[, connect]] = REDIS_CLIENTS as [(typeof REDIS_CLIENTS)[number]];
const NODES = 3;

function listServer({ state }: ServerContext): McpServer {
  const server = new McpServer({ name: 'list', version: '1.0.0' });
  const list = () => (state.get('list') ?? []) as number[];
  server.registerTool('append', { inputSchema: { value: z.number() } }, async ({ value }) => {
    for (;;) {
      try {
        await state.set('list', [...list(), value]);
        return { content: [{ type: 'text', text: 'saved' }] };
      } catch (error) {
        if (!/changed by another/.test((error as Error).message)) throw error;
      }
    }
  });
  server.registerTool('list', {}, () => ({ content: [{ type: 'text', text: JSON.stringify(list()) }] }));
  return server;
}

describe.each(['request', 'principal'] as const)("with `servers: '%s'`", (servers) => {
  let redis: RedisServer;
  const connections: ConnectedRedis[] = [];
  const nodes: Harness[] = [];

  beforeAll(async () => {
    redis = await RedisServer.start();
    for (let n = 0; n < NODES; n += 1) {
      const connection = await connect(redis.url);
      connections.push(connection);
      nodes.push(
        await start({
          sessions: false,
          perRequest: { servers },
          principal: (req) => req.headers['x-user'] as string | undefined,
          serverFactory: listServer,
          store: redisStore(connection.access),
        }),
      );
    }
  }, 300_000);
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.close()));
    for (const connection of connections) connection.close();
    await redis.stop();
  });

  let runs = 0;
  test('many requests that append to one value at once all succeed, and no value is lost', async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: NODES }),
      fc.integer({ min: 1, max: 20 }),
      async (among, writers) => {
        const headers = { 'x-user': `user-${(runs += 1)}` };
        const values = Array.from({ length: writers }, (_, n) => n);
        const replies = await Promise.all(
          values.map((value) => call(nodes[value % among]!.url, 'append', { value }, { headers })),
        );
        expect(replies.map(textOf)).toEqual(values.map(() => 'saved'));
        const list = JSON.parse(textOf(await call(nodes[0]!.url, 'list', {}, { headers }))!) as number[];
        expect(list.sort((one, other) => one - other)).toEqual(values);
      },
    );
    await fc.assert(property, { numRuns: 3, examples: [[2, 20]] });
  });
});
