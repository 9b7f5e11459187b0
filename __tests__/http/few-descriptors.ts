import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { createHttpServer, mcpRouter } from '../../src/index.js';
import { echoServer } from '../support/harness.js';

// A router in a process that may have few descriptors. `/descriptors` tells whether one more can be had.

function descriptors(): string {
  try {
    closeSync(openSync('/dev/null', 'r'));
    return 'free';
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

const router = mcpRouter({ serverFactory: echoServer, logger: false });
const app = express();
app.use('/mcp', router);
app.get('/descriptors', (_req, res) => res.json(descriptors()));
const server = createHttpServer(app).listen(0, '127.0.0.1');
await once(server, 'listening');
server.keepAliveTimeout = 120_000;
console.log((server.address() as AddressInfo).port);
process.stdin.on('end', () => process.exit()).resume();
