import { initializeBody, post, start, type Harness } from '../support/harness.js';
import { bodyOf, call, headersOf, send, VERSION } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { askedBy, answersTo, textOf } from './asked.js';
import { askingServer } from './asking-server.js';

const seen: string[] = [];
let released: Deferred;
let harness: Harness;
beforeEach(async () => {
  released = new Deferred();
  seen.splice(0);
  harness = await start({
    sessions: false,
    perRequest: { servers: 'principal' },
    principal: (req) => req.headers['x-user'] as string | undefined,
    serverFactory: () => askingServer({ seen, released }),
  });
});
afterEach(async () => {
  released.resolve();
  await harness.close();
});

const list = (version?: string) =>
  post(
    harness.url,
    { jsonrpc: '2.0', id: 7, method: 'tools/list' },
    version === undefined ? {} : { 'mcp-protocol-version': version },
  );

describe('an endpoint with `sessions: false` (MCP 2026-07-28, basic/versioning)', () => {
  test('serves requests of MCP 2026-07-28', async () => {
    expect(textOf(await call(harness.url, 'add', { a: 1, b: 2 }))).toBe('3');
    expect((await send(harness.url, 'server/discover')).result).toMatchObject({ supportedVersions: [VERSION] });
    expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  });

  test('refuses every request of earlier versions, and names those that it serves', async () => {
    const replies: [Promise<Response>, number | null, string][] = [
      [post(harness.url, initializeBody(5)), 5, '2025-11-25'],
      [post(harness.url, { ...initializeBody(6), params: {} }), 6, '2025-03-26'],
      [list(), 7, '2025-03-26'],
      [list('2025-06-18'), 7, '2025-06-18'],
      [post(harness.url, { jsonrpc: '2.0', method: 'notifications/initialized' }), null, '2025-03-26'],
      [post(harness.url, { jsonrpc: '2.0', id: 1, result: {} }), null, '2025-03-26'],
    ];
    for (const [reply, id, requested] of replies) {
      const { status, headers, ...response } = await reply.then(async (it) => ({
        status: it.status,
        headers: it.headers,
        body: await it.json(),
      }));
      const error = {
        code: -32022,
        message: 'Unsupported protocol version',
        data: { supported: [VERSION], requested },
      };
      expect([status, response.body]).toEqual([400, { jsonrpc: '2.0', id, error }]);
      expect(headers.get('mcp-session-id')).toBeNull();
    }
    const batch = await post(harness.url, [bodyOf('ping'), { jsonrpc: '2.0', id: 1, method: 'ping' }]);
    expect([batch.status, await batch.json()]).toMatchObject([400, { error: { code: -32600 } }]);
    const old = await post(harness.url, [{ jsonrpc: '2.0', id: 1, method: 'ping' }]);
    expect([old.status, await old.json()]).toMatchObject([400, { error: { code: -32600 } }]);
  });

  test.each(['GET', 'DELETE', 'PUT'])(
    'answers %s with 405 and the one method that it has (RFC 9110, 15.5.6)',
    async (method) => {
      const headers = { accept: 'text/event-stream', 'mcp-session-id': 'x', 'mcp-protocol-version': VERSION };
      const response = await fetch(harness.url, { method, headers });
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
    },
  );

  test('is ready until it drains, which waits for what runs and for calls that wait for their clients', async () => {
    harness.app.get('/ready', harness.router.ready);
    const ready = async () => (await fetch(new URL('/ready', harness.url))).status;
    expect(await ready()).toBe(200);
    const alice = { headers: { 'x-user': 'alice' }, capabilities: { elicitation: {} } };
    const held = call(harness.url, 'hold', {}, alice);
    await until('it holds', () => seen.includes('holding'));
    const asked = askedBy(await call(harness.url, 'once', {}, alice));
    let isDrained = false;
    const drained = harness.router.drain(60_000).then(() => (isDrained = true));
    expect(await ready()).toBe(503);
    expect((await call(harness.url, 'add', { a: 1, b: 2 }, alice)).status).toBe(503);
    released.resolve();
    expect(textOf(await held)).toBe('released');
    const params = { requestState: asked.requestState, inputResponses: answersTo(asked, { only: 'x' }) };
    expect(isDrained).toBe(false);
    expect(textOf(await call(harness.url, 'once', {}, { ...alice, params }))).toBe('x');
    await drained;
  });

  test('has its metrics, with no sessions in them', async () => {
    await call(harness.url, 'add', { a: 1, b: 2 });
    const text = await (await fetch(new URL('/mcp/metrics', harness.url))).text();
    expect(text).toContain('mcp_sessions_active 0');
    expect(text).toContain('mcp_sessions_opened_total 0');
  });

  test('ignores a session ID, as sessions do not exist (basic/transports/streamable-http)', async () => {
    const headers = { ...headersOf('tools/list'), 'mcp-session-id': 'x' };
    const response: Response = await post(harness.url, bodyOf('tools/list'), headers);
    expect(response.status).toBe(200);
    expect(harness.router.sessions.list()).toEqual([]);
  });
});
