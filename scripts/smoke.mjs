// Runs `npm start` as a new user does: first three times at once as a cluster, in a checkout that is not built.
// Then once on port 3000 (or PORT), used by real clients and ended by SIGTERM.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { build } from 'esbuild';

const CACHE = '.cache/smoke';
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 60_000;
const base = `http://localhost:${process.env.PORT ?? 3000}`;

/** If another app had the port, the checks would run against that app. */
async function requireFreePort() {
  const other = await fetch(base).catch(() => undefined);
  if (other === undefined) return;
  console.error(`Something serves ${base} already; choose another port: PORT=3001 npm test -- smoke`);
  process.exit(1);
}

/** Starts the app in a process group of its own, so that `endGroup` also ends the children of npm. */
function start(args = [], env = {}) {
  const options = { env: { ...process.env, ...env }, stdio: ['ignore', 'inherit', 'inherit'], detached: true };
  return spawn('npm', ['start', ...args], options);
}

async function untilReady(app, base) {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    assert.equal(app.exitCode, null, 'npm start ended');
    const ready = await fetch(`${base}/readyz`).catch(() => undefined);
    if (ready?.ok) return;
    await sleep(200);
  }
  throw new Error(`${base}/readyz did not answer within ${START_TIMEOUT_MS} ms`);
}

/** @param sessionId - The ID of an open session. Default: opens a new session. */
async function connect(base, sessionId) {
  const client = new Client({ name: 'smoke', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${base}/mcp`), { sessionId });
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
  const [one, two] = await Promise.all([connect(base), connect(base)]);
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

/** npm passes the signal on. The app drains, and exits with status 0. */
async function stop(app) {
  app.kill('SIGTERM');
  const [code] = await once(app, 'exit', { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
  assert.equal(code, 0, 'SIGTERM must end npm start with status 0');
}

/** Kills npm and its children, so that no process survives a failed check. */
function endGroup(app) {
  try {
    process.kill(-app.pid, 'SIGKILL');
  } catch {
    // The group has no process left: all have exited.
  }
}

/** Bundles the helpers of the tests that this script uses, as one module. */
async function support() {
  const contents = ['redis-server', 'free-port'].map((name) => `export * from './${name}.js';`).join('\n');
  const stdin = { contents, resolveDir: '__tests__/support' };
  const outfile = resolve(CACHE, 'support.mjs');
  await build({ stdin, outfile, bundle: true, platform: 'node', format: 'esm' });
  return import(outfile);
}

/** Starts two nodes before the build, and a third during or after it. Each then answers for a session of the first. */
async function startThree() {
  const { RedisServer, freePort } = await support();
  for (const output of ['dist', 'example-app/dist']) rmSync(output, { recursive: true, force: true });
  const redis = await RedisServer.start();
  const env = {
    MCP_CLUSTER: 'true',
    MCP_CLUSTER_SECRET: 'a secret of these three nodes only',
    MCP_REDIS_URL: redis.url,
  };
  const nodes = [];
  const startNode = async () => {
    const port = await freePort();
    nodes.push({ base: `http://localhost:${port}`, app: start(['--', '--port', String(port)], env) });
  };
  try {
    await Promise.all([startNode(), startNode()]);
    while (!existsSync('dist') && nodes.every(({ app }) => app.exitCode === null)) await sleep(10);
    await startNode();
    await Promise.all(nodes.map(({ app, base }) => untilReady(app, base)));
    const opened = await connect(nodes[0].base);
    await opened.call('add_note', { text: 'of the first' });
    for (const { base } of nodes.slice(1)) {
      const { client, call } = await connect(base, opened.transport.sessionId);
      assert.match(await call('list_notes', {}), /of the first/);
      await client.close();
    }
    await opened.client.close();
    await Promise.all(nodes.map(({ app }) => stop(app)));
  } finally {
    for (const { app } of nodes) endGroup(app);
    await redis.stop();
  }
}

async function startOne() {
  const app = start();
  try {
    await untilReady(app, base);
    await useIt();
    await stop(app);
  } finally {
    endGroup(app);
  }
}

await requireFreePort();
try {
  await startThree();
  console.log('npm start three times, while nothing is built, is three nodes; each answers for every session');
  await startOne();
  console.log('npm start serves real clients, each with its own session, and ends on SIGTERM');
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
