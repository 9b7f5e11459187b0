import type { McpRouterOptions, SessionReports } from '../../src/index.js';
import { AppEvents } from '../../src/sessions/app-events.js';
import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { announcingServer } from '../endpoint/announcing-server.js';
import { echoCall, echoServer, initializeBody, openSession, post, start, type Harness } from '../support/harness.js';
import { call, send, subscribe } from '../support/per-request.js';
import { NO_PARTY } from '../support/session-info.js';
import { Deferred, until } from '../support/waiting.js';

const NAMES = ['settled', 'rejected', 'fenced', 'streamOpened', 'streamClosed'] as const;
type Report = SessionReports[keyof SessionReports];

let harness: Harness;
afterEach(() => harness.close());

/** Starts a router, and collects what its events tell from now on. */
async function reported(options: Partial<McpRouterOptions> = {}): Promise<[string, Report][]> {
  harness = await start({ principal: (req) => req.headers['x-user'] as string | undefined, ...options });
  const reports: [string, Report][] = [];
  for (const name of NAMES) harness.router.sessions.on(name, (report) => reports.push([name, report]));
  return reports;
}

const alice = { 'x-user': 'alice' };
const durationMs = expect.any(Number) as number;
const streams = (reports: [string, Report][]) => reports.filter(([name]) => name.startsWith('stream'));

describe('the events of router.sessions for an audit log (docs/operations.md, "An audit log")', () => {
  test('tell of each request of a session: its method, tool, outcome, duration, principal and session', async () => {
    const reports = await reported({ enableJsonResponse: true });
    const sessionId = await openSession(harness.url, alice);
    const session = { ...alice, 'mcp-session-id': sessionId };
    await (await post(harness.url, echoCall(1, 'a'), session)).text();
    await (await post(harness.url, { jsonrpc: '2.0', id: 2, method: 'no/such' }, session)).text();
    const of = { era: 'session', principal: 'alice', sessionId, durationMs };
    expect(reports).toEqual([
      ['settled', { ...of, method: 'initialize', outcome: 'ok' }],
      ['settled', { ...of, method: 'tools/call', tool: 'echo', outcome: 'ok' }],
      ['settled', { ...of, method: 'no/such', outcome: 'error', errorType: -32601 }],
    ]);
  });

  test('tell of each request of MCP 2026-07-28 and of each stateless one, which have no session', async () => {
    const reports = await reported({ perRequest: true });
    await call(harness.url, 'echo', { text: 'a' }, { headers: alice });
    await send(harness.url, 'server/discover');
    const none = { sessionId: undefined, durationMs, outcome: 'ok' };
    expect(reports).toEqual([
      ['settled', { ...none, era: 'request', principal: 'alice', method: 'tools/call', tool: 'echo' }],
      ['settled', { ...none, era: 'request', principal: undefined, method: 'server/discover' }],
    ]);
    await harness.close();
    const stateless = await reported({ stateless: true, enableJsonResponse: true });
    await (await post(harness.url, echoCall(1, 'a'), alice)).text();
    expect(stateless).toEqual([
      ['settled', { ...none, era: 'session', principal: 'alice', method: 'tools/call', tool: 'echo' }],
    ]);
  });

  test('tell of the streams of a session, which list() counts as long as they are open', async () => {
    const reports = await reported();
    const sessionId = await openSession(harness.url, alice);
    const counted = () => harness.router.sessions.get(sessionId)!.streams;
    expect(counted()).toEqual({ standalone: 0, request: 0 });
    const hangUp = new AbortController();
    await fetch(harness.url, {
      headers: { ...alice, accept: 'text/event-stream', 'mcp-session-id': sessionId },
      signal: hangUp.signal,
    });
    expect(counted()).toEqual({ standalone: 1, request: 0 });
    hangUp.abort();
    await until('the stream is over', () => streams(reports).length === 2);
    expect(counted()).toEqual({ standalone: 0, request: 0 });
    const stream = { kind: 'standalone', principal: 'alice', sessionId };
    expect(streams(reports)).toMatchObject([
      ['streamOpened', stream],
      ['streamClosed', { ...stream, reason: 'disconnected' }],
    ]);
  });

  test('tell of the stream of a call that is answered as SSE', async () => {
    const held = new Deferred();
    const reports = await reported({
      serverFactory: () => {
        const server = echoServer();
        server.registerTool('hold', {}, async ({ sendNotification }) => {
          await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
          await held.promise;
          return { content: [] };
        });
        return server;
      },
    });
    const sessionId = await openSession(harness.url, alice);
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'hold', arguments: {} } };
    const response = await post(harness.url, body, { ...alice, 'mcp-session-id': sessionId });
    const counted = () => harness.router.sessions.get(sessionId)!.streams;
    await until('the stream has begun', () => streams(reports).length === 1);
    expect(counted()).toEqual({ standalone: 0, request: 1 });
    held.resolve();
    await response.text();
    await until('the stream is over', () => streams(reports).length === 2);
    expect(counted()).toEqual({ standalone: 0, request: 0 });
  });

  test('tell of a subscription of MCP 2026-07-28 and of its principal', async () => {
    const reports = await reported({ perRequest: true, serverFactory: () => announcingServer().server });
    const hangUp = new AbortController();
    await subscribe(harness.url, { toolsListChanged: true }, { headers: alice, signal: hangUp.signal });
    hangUp.abort();
    await until('the stream is over', () => streams(reports).length === 2);
    expect(streams(reports)[0]).toEqual([
      'streamOpened',
      { kind: 'subscription', principal: 'alice', sessionId: undefined },
    ]);
  });

  test('name the principal that was refused a session', async () => {
    const reports = await reported({ maxSessions: 1 });
    await openSession(harness.url);
    expect((await post(harness.url, initializeBody(), alice)).status).toBe(503);
    expect(reports.filter(([name]) => name === 'rejected')).toEqual([
      ['rejected', { reason: 'atCapacity', principal: 'alice', sessionId: undefined }],
    ]);
  });
});

