import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import {
  memoryEventStore,
  mcpRouter,
  type Clock,
  type ContextState,
  type McpRouter,
  type McpRouterOptions,
} from '../../src/index.js';
import { memoryStore } from '../../src/stores/index.js';
import { echoServer, initializeBody, JSON_HEADERS } from '../support/harness.js';

// Stops routers whose HTTP servers are closed already. Nothing else keeps this process alive. Prints a line after each `await`,
// and must exit with code 0 after the last.

const SPEED = 50;

/** Runs faster than real time, to keep the test short. Its timers are unref'ed, as the router's own are. */
const clock: Clock = {
  now: () => performance.now() * SPEED,
  setTimeout: (callback, ms) => setTimeout(callback, ms / SPEED).unref(),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

const never = (): Promise<never> => new Promise(() => undefined);

function send(port: number, headers: http.OutgoingHttpHeaders, body: unknown): http.ClientRequest {
  const options = { port, host: '127.0.0.1', path: '/mcp', method: 'POST', agent: false, headers };
  const request = http.request(options).on('error', () => undefined);
  request.end(JSON.stringify(body));
  return request;
}

/** A router with one open session, whose HTTP server is closed with all its sockets. */
async function stopped(
  options: Partial<McpRouterOptions>,
  body?: object,
): Promise<{ router: McpRouter; sessionId: string | undefined; state: ContextState | undefined }> {
  let state: ContextState | undefined;
  let called: () => void = () => undefined;
  const calling = new Promise<void>((resolve) => (called = resolve));
  const serverFactory: McpRouterOptions['serverFactory'] = (context) => {
    ({ state } = context);
    const server = echoServer();
    server.registerTool('hang', {}, () => (called(), never()));
    server.close = never;
    return server;
  };
  const router = mcpRouter({ serverFactory, logger: false, clock, ...options });
  const server = http.createServer(express().use('/mcp', router)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let sessionId: string | undefined;
  if (options.stateless !== true && options.cluster === undefined) {
    const [response] = (await once(send(port, JSON_HEADERS, initializeBody()), 'response')) as [http.IncomingMessage];
    sessionId = String(response.headers['mcp-session-id']);
    await once(response.resume(), 'end');
  }
  if (body !== undefined) {
    const request = send(port, { ...JSON_HEADERS, ...(sessionId && { 'mcp-session-id': sessionId }) }, body);
    await calling;
    request.destroy();
  }
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  return { router, sessionId, state };
}

const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'hang', arguments: {} } };
const hangingStore = Object.assign(memoryStore(), { update: never, release: never, touch: never });
const cluster = {
  redis: { sendCommand: never },
  secret: 'of this process and of nothing else besides',
  advertise: '127.0.0.1',
};

const CASES: [name: string, run: () => Promise<unknown>][] = [
  ['close', async () => (await stopped({})).router.close()],
  ['drain', async () => (await stopped({})).router.drain(5_000)],
  ['drain, a handler hangs', async () => (await stopped({}, call)).router.drain(5_000)],
  ['close, a handler hangs', async () => (await stopped({}, call)).router.close()],
  ['drain, a stateless handler hangs', async () => (await stopped({ stateless: true }, call)).router.drain(5_000)],
  ['close, the session store hangs', async () => (await stopped({ store: hangingStore }, call)).router.close()],
  ['close, Redis hangs', async () => (await stopped({ cluster })).router.close()],
  ['drain, Redis hangs', async () => (await stopped({ cluster })).router.drain(5_000)],
  [
    'close after a session whose events cannot be purged',
    async () => {
      const eventStore = Object.assign(memoryEventStore(), { purge: never });
      const { router, sessionId } = await stopped({ eventStore });
      void router.sessions.close(sessionId ?? '');
      await router.close();
    },
  ],
  [
    'state.set, the session store hangs',
    async () => {
      const { router, state } = await stopped({ store: hangingStore });
      await state?.set('key', 1).catch(() => undefined);
      await router.close();
    },
  ],
  [
    'sessions.close',
    async () => {
      const { router, sessionId } = await stopped({});
      await router.sessions.close(sessionId ?? '');
    },
  ],
  [
    'sessions.closeByPrincipal',
    async () => {
      const { router } = await stopped({ principal: () => 'alice' });
      await router.sessions.closeByPrincipal('alice');
    },
  ],
];

for (const [name, run] of CASES) {
  await run();
  process.stdout.write(`${name}\n`);
}
process.stdout.write('the end\n');
