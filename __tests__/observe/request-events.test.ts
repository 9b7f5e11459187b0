import type { JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import type { McpRouterOptions, McpServerLike } from '../../src/index.js';
import type { CoreEvents, ObservedRequest } from '../../src/events.js';
import type { Emitter } from '../../src/runtime/emitter.js';
import { echoCall, echoServer, type Harness, initializeBody, openSession, post, start } from '../support/harness.js';
import { until } from '../support/waiting.js';

let harness: Harness;
afterEach(() => harness.close());

interface Span {
  readonly request: ObservedRequest;
  readonly message: JSONRPCRequest;
  readonly sessionId: string | undefined;
  readonly outcomes: string[];
}

/** Starts a router and opens a span at each `requestStarted`, as tracing would. A settled request without a span throws. */
async function observed(options: Partial<McpRouterOptions> = {}): Promise<Span[]> {
  harness = await start(options);
  const events = harness.router.sessions as unknown as Emitter<CoreEvents>;
  const spans = new Map<ObservedRequest, Span>();
  const all: Span[] = [];
  events.on('requestStarted', (request, message, sessionId) => {
    const span = { request, message, sessionId, outcomes: [] };
    spans.set(request, span);
    all.push(span);
  });
  events.on('requestSettled', (request, outcome) => spans.get(request)!.outcomes.push(outcome));
  return all;
}

test('an initialize and each request of a session start once and settle once, as the same object', async () => {
  const spans = await observed();
  const id = await openSession(harness.url, {}, '2025-03-26');
  const session = { 'mcp-session-id': id };
  await (await post(harness.url, [echoCall(1, 'a'), echoCall('x', 'b')], session)).text();
  await (await post(harness.url, { jsonrpc: '2.0', id: 2, method: 'no/such' }, session)).text();
  expect(spans).toMatchObject([
    {
      request: { id: 0, method: 'initialize' },
      message: initializeBody(0, '2025-03-26'),
      sessionId: id,
      outcomes: ['ok'],
    },
    { request: { id: 1, method: 'tools/call' }, message: echoCall(1, 'a'), sessionId: id, outcomes: ['ok'] },
    { request: { id: 'x', method: 'tools/call' }, message: echoCall('x', 'b'), sessionId: id, outcomes: ['ok'] },
    { request: { id: 2, method: 'no/such' }, sessionId: id, outcomes: ['error'] },
  ]);
});

test('an initialize that fails settles as an error', async () => {
  const spans = await observed({
    serverFactory: (): McpServerLike => {
      throw new Error('not today');
    },
  });
  expect((await post(harness.url, initializeBody())).status).toBe(500);
  expect(spans).toMatchObject([{ request: { method: 'initialize' }, outcomes: ['error'] }]);
});

test('a stateless request has no session', async () => {
  const spans = await observed({ stateless: true });
  await (await post(harness.url, echoCall(1, 'a'))).text();
  expect(spans).toMatchObject([{ request: { id: 1, method: 'tools/call' }, sessionId: undefined, outcomes: ['ok'] }]);
});

test('a request in flight settles when its session is closed', async () => {
  const spans = await observed({
    serverFactory: () => {
      const server = echoServer();
      server.registerTool('hang', {}, () => new Promise<never>(() => undefined));
      return server;
    },
  });
  const session = { 'mcp-session-id': await openSession(harness.url) };
  const call = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'hang', arguments: {} } };
  const answered = post(harness.url, call, session).then((response) => response.text());
  await until('it has started', () => spans.length === 2);
  expect(spans[1]).toMatchObject({ request: { id: 7 }, outcomes: [] });
  await harness.router.sessions.close(session['mcp-session-id']);
  await answered;
  expect(spans[1]!.outcomes).toEqual(['closed']);
});
