import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { mcpRouter } from '../../src/index.js';
import { echoServer } from '../support/harness.js';

// An app with the router's default logger and a stdout that accepts no byte. It sends its parent the URL.

if (process.argv[2] === 'handled') process.on('uncaughtException', () => undefined);
const router = mcpRouter({ serverFactory: echoServer });
const server = createServer(express().use('/mcp', router)).listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port);
});
process.once('SIGTERM', () => {
  void router.close().then(() => process.exit(0));
});
