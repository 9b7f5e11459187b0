// Counts the function calls that each kind of request takes through `src`, and the moves between files. A move is a call of a
// function in another file than the call before. Fewer moves make a request easier to follow.
//
// `node scripts/trace-requests.mjs` builds what it needs, and needs `redis-server` on the PATH (or in REDIS_SERVER). The whole
// route of each request, file by file, is in `.cache/trace/routes.txt`.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { createClient } from 'redis';
import ts from 'typescript';
import { z } from 'zod';

const BUILD = '.cache/trace/build';
const ROUTES = '.cache/trace/routes.txt';
/** How long a trace continues after the answer, in ms: replies close, and records are written. */
const SETTLE_MS = 50;

// Building with instrumentation.

function isFunction(node) {
  return ts.isFunctionLike(node) && node.body !== undefined;
}

function nameOf(node) {
  if (node.name !== undefined) return node.name.getText();
  if (ts.isConstructorDeclaration(node)) return 'constructor';
  const { parent } = node;
  const names = ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent);
  return names ? parent.name.getText() : '(anonymous)';
}

/** Inserts a report of the call at the start of each function of a module. */
function instrument(path, file) {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true);
  const inserts = [];
  const visit = (node) => {
    if (isFunction(node)) {
      const report = `globalThis.traceCall?.(${JSON.stringify(file)}, ${JSON.stringify(nameOf(node))})`;
      const { body } = node;
      if (ts.isBlock(body)) inserts.push([body.getStart() + 1, `${report};`]);
      else inserts.push([body.getStart(), `(${report}, (`], [body.getEnd(), '))']);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  // Inserts from the end, so that earlier positions stay valid.
  inserts.sort(([a], [b]) => b - a);
  const text = inserts.reduce((sofar, [at, insert]) => sofar.slice(0, at) + insert + sofar.slice(at), source.text);
  writeFileSync(path, text);
}

function buildInstrumented() {
  rmSync(BUILD, { recursive: true, force: true });
  const tsc = ['--no-install', 'tsc', '-p', 'tsconfig.build.json', '--outDir', BUILD, '--declaration', 'false'];
  assert.equal(spawnSync('npx', tsc, { stdio: 'inherit' }).status, 0, 'the package does not compile');
  for (const name of readdirSync(BUILD, { recursive: true })) {
    const path = join(BUILD, name);
    if (name.endsWith('.js')) instrument(path, relative(BUILD, path).replace(/\.js$/, '.ts'));
  }
}

buildInstrumented();
const load = (file) => import(pathToFileURL(join(BUILD, file)).href);
const { mcpRouter, memoryEventStore } = await load('index.js');
const { redisEventStore, redisStore } = await load('stores/redis.js');

// The trace.

let calls;
globalThis.traceCall = (file, name) => calls?.push({ file, name });
const routes = [];

/** Prints the counts of one request, and keeps its route. */
async function trace(title, work) {
  await sleep(SETTLE_MS);
  calls = [];
  const result = await work();
  await sleep(SETTLE_MS);
  const made = calls;
  calls = undefined;
  const stops = [];
  for (const { file, name } of made) {
    if (stops.at(-1)?.file === file) stops.at(-1).names.push(name);
    else stops.push({ file, names: [name] });
  }
  const files = new Set(made.map(({ file }) => file)).size;
  const line = `${title}: ${made.length} calls, ${files} files, ${stops.length - 1} moves between files`;
  console.log(line);
  routes.push(`## ${line}`, ...stops.map(({ file, names }) => `   ${file}: ${names.join(', ')}`));
  return result;
}

// The requests.

const HEADERS = {
  'Content-Type': 'application/json',
  Accept: 'application/json, text/event-stream',
  'MCP-Protocol-Version': '2025-06-18',
};
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'trace', version: '1' } },
};
const notification = (method) => ({ jsonrpc: '2.0', method });
const request = (id, method, params) => ({ jsonrpc: '2.0', id, method, params });
const toolCall = (id) => request(id, 'tools/call', { name: 'echo', arguments: { text: 'x' } });

function serverFactory() {
  const server = new McpServer({ name: 'trace', version: '1' }, { capabilities: { logging: {} } });
  const echo = ({ text }) => ({ content: [{ type: 'text', text }] });
  server.registerTool('echo', { inputSchema: { text: z.string() } }, echo);
  return server;
}