describe('a listener of such an event', () => {
  const core = (): Emitter<CoreEvents> => new Emitter<CoreEvents>(() => undefined);
  // `afterEach` closes it.
  beforeEach(async () => {
    harness = await start();
  });

  test('is taken off by its own name only, and called once where that was asked for', () => {
    const events = core();
    const app = new AppEvents(events);
    const seen: unknown[] = [];
    const listener = (report: unknown) => seen.push(report);
    app.change('on', 'streamOpened', listener);
    app.change('on', 'streamClosed', listener);
    app.change('once', 'fenced', listener);
    app.change('off', 'streamOpened', listener);
    events.emit('streamOpened', 'request', NO_PARTY);
    events.emit('streamClosed', 'request', 'ended', NO_PARTY);
    for (const node of ['a', 'b']) events.emit('fenced', node, 'paused');
    expect(seen).toEqual([
      { kind: 'request', reason: 'ended', ...NO_PARTY },
      { node: 'a', why: 'paused' },
    ]);
    app.change('off', 'streamClosed', listener);
    events.emit('streamClosed', 'request', 'ended', NO_PARTY);
    expect(seen).toHaveLength(2);
  });

  test('gets an object of its own, that has nothing of the router in it', async () => {
    const seen: object[] = [];
    harness.router.sessions
      .on('settled', (request) => seen.push(request))
      .on('settled', (request) => seen.push(request));
    await openSession(harness.url);
    expect(seen).toHaveLength(2);
    expect(seen[0]).toEqual(seen[1]);
    expect(seen[0]).not.toBe(seen[1]);
    expect(Object.keys(JSON.parse(JSON.stringify(seen[0])) as object)).toEqual(
      expect.arrayContaining(['method', 'era', 'outcome', 'durationMs', 'sessionId']) as string[],
    );
  });
});
