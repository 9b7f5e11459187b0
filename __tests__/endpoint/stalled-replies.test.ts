import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { FakeClock } from '../support/fake-clock.js';
import { start, type Harness } from '../support/harness.js';
import { bodyOf, headersOf } from '../support/per-request.js';
import { StalledReader } from '../support/stalled-reader.js';
import { until } from '../support/waiting.js';

// A client that stops reading stalls its reply (https://nodejs.org/api/stream.html, "Buffering"). The close of a router and the
// grace of a drain are bounded (README, "Shutdown").

const LARGE = 4 * 1024 * 1024;

/** Its one tool returns more than the kernel buffers. */
function largeServer(): Server {
  const server = new Server({ name: 'large', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: [{ name: 't', inputSchema: { type: 'object' } }] }));
  server.setRequestHandler(CallToolRequestSchema, () => ({ content: [{ type: 'text', text: 'x'.repeat(LARGE) }] }));
  return server;
}

const clock = new FakeClock();
let harness: Harness;
afterEach(() => harness.close());

async function stall(): Promise<StalledReader> {
  harness = await start({ serverFactory: largeServer, perRequest: true, clock });
  const request = { params: { name: 't' } };
  const body = JSON.stringify(bodyOf('tools/call', request));
  const reader = await StalledReader.post(harness.http, body, headersOf('tools/call', request));
  await until('the reply is written', () => reader.res.writableEnded);
  expect(reader.res.writableFinished).toBe(false);
  return reader;
}

test('a client of MCP 2026-07-28 that does not read its reply does not hold up the close of the router', async () => {
  const reader = await stall();
  let isClosed = false;
  void harness.router.close().then(() => (isClosed = true));
  await until('the router is closed', () => isClosed);
  reader.destroy();
});

test('a client of MCP 2026-07-28 that does not read its reply holds up a drain until its grace is over', async () => {
  const reader = await stall();
  let isDrained = false;
  void harness.router.drain(5_000).then(() => (isDrained = true));
  await new Promise(setImmediate);
  expect(isDrained).toBe(false);
  clock.advance(5_000);
  await until('the router is closed', () => isDrained);
  reader.destroy();
});
