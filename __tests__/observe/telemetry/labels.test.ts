import { openTelemetry } from '../../../src/otel.js';
import { echoCall, start, type Harness } from '../../support/harness.js';
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
