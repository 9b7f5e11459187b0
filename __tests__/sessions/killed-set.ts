import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { createClient } from 'redis';
import { z } from 'zod';
import { mcpRouter, type ServerContext } from '../../src/index.js';
import { redisStore } from '../../src/stores/redis.js';

// A router whose process kills itself with SIGKILL at a moment of a `context.state.set`. Its argument is the URL of Redis.

let moment = 'never';
const die = (now: string): void => {
  if (moment === now) process.kill(process.pid, 'SIGKILL');
};

const redis = createClient({ url: process.argv[2]! });
await redis.connect();
const store = redisStore({ client: redis });
const update = store.update.bind(store);
store.update = async (...args) => {
  die('before the write');
  const written = update(...args);
  die('during the write');
  const updated = await written;
  die('after the write');
  return updated;
};

function buildServer({ state }: ServerContext): McpServer {
  const server = new McpServer({ name: 'killed-set', version: '1.0.0' });
  server.registerTool('set', { inputSchema: { value: z.string(), dies: z.string() } }, async ({ value, dies }) => {
    moment = dies;
    const set = state.set('value', value);
    die('after the call');
    await set;
    die('after the answer');
    return { content: [{ type: 'text', text: 'set' }] };
  });
  server.registerTool('get', {}, () => ({ content: [{ type: 'text', text: String(state.get('value')) }] }));
  return server;
}

const router = mcpRouter({ serverFactory: buildServer, logger: false, store });
const server = http.createServer(express().use('/mcp', router)).listen(0, '127.0.0.1');
await once(server, 'listening');
console.log((server.address() as AddressInfo).port);
process.stdin.on('end', () => process.exit()).resume();