async function startRouter(options = {}) {
  const router = mcpRouter({ serverFactory, logger: false, ...options });
  const server = http.createServer(express().use('/mcp', router)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/mcp`;
  const close = async () => {
    await router.close();
    server.closeAllConnections();
    server.close();
  };
  return { url, close };
}

const withSession = (sessionId) => (sessionId === undefined ? HEADERS : { ...HEADERS, 'Mcp-Session-Id': sessionId });

async function post({ url }, message, sessionId) {
  const init = { method: 'POST', headers: withSession(sessionId), body: JSON.stringify(message) };
  const response = await fetch(url, init);
  await response.text();
  return response;
}

async function terminate({ url }, sessionId) {
  await (await fetch(url, { method: 'DELETE', headers: withSession(sessionId) })).text();
}

async function openStream({ url }, sessionId) {
  const client = new AbortController();
  await fetch(url, { headers: { ...withSession(sessionId), Accept: 'text/event-stream' }, signal: client.signal });
  await sleep(SETTLE_MS);
  client.abort();
}

async function initialize(router) {
  const { headers } = await post(router, INITIALIZE);
  return headers.get('mcp-session-id');
}

/** Opens a session, and makes the calls that would otherwise add one-time work to the next request's trace. */
async function openSession(router) {
  const sessionId = await initialize(router);
  await post(router, notification('notifications/initialized'), sessionId);
  assert.equal((await post(router, toolCall(2), sessionId)).status, 200);
  return sessionId;
}

async function traceMemory() {
  const router = await startRouter();
  await trace('initialize', () => initialize(router));
  const sessionId = await openSession(router);
  await trace('POST tools/call', () => post(router, toolCall(3), sessionId));
  await trace('POST notification', () => post(router, notification('notifications/roots/list_changed'), sessionId));
  await trace('GET, then the client disconnects', () => openStream(router, sessionId));
  await trace('DELETE', () => terminate(router, sessionId));
  await trace('POST, unknown session', () => post(router, toolCall(4), sessionId));
  await router.close();

  const resumable = await startRouter({ eventStore: memoryEventStore() });
  const resumed = await openSession(resumable);
  await trace('POST tools/call, event store', () => post(resumable, toolCall(3), resumed));
  await resumable.close();

  const stateless = await startRouter({ stateless: true });
  await post(stateless, toolCall(1));
  await trace('POST tools/call, stateless', () => post(stateless, toolCall(2)));
  await stateless.close();
}

async function traceStore(client) {
  const first = await startRouter({ store: redisStore({ client }) });
  await trace('initialize, store in Redis', () => initialize(first));
  const sessionId = await openSession(first);
  await trace('POST tools/call, store in Redis', () => post(first, toolCall(3), sessionId));
  const setLevel = request(4, 'logging/setLevel', { level: 'info' });
  await trace('POST logging/setLevel, store in Redis', () => post(first, setLevel, sessionId));
  const second = await startRouter({ store: redisStore({ client }) });
  await trace('POST tools/call, session restored from Redis', () => post(second, toolCall(5), sessionId));
  await trace('DELETE, store in Redis', () => terminate(second, sessionId));
  await first.close();
  await second.close();
}

async function traceCluster(client) {
  const prefix = 'trace:';
  const start = () => {
    const cluster = { redis: { client, prefix }, secret: 'a secret that only this trace script uses' };
    return startRouter({ cluster, eventStore: redisEventStore({ client, prefix }) });
  };
  const [owner, other] = [await start(), await start()];
  const sessionId = await openSession(owner);
  await post(other, toolCall(3), sessionId);
  await trace('POST tools/call, at the owner in a cluster', () => post(owner, toolCall(4), sessionId));
  await trace('POST tools/call, one hop in a cluster (both nodes)', () => post(other, toolCall(5), sessionId));
  await owner.close();
  await other.close();
}

async function startRedis() {
  const folder = mkdtempSync(join(tmpdir(), 'trace-'));
  const path = join(folder, 'redis.sock');
  const args = ['--port', '0', '--unixsocket', path, '--dir', folder, '--save', '', '--appendonly', 'no'];
  const server = spawn(process.env.REDIS_SERVER ?? 'redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  server.once('error', (error) => {
    console.error(`redis-server cannot be started: ${error.message}`);
    process.exit(1);
  });
  for await (const text of server.stdout) if (/ready to accept connections/i.test(String(text))) break;
  const client = await createClient({ socket: { path } }).connect();
  const stop = async () => {
    client.destroy();
    server.kill();
    await once(server, 'exit');
    rmSync(folder, { recursive: true });
  };
  return { client, stop };
}

await traceMemory();
const redis = await startRedis();
await traceStore(redis.client);
await traceCluster(redis.client);
await redis.stop();
writeFileSync(ROUTES, `${routes.join('\n')}\n`);
console.log(`The routes are in ${ROUTES}`);
