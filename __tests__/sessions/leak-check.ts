import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { mcpRouter } from '../../src/index.js';
import { echoCall, echoServer, initializeBody, JSON_HEADERS } from '../support/harness.js';

// Opens sessions over HTTP and abandons them, in a process of its own: `node --expose-gc leak-check [sessions]`. Prints what
// was left before and after, when every session had expired.

const SESSIONS = Number(process.argv[2] ?? 20_000);
const WARM_UP = 2_000;
/** Requests at a time. */
const LANES = 16;

const router = mcpRouter({ serverFactory: echoServer, logger: false, ttl: 1_000, orphanAfter: 500, orphanTtl: 700 });
const app = express().use('/mcp', router);
const server = http.createServer(app).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;
let agent = new http.Agent({ keepAlive: true, maxSockets: LANES });

function begin(method: string, headers: http.OutgoingHttpHeaders, body?: unknown): http.ClientRequest {
  const request = http.request({ host: '127.0.0.1', port, path: '/mcp', agent, method, headers });
  request.end(body === undefined ? undefined : JSON.stringify(body));
  return request;
}

async function responseTo(request: http.ClientRequest): Promise<http.IncomingMessage> {
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return response;
}

async function finish(response: http.IncomingMessage): Promise<void> {
  await once(response.resume(), 'end');
}

/** What a client does before it is never heard of again: nothing, a call, or a stream that it drops. */
async function openAndAbandon(n: number): Promise<void> {
  const response = await responseTo(begin('POST', JSON_HEADERS, initializeBody()));
  const headers = { ...JSON_HEADERS, 'mcp-session-id': response.headers['mcp-session-id'] as string };
  await finish(response);
  if (response.statusCode !== 200) throw new Error(`initialize was answered with ${response.statusCode}`);
  // On a machine that is busy the session may have expired by now, which is as good.
  if (n % 10 === 1) await finish(await responseTo(begin('POST', headers, echoCall(1, 'hello'))));
  if (n % 10 === 2) {
    const stream = begin('GET', { ...headers, accept: 'text/event-stream' });
    (await responseTo(stream)).on('error', () => undefined);
    stream.destroy();
  }
}

async function openAll(count: number): Promise<void> {
  let n = 0;
  const lane = async (): Promise<void> => {
    while (n < count) await openAndAbandon(n++);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10);
}

const connections = (): Promise<number> =>
  new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));

/** The heap in bytes after GC, and what keeps the event loop busy, when every session and socket is gone. */
async function measure(): Promise<{ heap: number; resources: string[] }> {
  agent.destroy();
  agent = new http.Agent({ keepAlive: true, maxSockets: LANES });
  await until(() => router.sessions.list().length === 0);
  await until(async () => (await connections()) === 0);
  for (let i = 0; i < 5; i += 1) {
    await sleep(10);
    globalThis.gc!();
  }
  return { heap: process.memoryUsage().heapUsed, resources: process.getActiveResourcesInfo().sort() };
}

let opened = 0;
const reasons = new Map<string, number>();
router.sessions.on('opened', () => (opened += 1));
router.sessions.on('closed', (_session, reason) => reasons.set(reason, (reasons.get(reason) ?? 0) + 1));

await openAll(WARM_UP);
const before = await measure();
opened = 0;
reasons.clear();
const startedAt = performance.now();
await openAll(SESSIONS);
const seconds = (performance.now() - startedAt) / 1000;
const after = await measure();
console.log(JSON.stringify({ opened, closed: Object.fromEntries(reasons), seconds, before, after }));
await router.close();
server.close();
