// Follows the README's quick start in an empty folder. It runs the install lines, with the tarball instead of the published package.
// It saves the files under their given names, starts the server, uses it with the README's client and others, and compiles it as
// TypeScript.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const START_TIMEOUT_MS = 120_000;

/** Reads the section's commands, and the names and texts of its files: the server, then the client. */
function readSection() {
  const readme = readFileSync('README.md', 'utf8');
  const [section] = readme.slice(readme.indexOf('## Quick start')).split(/\n## (?!Quick start)/);
  const commands = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, text]) => text.trim().split('\n'));
  const files = [...section.matchAll(/Save this as `([^`]+)`:\n\n```ts\n([\s\S]*?)```/g)];
  const [server, client] = files.map(([, file, code]) => ({ file, code }));
  return { commands, server, client };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

async function connect(app, url) {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    assert.equal(app.exitCode, null, 'the quick start ended by itself');
    const client = new Client({ name: 'newcomer', version: '1.0.0' });
    const transport = new StreamableHTTPClientTransport(new URL(url));
    const connected = await client.connect(transport).then(
      () => true,
      () => false,
    );
    if (connected) return { client, transport };
    await sleep(100);
  }
  throw new Error(`the quick start did not serve ${url} within ${START_TIMEOUT_MS} ms`);
}

async function useIt(app, port) {
  const url = `http://127.0.0.1:${port}/mcp`;
  const { client, transport } = await connect(app, url);
  const { content } = await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } });
  assert.deepEqual(content, [{ type: 'text', text: '3' }]);
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^mcp_sessions_active 1$/m);
  await transport.terminateSession();
  await client.close();
  await useWithoutSession(url);
}

/** A client that knows both eras chooses MCP 2026-07-28, which has no session. */
async function useWithoutSession(url) {
  const client = new ClientV2({ name: 'newcomer', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new TransportV2(new URL(url)));
  const { content } = await client.callTool({ name: 'add', arguments: { a: 2, b: 2 } });
  assert.deepEqual(content, [{ type: 'text', text: '4' }]);
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^mcp_sessions_opened_total 1$/m);
  await client.close();
}

/**
 * @param exec - Runs a command in a folder to its end.
 * @param root - An empty folder outside of this repository.
 */
export async function checkQuickStart(exec, root, tarball) {
  const { commands, server, client } = readSection();
  const { file, code } = server;
  const installs = commands.filter((command) => command.startsWith('npm install '));
  for (const started of [file, client.file])
    assert.ok(commands.includes(`node ${started}`), `the quick start says how ${started} is started`);
  const dir = join(root, 'quick-start');
  mkdirSync(dir);
  writeFileSync(join(dir, file), code);

  const [install, ...more] = installs.map((command) => command.replace(/ express-mcp-router(?= |$)/, ` ${tarball}`));
  exec(dir, 'sh', '-c', install);
  const port = await freePort();
  const app = spawn('node', [file], { cwd: dir, env: { ...process.env, PORT: String(port) }, stdio: 'ignore' });
  try {
    await useIt(app, port);
    writeFileSync(join(dir, client.file), client.code.replace('127.0.0.1:3000', `127.0.0.1:${port}`));
    assert.match(exec(dir, process.execPath, client.file), /type: 'text', text: '3'/);
    console.log(exec(dir, 'npx', '--no-install', 'express-mcp-router', 'doctor', `http://127.0.0.1:${port}/mcp`));
    app.kill('SIGTERM');
    const [code] = await once(app, 'exit');
    assert.equal(code, 0, 'SIGTERM ends the quick start');
  } finally {
    app.kill('SIGKILL');
  }
  console.log(`quick start: installed by its own line, started as ${file}, used by a client`);

  for (const command of more) exec(dir, 'sh', '-c', command);
  writeFileSync(join(dir, 'server.mts'), code);
  const compile = commands.find((command) => command.startsWith('npx tsc '));
  assert.ok(compile, 'the quick start says how server.mts is compiled');
  exec(dir, 'sh', '-c', compile);
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--noEmit', '--types', 'node'];
  exec(dir, 'npx', '--no-install', 'tsc', ...strict, 'server.mts');
  console.log('quick start: compiled as TypeScript, with the types that it names');
}
