import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import express from 'express';
import { mcpRouter } from '../../src/index.js';
import { echoServer, JSON_HEADERS, messagesOf } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { until } from '../support/waiting.js';

// A program for `node --expose-gc`. Sends a body of as many bytes as its argument says, each in a chunk of its own. Prints the
// bytes in use when all have arrived, and the messages of the answer.

const size = Number(process.argv[2]);
const router = mcpRouter({ serverFactory: echoServer, logger: false, stateless: true, maxBodySize: size });
const server = http.createServer(express().use('/mcp', router)).listen(0, '127.0.0.1');
await once(server, 'listening');
let served: Socket | undefined;
server.once('connection', (socket) => (served = socket));
const client = await RawSocket.open((server.address() as AddressInfo).port);
const head = requestBytes('POST', '/mcp', [...Object.entries(JSON_HEADERS), ['transfer-encoding', 'chunked']]);
const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }).padEnd(size - 1);
const chunks = Buffer.concat([head, Buffer.from(body.replaceAll(/[^]/g, '1\r\n$&\r\n'))]);

function memoryInUse(): number {
  globalThis.gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const before = memoryInUse();
await client.write(chunks);
await until('all of it has come', () => served?.bytesRead === chunks.length);
await setImmediate();
const bytes = memoryInUse() - before;

await client.write('0\r\n\r\n');
const response = await client.response();
console.log(JSON.stringify({ bytes, messages: messagesOf(response.body) }));
client.destroy();
await router.close();
server.close();
