// The main job, as a stranger runs it: `npm start` on port 3000 (or PORT), used by real clients, then ended by SIGTERM.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 15_000;
const base = `http://localhost:${process.env.PORT ?? 3000}`;

/** Else another app would be tested, and this one's start would fail unseen. */
async function requireFreePort() {
  const other = await fetch(base).catch(() => undefined);
  if (other === undefined) return;
  console.error(`Something serves ${base} already; choose another port: PORT=3001 npm test -- smoke`);
  process.exit(1);
}

async function untilReady(app) {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    assert.equal(app.exitCode, null, 'npm start ended');
    const ready = await fetch(`${base}/readyz`).catch(() => undefined);
    if (ready?.ok) return;
    await sleep(200);
  }
  throw new Error(`${base}/readyz did not answer within ${START_TIMEOUT_MS} ms`);
}

async function connect() {
  const client = new Client({ name: 'smoke', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${base}/mcp`));
  await client.connect(transport);
  const call = async (name, args) => {
    const { content } = await client.callTool({ name, arguments: args });
    return content.map(({ text }) => text).join('\n');
  };
  return { client, transport, call };
}

const metric = async (name) => {
  const metrics = await (await fetch(`${base}/metrics`)).text();
  return Number(new RegExp(`^${name} (.+)$`, 'm').exec(metrics)?.[1]);
};

async function useIt() {
  const [one, two] = await Promise.all([connect(), connect()]);
  assert.equal(await one.call('echo', { text: 'hello' }), 'hello');
  await one.call('add_note', { text: 'only mine' });
  assert.match(await one.call('list_notes', {}), /only mine/);
  assert.doesNotMatch(await two.call('list_notes', {}), /only mine/);
  assert.equal((await fetch(`${base}/healthz`)).status, 200);
  assert.equal(await metric('mcp_sessions_active'), 2);
  await one.transport.terminateSession();
  assert.equal(await metric('mcp_sessions_active'), 1);
  await Promise.all([one.client.close(), two.client.close()]);
}

/** npm hands the signal on; the app drains and says by its exit status that it did. */
async function stop(app) {
  app.kill('SIGTERM');
  const [code] = await once(app, 'exit', { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
  assert.equal(code, 0, 'SIGTERM must end npm start with status 0');
}

/** npm and all that it started; nothing of it may survive a failure. */
function endGroup(app) {
  try {
    process.kill(-app.pid, 'SIGKILL');
  } catch {
    // All of it has ended, as it should.
  }
}

await requireFreePort();
const app = spawn('npm', ['start'], { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
try {
  await untilReady(app);
  await useIt();
  await stop(app);
  console.log('npm start serves real clients, each with its own session, and ends on SIGTERM');
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  endGroup(app);
}
