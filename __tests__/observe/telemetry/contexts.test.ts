import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { RequestHandler } from 'express';
import fc from 'fast-check';
import { openTelemetry } from '../../../src/otel.js';
import { echoCall, echoServer, openSession, post, start, type Harness } from '../../support/harness.js';
import { call as callPerRequest } from '../../support/per-request.js';
import { Recorder } from './recorder.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const TRACEPARENT = `00-${TRACE}-${SPAN}-01`;

let recorder: Recorder;
let harness: Harness;
let session: Record<string, string>;
/** The baggage that the handler last saw. */
let baggage: string | undefined;

beforeEach(() => (recorder = new Recorder()));
afterEach(async () => {
  await harness.close();
  await recorder.stop();
});

/** Stands for the instrumentation of HTTP: each request runs in a span of its own. */
const inHttpSpan: RequestHandler = (req, _res, next) => recorder.within(`HTTP ${req.method}`, () => next());

function serverFactory() {
  const server = echoServer();
  server.registerTool('work', {}, async () => {
    await recorder.within('the app works', () => Promise.resolve());
    baggage = propagation.getActiveBaggage()?.getEntry('tenant')?.value;
    return { content: [] };
  });
  return server;
}

async function begin(trustRemoteContext = true, ambient = true): Promise<void> {
  baggage = undefined;
  const options = { serverFactory, perRequest: true, telemetry: openTelemetry({ trustRemoteContext }) };
  harness = await start(options, (app, router) => app.use('/mcp', ...(ambient ? [inHttpSpan] : []), router));
  session = { 'mcp-session-id': await openSession(harness.url) };
  recorder.forget();
}

async function work(meta: object): Promise<void> {
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'work', _meta: meta } };
  await (await post(harness.url, body, session)).text();
}

const http = () => recorder.span('HTTP POST').id;

describe('the parent of a span (semantic conventions for MCP, "Context propagation")', () => {
  test("is the client's span, and the span of the HTTP request is linked", async () => {
    await begin();
    await work({ traceparent: TRACEPARENT, tracestate: 'rojo=1', baggage: 'tenant=seven' });
    const span = recorder.span('tools/call work');
    expect(span).toMatchObject({ trace: TRACE, parent: SPAN, links: [http()] });
    expect(recorder.span('the app works')).toMatchObject({ trace: TRACE, parent: span.id });
    expect(baggage).toBe('seven');
  });

  test('is the span of the HTTP request where the message names none', async () => {
    await begin();
    await work({});
    expect(recorder.span('tools/call work')).toMatchObject({ parent: http(), links: [] });
  });

  test('is none without either', async () => {
    await begin(true, false);
    await work({});
    expect(recorder.span('tools/call work')).toMatchObject({ parent: undefined, links: [] });
  });

  test('is the same for a request of MCP 2026-07-28, whose factory runs in it, too', async () => {
    await begin();
    await callPerRequest(harness.url, 'work', {}, { meta: { traceparent: TRACEPARENT } });
    const span = recorder.span('tools/call work');
    expect(span).toMatchObject({ trace: TRACE, parent: SPAN, links: [http()] });
    expect(recorder.span('the app works')).toMatchObject({ parent: span.id });
  });

  test('is its own for each request of a batch', async () => {
    await begin();
    session = { 'mcp-session-id': await openSession(harness.url, {}, '2025-03-26') };
    recorder.forget();
    const calls = [1, 2].map((n) => {
      const traceparent = `00-${String(n).repeat(32)}-${String(n).repeat(16)}-01`;
      return { jsonrpc: '2.0', id: n, method: 'tools/call', params: { name: 'work', _meta: { traceparent } } };
    });
    await (await post(harness.url, calls, session)).text();
    const served = recorder.spans.filter(({ name }) => name === 'tools/call work');
    expect(served.map(({ parent }) => parent).sort()).toEqual(['1'.repeat(16), '2'.repeat(16)]);
    const own = recorder.spans.filter(({ name }) => name === 'the app works');
    expect(own.map(({ parent }) => parent).sort()).toEqual(served.map(({ id }) => id).sort());
  });
});

describe('with trustRemoteContext: false', () => {
  test("the client's span is only linked, and its baggage is dropped", async () => {
    await begin(false);
    await work({ traceparent: TRACEPARENT, baggage: 'tenant=seven' });
    expect(recorder.span('tools/call work')).toMatchObject({ parent: http(), links: [SPAN] });
    expect(baggage).toBeUndefined();
  });
});

describe('a context that a client made up harms nothing', () => {
  test.each([
    ['of another type', { traceparent: 7, tracestate: {}, baggage: [] }],
    ['that is malformed', { traceparent: '00-xyz', tracestate: '\u0000', baggage: ';;;=' }],
    ['that is all zeros', { traceparent: `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01` }],
    ['that is huge', { traceparent: TRACEPARENT.padEnd(1_000_000, '0'), tracestate: 'a=b,'.repeat(100_000) }],
    ['of keys of the prototype', JSON.parse('{"__proto__":{"traceparent":"x"},"constructor":"y"}') as object],
  ])('one %s', async (_what, meta) => {
    await begin();
    await work(meta);
    expect(recorder.span('tools/call work')).toMatchObject({ parent: http(), links: [] });
    expect(recorder.span('the app works').parent).toBe(recorder.span('tools/call work').id);
  });

  test('baggage that is longer than 8192 characters is dropped, and the parent stays', async () => {
    await begin();
    await work({ traceparent: TRACEPARENT, baggage: `tenant=${'7'.repeat(8_186)}` });
    expect(recorder.span('tools/call work').parent).toBe(SPAN);
    expect(baggage).toBeUndefined();
  });

  test('a client cannot put a context into the prototype of all objects', async () => {
    await begin();
    await work(JSON.parse('{"__proto__":{"traceparent":"x"}}') as object);
    expect(({} as { traceparent?: string }).traceparent).toBeUndefined();
  });

  test('any _meta gets the answer of the tool, and one span', async () => {
    await begin();
    const field = fc.oneof(fc.string(), fc.constant(TRACEPARENT), fc.string({ maxLength: 55 }), fc.jsonValue());
    const names = fc.constantFrom('traceparent', 'tracestate', 'baggage', '__proto__', 'toString', 'b3', '');
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, field), async (meta) => {
        recorder.forget();
        const { params, ...call } = echoCall(1, 'hello');
        const response = await post(harness.url, { ...call, params: { ...params, _meta: meta } }, session);
        expect(await response.text()).toContain('hello');
        expect(recorder.span('tools/call echo').status).toBe('UNSET');
      }),
      { numRuns: 200 },
    );
  });
});

test('a context that is not sampled is not recorded, and reaches the handler', async () => {
  await begin();
  await work({ traceparent: `00-${TRACE}-${SPAN}-00` });
  expect(recorder.has('tools/call work')).toBe(false);
  expect(recorder.has('the app works')).toBe(false);
});

test('nothing of a request stays in the context after it', async () => {
  await begin();
  await work({ traceparent: TRACEPARENT });
  expect(context.active()).toBe(ROOT_CONTEXT);
  expect(trace.getActiveSpan()).toBeUndefined();
});
