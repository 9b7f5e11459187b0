import { createHash } from 'node:crypto';
import { CallToolRequestSchema, McpError, type CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { HttpError, type McpRouterOptions } from '../../../src/index.js';
import { openTelemetry } from '../../../src/otel.js';
import { EventStream } from '../../support/event-stream.js';
import { initializeBody, post } from '../../support/harness.js';
import { call as callPerRequest, send, VERSION } from '../../support/per-request.js';
import { RawSession } from '../../support/raw-session.js';
import { startScripted, type Extra, type LowServer, type Method, type Scripted } from '../../support/scripted.js';
import { until } from '../../support/waiting.js';
import { CONVENTIONS, deviations, expectConform, type Condition } from './conventions.js';
import { Recorder } from './recorder.js';

let recorder: Recorder;
let harness: Scripted;
let session: RawSession;
beforeEach(() => (recorder = new Recorder()));
afterEach(async () => {
  await harness.close();
  await recorder.stop();
});

const fails =
  (code: number): Method =>
  () => {
    throw new McpError(code, 'no');
  };
const anything = z.object({}).loose();
const ask =
  (method: string): Method =>
  (_params, { sendRequest, signal }) =>
    sendRequest({ method, params: {} } as Parameters<typeof sendRequest>[0], anything, { signal });

const METHODS: Readonly<Record<string, Method>> = {
  'prompts/get': () => ({ messages: [] }),
  'resources/read': fails(-32002),
  'resources/subscribe': () => ({}),
  'completion/complete': fails(-32603),
  'x/invalid': fails(-32602),
  'x/own': fails(-32050),
  'x/roots': ask('roots/list'),
  'x/sampling': ask('sampling/createMessage'),
  'x/elicitation': ask('elicitation/create'),
  'x/ping': ask('ping'),
  'x/hang': () => new Promise(() => undefined),
};

type Tool = (params: { readonly name: string }, extra: Extra) => Promise<CallToolResult>;

const TOOL: Tool = ({ name }) => Promise.resolve({ content: [], isError: name === 'broken' });

async function start(options: Partial<McpRouterOptions> = {}, tool = TOOL): Promise<void> {
  const prepare = (server: LowServer): void =>
    server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => tool(params, extra));
  harness = await startScripted(METHODS, { telemetry: openTelemetry({ sessionId: 'full' }), ...options }, prepare);
}

/** Asks its client for its roots. */
const ASKING_TOOL: Tool = async (_params, { sendRequest }) => {
  await sendRequest({ method: 'roots/list', params: {} }, anything);
  return { content: [] };
};

