import { InitializeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { openTelemetry } from '../../../src/otel.js';
import { echoCall, echoServer, initializeBody, post, start, type Harness } from '../../support/harness.js';
import { RawSession } from '../../support/raw-session.js';
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
