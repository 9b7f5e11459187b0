import { echoCall, openSession, post, start } from '../../support/harness.js';

// A session and a call. With the argument `on`, they are traced.

async function main(): Promise<void> {
  const telemetry = process.argv[2] === 'on' ? (await import('../../../src/otel.js')).openTelemetry() : undefined;
  const harness = await start({ telemetry });
  const session = { 'mcp-session-id': await openSession(harness.url) };
  console.log(await (await post(harness.url, echoCall(1, 'served'), session)).text());
  await harness.close();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