describe('a span of a session has the attributes of the conventions (conventions.json)', () => {
  const CASES: [method: string, params: object, name: string, conditions: Condition[]][] = [
    ['tools/call', { name: 'echo' }, 'tools/call echo', ['tool']],
    ['tools/call', { name: 'broken' }, 'tools/call broken', ['tool', 'fails']],
    ['prompts/get', { name: 'hello' }, 'prompts/get hello', ['prompt']],
    ['resources/read', { uri: 'notes://1' }, 'resources/read', ['resource', 'code']],
    ['resources/subscribe', { uri: 'notes://1' }, 'resources/subscribe', ['resource']],
    ['tools/list', {}, 'tools/list', []],
    ['ping', {}, 'ping', []],
    ['completion/complete', {}, 'completion/complete', ['code', 'fails']],
    ['x/invalid', {}, 'x/invalid', ['code']],
    ['x/own', {}, 'x/own', ['code', 'fails']],
    ['x/unknown', {}, 'x/unknown', ['code']],
  ];
  test.each(CASES)('%s %j', async (method, params, name, conditions) => {
    await start();
    session = await RawSession.open(harness.url);
    await session.call('a', method, params);
    const span = recorder.span(name);
    expectConform(span, 'server', ['request', 'session', ...conditions]);
    expect(span.attributes).toMatchObject({
      'mcp.method.name': method,
      'jsonrpc.request.id': 'a',
      'mcp.session.id': session.id,
      'mcp.protocol.version': '2025-11-25',
      'network.transport': 'tcp',
      'network.protocol.name': 'http',
      'network.protocol.version': '1.1',
      'client.address': '127.0.0.1',
    });
  });

  test('a tool that says isError has the error.type tool_error', async () => {
    await start();
    session = await RawSession.open(harness.url);
    await session.call(1, 'tools/call', { name: 'broken' });
    expect(recorder.span('tools/call broken').attributes).toMatchObject({
      'error.type': 'tool_error',
      'gen_ai.operation.name': 'execute_tool',
    });
  });

  test('the status has the message of the error', async () => {
    await start();
    session = await RawSession.open(harness.url);
    await session.call(1, 'x/own');
    expect(recorder.span('x/own')).toMatchObject({ status: 'ERROR', message: 'MCP error -32050: no' });
  });

  test('initialize has the version that was agreed on, and the ID of the new session', async () => {
    await start();
    session = await RawSession.open(harness.url, { version: '2025-06-18' });
    const span = recorder.span('initialize');
    expectConform(span, 'server', ['request', 'session']);
    expect(span.attributes).toMatchObject({ 'mcp.protocol.version': '2025-06-18', 'mcp.session.id': session.id });
  });

  test('a notification has a span without an ID', async () => {
    await start();
    session = await RawSession.open(harness.url);
    expectConform(recorder.span('notifications/initialized'), 'server', ['session']);
  });

  test('a request that is refused has the code of its refusal', async () => {
    await start();
    const response = await post(
      harness.url,
      { jsonrpc: '2.0', id: 1, method: 'tools/list' },
      { 'mcp-session-id': 'x' },
    );
    expect(response.status).toBe(404);
    const { attributes, status } = recorder.span('tools/list');
    expect(deviations('server', attributes, new Set(['request', 'code', 'fails']), ['mcp.protocol.version'])).toEqual(
      [],
    );
    expect(attributes).toMatchObject({ 'error.type': '-32001', 'rpc.response.status_code': '-32001' });
    expect(status).toBe('ERROR');
  });

  test.each([
    [403, [], { status: 'UNSET', message: undefined }],
    [503, ['fails'], { status: 'ERROR', message: 'not for you' }],
  ] as [number, Condition[], object][])('a request that the app refuses with %i', async (status, fails, ended) => {
    const serverFactory = (): never => {
      throw new HttpError(status, { code: -32050, message: 'not for you' });
    };
    await start({ serverFactory, stateless: true });
    const response = await post(harness.url, { jsonrpc: '2.0', id: 1, method: 'tools/list' });
    expect(response.status).toBe(status);
    const span = recorder.span('tools/list');
    const conditions = new Set(['request', 'code', ...fails]);
    expect(deviations('server', span.attributes, conditions, ['mcp.protocol.version'])).toEqual([]);
    expect(span.attributes['rpc.response.status_code']).toBe('-32050');
    expect(span).toMatchObject(ended);
  });

  test('a request that times out has the code of the time-out', async () => {
    await start({ requestTimeout: 1_000 });
    session = await RawSession.open(harness.url);
    const answer = session.call(1, 'x/hang');
    await until('it is in flight', () => harness.router.sessions.get(session.id)?.requests === 1);
    harness.clock.advance(1_000);
    await answer;
    expectConform(recorder.span('x/hang'), 'server', ['request', 'session', 'code', 'fails']);
    expect(recorder.span('x/hang').attributes).toMatchObject({ 'error.type': '-32001' });
  });

  test.each([true, false])('a request that its client cancels has not failed (JSON: %s)', async (json) => {
    await start({ enableJsonResponse: json });
    session = await RawSession.open(harness.url);
    const answer = session.request(1, 'x/hang').then((response) => response.text());
    await until('it is in flight', () => harness.router.sessions.get(session.id)?.requests === 1);
    await session.cancel(1);
    await answer;
    expectConform(recorder.span('x/hang'), 'server', ['request', 'session']);
  });

  test('a request in flight fails with its session', async () => {
    await start();
    session = await RawSession.open(harness.url);
    const answer = session.call(1, 'x/hang');
    await until('it is in flight', () => harness.router.sessions.get(session.id)?.requests === 1);
    await harness.router.sessions.close(session.id);
    await answer;
    expectConform(recorder.span('x/hang'), 'server', ['request', 'session', 'code', 'fails']);
  });

  test('a stateless request has no session', async () => {
    await start({ stateless: true });
    await (await post(harness.url, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } })).text();
    expectConform(recorder.span('tools/call echo'), 'server', ['request', 'tool']);
    recorder.forget();
    await (await post(harness.url, initializeBody())).text();
    expectConform(recorder.span('initialize'), 'server', ['request']);
  });
});

