import { InitializeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';
import { openTelemetry } from '../../../src/otel.js';
import { echoCall, echoServer, initializeBody, post, start, type Harness } from '../../support/harness.js';
import { EventStream } from '../../support/event-stream.js';
import { RawSession } from '../../support/raw-session.js';
import { startScripted, type Extra } from '../../support/scripted.js';
import { Recorder } from './recorder.js';

let recorder: Recorder;
let harness: Harness;
beforeEach(() => (recorder = new Recorder()));
afterEach(async () => {
  await harness.close();
  await recorder.stop();
});

/** The values that a label of a metric has, each once. */
async function valuesOf(label: string, metric = 'mcp.server.operation.duration'): Promise<unknown[]> {
  const { dataPoints } = await recorder.histogram(metric);
  return [...new Set(dataPoints.map(({ attributes }) => attributes[label]))].filter((value) => value !== undefined);
}

test('notifications that a client names as calls of tools take no place of a tool', async () => {
  harness = await start({ telemetry: openTelemetry() });
  const session = await RawSession.open(harness.url);
  for (let n = 0; n < 200; n += 1) {
    await session.post({ jsonrpc: '2.0', method: 'tools/call', params: { name: `invented ${n}` } });
  }
  await (await session.post(echoCall(1, 'x'))).text();
  expect(await valuesOf('gen_ai.tool.name')).toEqual(['echo']);
});

describe('a stateless initialize', () => {
  /** Initializes with versions that no specification has. */
  const initialize = async (): Promise<void> => {
    for (let n = 0; n < 50; n += 1)
      await (await post(harness.url, initializeBody(n, `2099-${n}-${'x'.repeat(n)}`))).text();
  };

  test('has the version that was agreed on, not the one that its client asked for', async () => {
    harness = await start({ stateless: true, telemetry: openTelemetry() });
    await initialize();
    expect(new Set(recorder.spans.map(({ attributes }) => attributes['mcp.protocol.version']))).toEqual(
      new Set(['2025-11-25']),
    );
    expect(await valuesOf('mcp.protocol.version')).toEqual(['2025-11-25']);
  });

  test('has the label _OTHER where its server agrees on any version', async () => {
    const serverFactory = (): McpServer => {
      const made = echoServer();
      made.server.setRequestHandler(InitializeRequestSchema, ({ params: { protocolVersion } }) => ({
        protocolVersion,
        capabilities: {},
        serverInfo: { name: 'any', version: '1.0.0' },
      }));
      return made;
    };
    harness = await start({ serverFactory, stateless: true, telemetry: openTelemetry() });
    await initialize();
    expect(await valuesOf('mcp.protocol.version')).toEqual(['_OTHER']);
  });
});

test('a code that a client invents is on the span, and _OTHER in the metrics', async () => {
  const anything = z.object({}).loose();
  const ask = { 'x/ask': (_params: object, extra: Extra) => extra.sendRequest({ method: 'roots/list' }, anything) };
  harness = await startScripted(ask, { telemetry: openTelemetry() });
  const session = await RawSession.open(harness.url, { capabilities: { roots: {} } });
  const codes = [-1, -32601, ...Array.from({ length: 20 }, (_, n) => 7_000 + n)];
  for (const [n, code] of codes.entries()) {
    const stream = new EventStream(await session.request(n, 'x/ask'));
    const { id } = await stream.message();
    await session.post({ jsonrpc: '2.0', id, error: { code, message: 'no' } });
    await stream.message();
  }
  const asked = recorder.spans.filter(({ name }) => name === 'roots/list');
  expect(asked.map(({ attributes }) => attributes['error.type'])).toEqual(codes.map(String));
  for (const label of ['error.type', 'rpc.response.status_code']) {
    expect(await valuesOf(label, 'mcp.client.operation.duration')).toEqual(['-1', '-32601', '_OTHER']);
  }
  // The server passed the errors of its client on.
  expect(await valuesOf('rpc.response.status_code')).toEqual(['-1', '-32601', '_OTHER']);
});
