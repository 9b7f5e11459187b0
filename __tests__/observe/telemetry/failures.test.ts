import { context, type Context, type Span, type TextMapPropagator, type Tracer } from '@opentelemetry/api';
import { pino } from 'pino';
import { z } from 'zod';
import { openTelemetry, type OpenTelemetryOptions } from '../../../src/otel.js';
import { EventStream } from '../../support/event-stream.js';
import { echoCall, start, type Harness } from '../../support/harness.js';
import { LogLines } from '../../support/log-lines.js';
import { RawSession } from '../../support/raw-session.js';
import { scriptedServer } from '../../support/scripted.js';
import { Recorder } from './recorder.js';

let recorder: Recorder;
let harness: Harness;
let log: LogLines;
beforeEach(() => (recorder = new Recorder()));
afterEach(async () => {
  await harness.close();
  await recorder.stop();
});

const throws = (): never => {
  throw new Error('not today');
};
/** A span whose methods throw, but for those that are named. */
const span = (methods: Partial<Span> = {}): Span =>
  new Proxy({} as Span, {
    get: (_target, name): unknown => (Object.hasOwn(methods, name) ? Reflect.get(methods, name) : throws),
  });
const tracer = (startSpan: Tracer['startSpan']): OpenTelemetryOptions => ({
  tracerProvider: { getTracer: () => ({ startSpan, startActiveSpan: throws }) },
});
const spanContext = () => ({ traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 });
const propagator = (broken: Partial<TextMapPropagator>): OpenTelemetryOptions => ({
  propagator: { inject: () => undefined, extract: (into) => into, fields: () => [], ...broken },
});

const BROKEN: Readonly<Record<string, OpenTelemetryOptions>> = {
  'a provider of tracers': { tracerProvider: { getTracer: throws } },
  'a tracer': tracer(throws),
  'a span': tracer(() => span()),
  'the end of a span': tracer(() => span({ spanContext, isRecording: () => false })),
  'an attribute of a span': tracer(() => span({ spanContext, isRecording: () => true, end: () => undefined })),
  'a provider of meters': { meterProvider: { getMeter: throws } },
  'a histogram': {
    meterProvider: { getMeter: () => ({ createHistogram: () => ({ record: throws }) }) as never },
  },
  'an extraction': propagator({ extract: throws }),
  'an injection': propagator({ inject: throws }),
};

const anything = z.object({}).loose();

async function begin(options: OpenTelemetryOptions): Promise<RawSession> {
  log = new LogLines();
  const serverFactory = () =>
    scriptedServer({
      'x/ask': (_params, { sendRequest }) => sendRequest({ method: 'roots/list' }, anything),
      'x/throw': throws,
    });
  const telemetry = openTelemetry(options);
  harness = await start({ serverFactory, telemetry, logger: pino({ level: 'warn' }, log) });
  return RawSession.open(harness.url, { capabilities: { roots: {} } });
}

/** Makes requests of every kind, and expects the usual answers. */
async function expectServed(session: RawSession): Promise<void> {
  expect(await session.call(1, 'ping', { _meta: { traceparent: 'x' } })).toMatchObject({ result: {} });
  const stream = new EventStream(await session.request(2, 'x/ask'));
  const asked = await stream.message();
  expect(asked.method).toBe('roots/list');
  await session.answer(asked.id, { roots: [] });
  expect(await stream.message()).toMatchObject({ id: 2, result: { roots: [] } });
  expect(await session.call(3, 'x/throw')).toMatchObject({ error: { message: 'not today' } });
  expect((await session.post(echoCall(4, 'x'))).status).toBe(200);
  expect((await fetch(harness.url, { method: 'DELETE', headers: session.headers })).status).toBe(200);
}

describe('what throws costs its span, and no request', () => {
  test.each(Object.keys(BROKEN))('%s', async (what) => {
    await expectServed(await begin(BROKEN[what]!));
    const failures = log.all.filter((line) => line.msg === 'failure');
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.every((line) => line.what === 'telemetry' || line.what === 'a listener of ended')).toBe(true);
  });

  test('an exporter that throws', async () => {
    await recorder.stop();
    recorder = new Recorder(
      {},
      { onStart: () => undefined, onEnd: throws, forceFlush: async () => {}, shutdown: async () => {} },
    );
    await expectServed(await begin({}));
  });

  test.each([
    ['before the handler', (_within: Context, work: () => unknown) => (throws() as unknown) ?? work()],
    ['after the handler', (_within: Context, work: () => unknown) => [work(), throws()]],
    ['and calls the handler twice', (_within: Context, work: () => unknown) => [work(), work()]],
    ['and never calls the handler', () => undefined],
  ])('a context manager that throws %s', async (_when, broken) => {
    const session = await begin({});
    const working = jest.spyOn(context, 'with').mockImplementation(broken as typeof context.with);
    await expectServed(session);
    expect(working).toHaveBeenCalled();
    working.mockRestore();
  });
});

test.each([
  [{ sessionId: 'all' }, "openTelemetry: option sessionId must be 'none', 'hash' or 'full'; got \"all\""],
  [{ trustRemoteContext: 1 }, 'openTelemetry: option trustRemoteContext must be true or false; got 1'],
  [{ tracerProvider: {} }, 'openTelemetry: option tracerProvider must be a TracerProvider; got an object'],
  [{ meterProvider: 7 }, 'openTelemetry: option meterProvider must be a MeterProvider; got 7'],
  [{ propagator: {} }, 'openTelemetry: option propagator must be a TextMapPropagator; got an object'],
  [{ spans: true }, 'openTelemetry: unknown option spans'],
])('the options %j are refused', async (options, message) => {
  harness = await start();
  expect(() => openTelemetry(options as object)).toThrow(message);
});
