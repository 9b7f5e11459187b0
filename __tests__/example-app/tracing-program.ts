import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { createApp } from '../../example-app/src/app.js';
import { loadConfig } from '../../example-app/src/config.js';
import { openStores } from '../../example-app/src/stores.js';
import { startTracing } from '../../example-app/src/tracing.js';
import { echoCall, openSession, post } from '../support/harness.js';

// Makes a call to the app, and stops it as at SIGTERM. Argument: where its collector is.

async function main(): Promise<void> {
  const config = loadConfig({ MCP_OTLP_ENDPOINT: process.argv[2] });
  const tracing = startTracing(config.otlpEndpoint!);
  const logger = pino({ enabled: false });
  const { app, router } = await createApp(config, await openStores(config, logger), logger, () => 0, tracing.telemetry);
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const session = { 'mcp-session-id': await openSession(url) };
  console.log(await (await post(url, echoCall(1, 'traced'), session)).text());
  await router.close();
  await tracing.stop();
  server.closeAllConnections();
  server.close();
}

void main();
