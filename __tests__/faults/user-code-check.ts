import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { mcpRouter } from '../../src/index.js';
import { echoCall, echoServer, initializeBody, post } from '../support/harness.js';
import { CASES, type Case, type Flow } from './user-code-cases.js';

/** In ms: long for an answer, and the time that a hanging collector costs. */
const PATIENCE = 1_000;

// Runs every case in this process, one after the other. Writes the result of each to stdout: the statuses that a client got,
// and the errors that were not caught.

const uncaught: string[] = [];
process.on('uncaughtException', (error) => void uncaught.push(`uncaughtException: ${String(error.stack)}`));
process.on('unhandledRejection', (reason) => void uncaught.push(`unhandledRejection: ${String(reason)}`));
process.on('warning', ({ name }) => {
  if (name === 'MaxListenersExceededWarning') uncaught.push(name);
});

async function run({ options, before, prepare, until }: Case): Promise<Flow> {
  const app = express();
  const router = mcpRouter({ serverFactory: echoServer, logger: false, ...options });
  prepare?.(router);
  if (before !== undefined) app.use(before);
  app.use('/mcp', router);
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  try {
    return await flow(url, until);
  } finally {
    await router.close();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    // Node reports an uncaught error at the end of the turn.
    await sleep(5);
  }
}

async function flow(url: URL, until: (() => boolean) | undefined): Promise<Flow> {
  const opened = await post(url, initializeBody());
  await opened.text();
  const id = opened.headers.get('mcp-session-id');
  const session = id === null ? {} : await use(url, { 'mcp-session-id': id }, until);
  const forbidden = await foreign(url);
  const metrics = await fetch(`${url.href}/metrics`, { signal: AbortSignal.timeout(PATIENCE) }).then(
    async (response) => {
      await response.text();
      return response.status;
    },
    () => 0,
  );
  return { initialize: opened.status, ...session, forbidden, metrics };
}

async function use(url: URL, headers: Record<string, string>, until: (() => boolean) | undefined) {
  await post(url, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers);
  const called = await post(url, echoCall(1, 'hello'), headers);
  const text = await called.text();
  const leaving = new AbortController();
  const stream = await fetch(url, { headers: { ...headers, accept: 'text/event-stream' }, signal: leaving.signal });
  leaving.abort();
  // A session that is still being restored would refuse the rest of the flow.
  while (until?.() === false) await sleep(5);
  const deleted = await fetch(url, { method: 'DELETE', headers });
  return { call: text.includes('hello') ? called.status : 0, stream: stream.status, delete: deleted.status };
}

/** The guard refuses this request, and logs it. */
async function foreign(url: URL): Promise<number> {
  const sent = request(url, { method: 'POST', headers: { host: 'evil.example' } }).end();
  const [response] = await once(sent, 'response');
  response.resume();
  return response.statusCode as number;
}

for (const [name, each] of CASES) {
  uncaught.length = 0;
  const came = await run(each).catch((error: unknown) => String(error));
  process.stdout.write(`${JSON.stringify({ name, came, uncaught })}\n`);
}
process.exit(0);