describe('the session ID is on a span by choice', () => {
  test.each([
    [undefined, () => undefined],
    ['none', () => undefined],
    ['hash', (id: string) => createHash('sha256').update(id).digest('hex').slice(0, 32)],
    ['full', (id: string) => id],
  ] as const)('%s', async (sessionId, shown) => {
    await start({ telemetry: openTelemetry({ sessionId }) });
    session = await RawSession.open(harness.url);
    await session.call(1, 'tools/list');
    expect(recorder.span('tools/list').attributes['mcp.session.id']).toBe(shown(session.id));
  });
});

describe('a request of a server to its client has a CLIENT span', () => {
  const CASES = ['roots/list', 'sampling/createMessage', 'elicitation/create', 'ping'];
  const named = (method: string): string => `x/${method.split('/')[0]}`;
  const open = () => RawSession.open(harness.url, { capabilities: { roots: {}, sampling: {}, elicitation: {} } });

  test.each(CASES)('%s', async (method) => {
    await start();
    session = await open();
    const stream = new EventStream(await session.request(1, named(method)));
    const asked = await stream.message();
    expect(asked.method).toBe(method);
    await session.answer(asked.id, {});
    await stream.message();
    const span = recorder.span(method);
    expectConform(span, 'client', ['request', 'session']);
    expect(span.attributes['jsonrpc.request.id']).toBe(String(asked.id));
    const { id, trace } = recorder.span(named(method));
    expect(span).toMatchObject({ parent: id, trace });
    expect(asked.params._meta).toMatchObject({ traceparent: `00-${trace}-${span.id}-01` });
  });

  test('an error of the client counts, whatever its code', async () => {
    await start();
    session = await open();
    const stream = new EventStream(await session.request(1, 'x/roots'));
    const { id } = await stream.message();
    await session.post({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no roots' } });
    await stream.message();
    const span = recorder.span('roots/list');
    expectConform(span, 'client', ['request', 'session', 'code', 'fails']);
    expect(span.message).toBe('no roots');
  });

  test('a question that the server takes back has failed', async () => {
    await start();
    session = await open();
    const stream = new EventStream(await session.request(1, 'x/roots'));
    await stream.message();
    await session.cancel(1);
    await until('the question has ended', () => recorder.has('roots/list'));
    const span = recorder.span('roots/list');
    expectConform(span, 'client', ['request', 'session', 'fails']);
    expect(span.attributes['error.type']).toBe('cancelled');
  });

  test('a question without an answer fails with its session', async () => {
    await start();
    session = await open();
    const stream = new EventStream(await session.request(1, 'x/roots'));
    await stream.message();
    await harness.router.sessions.close(session.id);
    expectConform(recorder.span('roots/list'), 'client', ['request', 'session', 'code', 'fails']);
  });

  test('a question that cannot be sent fails at once', async () => {
    await start({ stateless: true });
    await (await post(harness.url, { jsonrpc: '2.0', id: 1, method: 'x/ping' })).text();
    expectConform(recorder.span('ping'), 'client', ['request', 'code', 'fails']);
  });
});

describe('a span of MCP 2026-07-28 has the attributes of the conventions', () => {
  test('a tool call, and a question in it', async () => {
    await start({ perRequest: true }, ASKING_TOOL);
    const capabilities = { roots: {} };
    const { result } = await callPerRequest(harness.url, 'ask', {}, { id: 7, capabilities });
    const { inputRequests, requestState } = result as { inputRequests: Record<string, object>; requestState: string };
    const [[key, asked]] = Object.entries(inputRequests) as [[string, { params: { _meta: object } }]];
    const first = recorder.span('tools/call ask');
    expectConform(first, 'server', ['request', 'tool']);
    expect(first.attributes).toMatchObject({ 'mcp.protocol.version': VERSION, 'jsonrpc.request.id': '7' });
    recorder.forget();

    const params = { requestState, inputResponses: { [key]: { roots: [] } } };
    await callPerRequest(harness.url, 'ask', {}, { id: 8, capabilities, params });
    const question = recorder.span('roots/list');
    expectConform(question, 'client', []);
    expect(question).toMatchObject({ parent: first.id, trace: first.trace });
    expect(asked.params._meta).toEqual({ traceparent: `00-${first.trace}-${question.id}-01` });
    expectConform(recorder.span('tools/call ask'), 'server', ['request', 'tool']);
  });

  test('the key of a question does not depend on its trace, so that a client may start its request anew', async () => {
    await start({ perRequest: true }, ASKING_TOOL);
    const capabilities = { roots: {} };
    const keys = async (): Promise<string[]> => {
      const { result } = await callPerRequest(harness.url, 'ask', {}, { capabilities });
      return Object.keys(result!.inputRequests as object);
    };
    const [first] = await keys();
    expect(await keys()).toEqual([first]);
    const params = { inputResponses: { [first!]: { roots: [] } } };
    expect(await callPerRequest(harness.url, 'ask', {}, { capabilities, params })).toMatchObject({
      result: { resultType: 'complete' },
    });
  });

  test.each([
    ['server/discover', {}, 'server/discover', []],
    ['ping', {}, 'ping', ['code']],
    ['completion/complete', {}, 'completion/complete', ['code', 'fails']],
  ] as [string, object, string, Condition[]][])('%s', async (method, params, name, conditions) => {
    await start({ perRequest: true });
    await send(harness.url, method, { params: { ...params } });
    const span = recorder.span(name);
    const leftOut = method === 'ping' ? ['mcp.protocol.version'] : [];
    const found = deviations('server', span.attributes, new Set(['request', ...conditions]), leftOut);
    expect(found).toEqual([]);
  });

  test('subscriptions/listen ends when its stream has begun', async () => {
    await start({ perRequest: true });
    const body = { notifications: { toolsListChanged: true } };
    const aborter = new AbortController();
    const listening = send(harness.url, 'subscriptions/listen', { params: body, signal: aborter.signal });
    listening.catch(() => undefined);
    await until('the stream has begun', () => recorder.has('subscriptions/listen'));
    expectConform(recorder.span('subscriptions/listen'), 'server', ['request']);
    aborter.abort();
  });
});

describe('a metric has the attributes, the unit and the buckets of the conventions', () => {
  test('operations of both sides, and sessions', async () => {
    await start();
    session = await RawSession.open(harness.url, { capabilities: { roots: {} } });
    await session.call(1, 'tools/call', { name: 'echo' });
    await session.call(2, 'tools/call', { name: 'broken' });
    await session.call(3, 'x/own');
    const stream = new EventStream(await session.request(4, 'x/roots'));
    await session.answer((await stream.message()).id, {});
    await stream.message();
    harness.clock.advance(90_000);
    await fetch(harness.url, { method: 'DELETE', headers: { 'mcp-session-id': session.id } });

    for (const [name, wanted] of Object.entries(CONVENTIONS.metrics)) {
      const { descriptor, dataPoints } = await recorder.histogram(name);
      expect(descriptor).toMatchObject({ name, unit: wanted.unit, type: wanted.instrument });
      expect(dataPoints.length).toBeGreaterThan(0);
      for (const { attributes, value } of dataPoints) {
        const conditions = new Set<string>();
        if (attributes['mcp.method.name'] === 'tools/call') conditions.add('tool');
        if (attributes['error.type'] !== undefined) conditions.add('fails');
        if (attributes['rpc.response.status_code'] !== undefined) conditions.add('code');
        const leftOut = name.startsWith('mcp.client') ? ['network.protocol.version'] : [];
        const of = wanted.attributes as 'operation' | 'session';
        expect([name, deviations(of, attributes, conditions, leftOut)]).toEqual([name, []]);
        expect(value.buckets.boundaries).toEqual(CONVENTIONS.buckets);
      }
    }
    const { dataPoints } = await recorder.histogram('mcp.server.operation.duration');
    const calls = dataPoints.filter(({ attributes }) => attributes['mcp.method.name'] === 'tools/call');
    expect(
      calls.map(({ attributes, value }) => [attributes['gen_ai.tool.name'], attributes['error.type'], value.count]),
    ).toEqual([
      ['echo', undefined, 1],
      ['broken', 'tool_error', 1],
    ]);
    const [lived] = (await recorder.histogram('mcp.server.session.duration')).dataPoints;
    expect(lived).toMatchObject({ value: { count: 1, sum: 90 } });
  });
});
