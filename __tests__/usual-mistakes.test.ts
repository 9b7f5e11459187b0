import cluster from 'node:cluster';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { pino } from 'pino';
import { mcpRouter, type McpRouterOptions } from '../src/index.js';
import { createMcpEndpoint } from '../src/node.js';
import { echoServer, initializeBody, post, start, type Harness } from './support/harness.js';
import { LogLines } from './support/log-lines.js';

// Mistakes that a first attempt often has. Each is answered with a text that says what to write instead.

let harness: Harness | undefined;
afterEach(() => harness?.close());

async function warningsOf(options: Partial<McpRouterOptions>): Promise<string[]> {
  const log = new LogLines();
  const mcp = mcpRouter({ serverFactory: echoServer, logger: pino({ level: 'warn' }, log), ...options });
  await mcp.close();
  return log.all.map(({ msg }) => String(msg));
}

describe('a time that was probably meant in seconds is warned of', () => {
  test('by its name and value, beside a hint of the unit', async () => {
    expect(await warningsOf({ ttl: 30, keepAlive: 15 })).toEqual([
      'options of less than a second: ttl (30), keepAlive (15); all times are milliseconds',
    ]);
    expect(await warningsOf({ orphanTtl: 60 })).toEqual([expect.stringContaining('orphanTtl (60)')]);
  });

  test.each([{}, { ttl: 1_000 }, { ttl: 30_000, orphanAfter: 5_000 }, { retryInterval: 0 }])(
    '%j is not',
    async (options) => {
      expect(await warningsOf(options)).toEqual([]);
    },
  );
});

describe('a function that was mounted in place of its result', () => {
  const MESSAGE = /mount what it returns: app\.use\('\/mcp', mcpRouter\(\{ serverFactory \}\)\)/;

  test('throws at the first request: app.use("/mcp", mcpRouter)', async () => {
    harness = await start({}, (app) => {
      app.set('env', 'test');
      app.use('/mcp', mcpRouter as never);
    });
    const response = await post(harness.url, initializeBody());
    expect([response.status, (await response.text()).replaceAll('&#39;', "'")]).toEqual([
      500,
      expect.stringMatching(MESSAGE),
    ]);
  });

  test('does so on node:http: createServer(createMcpEndpoint)', async () => {
    const caught = new Promise<unknown>((resolve) => {
      const server = createServer((req: IncomingMessage, res: ServerResponse) => {
        try {
          createMcpEndpoint(req as never);
        } catch (error) {
          resolve(error);
        }
        res.end();
        server.close();
      }).listen(0, '127.0.0.1');
      void once(server, 'listening').then(() => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
    });
    expect(await caught).toMatchObject({ name: 'TypeError', message: expect.stringMatching(MESSAGE) });
  });
});

test.each([
  ['McpServer', () => echoServer()],
  ['Server', () => echoServer().server],
])('a factory that connected its %s itself gets a log line that says so; the client gets 500', async (_, build) => {
  const log = new LogLines();
  const serverFactory = async () => {
    const server = build();
    await server.connect(InMemoryTransport.createLinkedPair()[0]);
    return server;
  };
  harness = await start({ serverFactory, logger: pino({}, log) });
  const response = await post(harness.url, initializeBody());
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain('connect');
  expect(log.text).toContain(
    'serverFactory returned a server that is connected already. Leave out the call of connect()',
  );
});

describe('several workers without the option `cluster`', () => {
  const ping = (id: string) =>
    post(harness!.url, { jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': id }).then(
      ({ status }) => status,
    );
  const begin = async () => {
    const log = new LogLines();
    harness = await start({ logger: pino({ level: 'warn' }, log) });
    return log;
  };
  afterEach(() => jest.restoreAllMocks());

  test('have one log line at the first 404 for a session ID, which names the option', async () => {
    jest.replaceProperty(cluster, 'isWorker', true);
    const log = await begin();
    expect([await ping(randomUUID()), await ping(randomUUID())]).toEqual([404, 404]);
    expect(log.all.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/^a client sent the ID of a session that this worker does not have.*set option cluster/),
    ]);
  });

  test('one process has none', async () => {
    const log = await begin();
    expect(await ping(randomUUID())).toBe(404);
    expect(log.all).toEqual([]);
  });
});
