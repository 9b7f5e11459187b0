import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import express from 'express';
import { mcpRouter, memoryEventStore } from '../../src/index.js';
import { buildFixtureServer } from './fixtures.js';

// Serves the fixtures on the router until it is killed: `fixture-server [--json] [--port <port>]`. Prints its URL, which
// says localhost, as the suite's DNS rebinding scenario wants it.

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, port: { type: 'string', default: process.env.PORT ?? '0' } },
});

const app = express();
app.use(
  '/mcp',
  mcpRouter({
    serverFactory: buildFixtureServer,
    eventStore: memoryEventStore(),
    enableJsonResponse: values.json,
    logger: false,
  }),
);

const server = app.listen(Number(values.port), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`http://localhost:${port}/mcp`);
});
