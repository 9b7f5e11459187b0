import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { mcpRouter } from '../../src/index.js';
import { JSON_HEADERS } from '../support/harness.js';
import { bodyOf, headersOf, type PerRequest } from '../support/per-request.js';
import { announcingServer } from './announcing-server.js';
import { askingServer } from './asking-server.js';

// Suspends calls and opens subscriptions over HTTP, in a process of its own: `node --expose-gc leak-check [calls]`. Prints what was
// left before and after, when every call had ended. One subscription is opened for each ten calls.

const CALLS = Number(process.argv[2] ?? 20_000);
const WARM_UP = 1_000;
/** Requests at a time. */
const LANES = 16;

let made = 0;
let closed = 0;
const router = mcpRouter({
  serverFactory: ({ req }) => {
    made += 1;
    const server = req.headers['x-kind'] === 'listen' ? announcingServer().server : askingServer();
    const close = server.close.bind(server);
    server.close = () => {
      closed += 1;
      return close();
    };
    return server;
  },
  logger: false,
  perRequest: { suspendTtl: 1_000, maxSuspended: 10_000, maxSuspendedPerPrincipal: 10_000 },
  principal: (req) => req.headers['x-user']?.toString(),
});
const app = express().use('/mcp', router);
const server = http.createServer(app).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;
let agent = new http.Agent({ keepAlive: true, maxSockets: LANES });

function begin(method: string, request: PerRequest): http.ClientRequest {
  const headers = { ...JSON_HEADERS, ...headersOf(method, request) };
  const sent = http.request({ host: '127.0.0.1', port, path: '/mcp', agent, method: 'POST', headers });
  sent.on('error', () => undefined).end(JSON.stringify(bodyOf(method, request)));
  return sent;
}

/** The last message of a reply. */
async function answerTo(request: http.ClientRequest): Promise<{ result?: Readonly<Record<string, unknown>> }> {
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  const data = text.split('\n').filter((line) => line.startsWith('data: '));
  return JSON.parse(data.at(-1)?.slice(6) ?? text) as { result?: Readonly<Record<string, unknown>> };
}

let finished = 0;

/** What a client does after it was asked: answers, closes the reply of its retry, or nothing. */
async function suspend(n: number): Promise<void> {
  const headers = { 'x-user': `user-${n % 50}` };
  const request = { id: n, capabilities: { elicitation: {} }, headers, params: { name: 'once', arguments: {} } };
  const { result } = await answerTo(begin('tools/call', request));
  if (result?.resultType !== 'input_required') throw new Error(`not asked: ${JSON.stringify(result)}`);
  // No answer comes from these.
  if (n % 20 === 3) return;
  const inputResponses = Object.fromEntries(
    Object.keys(result.inputRequests as object).map((key) => [key, { action: 'accept', content: { value: 'x' } }]),
  );
  const { requestState } = result;
  const retry = begin('tools/call', { ...request, params: { ...request.params, requestState, inputResponses } });
  if (n % 20 === 7) {
    retry.destroy();
    return;
  }
  const answer = await answerTo(retry);
  if (answer.result?.resultType === 'complete') finished += 1;
}

async function listen(n: number): Promise<void> {
  const headers = { 'x-user': `user-${n % 50}`, 'x-kind': 'listen' };
  const request = {
    id: n,
    headers,
    params: { notifications: { toolsListChanged: true, resourceSubscriptions: ['test://x'] } },
  };
  const sent = begin('subscriptions/listen', request);
  const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
  await once(response, 'data');
  response.on('error', () => undefined);
  sent.destroy();
}

async function runAll(count: number): Promise<void> {
  let n = 0;
  const lane = async (): Promise<void> => {
    while (n < count) {
      const each = n++;
      await suspend(each);
      if (each % 10 === 0) await listen(each);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10);
}

const connections = (): Promise<number> =>
  new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));

/** The heap in bytes after GC, and what keeps the event loop busy, when every server and socket is gone. */
async function measure(): Promise<{ heap: number; resources: string[] }> {
  agent.destroy();
  agent = new http.Agent({ keepAlive: true, maxSockets: LANES });
  await until(() => closed === made);
  await until(async () => (await connections()) === 0);
  for (let i = 0; i < 5; i += 1) {
    await sleep(10);
    globalThis.gc!();
  }
  return { heap: process.memoryUsage().heapUsed, resources: process.getActiveResourcesInfo().sort() };
}

await runAll(WARM_UP);
const before = await measure();
finished = 0;
const startedAt = performance.now();
await runAll(CALLS);
const seconds = (performance.now() - startedAt) / 1000;
const after = await measure();
console.log(JSON.stringify({ finished, seconds, before, after }));
await router.close();
server.close();
