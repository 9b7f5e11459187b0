import fc from 'fast-check';
import { eraOf } from '../../src/http/per-request/check.js';
import { ERRORS, type ErrorName } from '../../src/errors.js';
import { openSession, post, start, type Harness } from '../support/harness.js';
import {
  bodyOf,
  call,
  headersOf,
  send,
  VERSION,
  type PerRequest,
  type PerRequestReply,
} from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { askingServer } from './asking-server.js';

// Pages are those of MCP 2026-07-28, below docs/specification/2026-07-28.

const META = 'io.modelcontextprotocol/';
const SERVER = { [`${META}serverInfo`]: { name: 'asking', version: '1.0.0' } };

function expectRefusal({ status, error }: PerRequestReply, name: ErrorName, data?: unknown): void {
  const row = ERRORS[name];
  const { code, message } = row;
  expect({ status, error }).toEqual({
    status: row.status,
    error: { code, message, ...(data !== undefined && { data }) },
  });
}

const seen: string[] = [];
const released = new Deferred();
let harness: Harness;
beforeAll(async () => {
  const cacheHints = { 'tools/list': { ttlMs: 60_000, cacheScope: 'public' as const } };
  harness = await start({ serverFactory: () => askingServer({ seen, released }), perRequest: { cacheHints } });
});
beforeEach(() => seen.splice(0));
afterAll(async () => {
  released.resolve();
  await harness.close();
});

describe('a request of MCP 2026-07-28', () => {
  test('is served without a session, and the result has a type and names the server (basic/index, "Responses")', async () => {
    const { headers, ...reply } = await call(harness.url, 'add', { a: 1, b: 2 }, { id: 'x' });
    const result = { content: [{ type: 'text', text: '3' }], resultType: 'complete', _meta: SERVER };
    expect(reply).toEqual({ status: 200, notifications: [], jsonrpc: '2.0', id: 'x', result });
    expect(headers.get('x-accel-buffering')).toBe('no');
    expect(headers.get('mcp-session-id')).toBeNull();
    expect(harness.router.sessions.list()).toEqual([]);
  });

  test('is served whatever session it names, and no session sees it (basic/transports/streamable-http)', async () => {
    const session = await openSession(harness.url);
    const headers = { 'mcp-session-id': session, 'last-event-id': 'x' };
    const reply = await call(harness.url, 'session', {}, { headers });
    expect(reply.status).toBe(200);
    expect(reply.result?.content).not.toEqual([{ type: 'text', text: session }]);
    expect((await call(harness.url, 'add', {}, { headers: { 'mcp-session-id': 'of no session' } })).status).toBe(200);
  });

  test('discovers the versions and capabilities, without tasks (server/discover)', async () => {
    const { result } = await send(harness.url, 'server/discover');
    expect(result).toEqual({
      resultType: 'complete',
      supportedVersions: [VERSION],
      capabilities: {
        logging: {},
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true },
      },
      instructions: 'Ask.',
      ttlMs: 0,
      cacheScope: 'private',
      _meta: SERVER,
    });
  });

  test.each([
    ['tools/list', {}, 60_000, 'public'],
    ['prompts/list', {}, 0, 'private'],
    ['resources/read', { uri: 'test://x' }, 0, 'private'],
    ['tools/call', { name: 'roots' }, undefined, undefined],
  ])('has caching hints for %s (server/utilities/caching)', async (method, params, ttlMs, cacheScope) => {
    const { result } = await send(harness.url, method, { params, capabilities: { roots: {} } });
    expect([result?.ttlMs, result?.cacheScope]).toEqual([ttlMs, cacheScope]);
  });

  test('gets JSON if its client accepts only JSON', async () => {
    const json = await call(harness.url, 'add', { a: 1, b: 2 }, { headers: { accept: 'application/json' } });
    expect(json.headers.get('content-type')).toBe('application/json');
    expect(json.result).toMatchObject({ resultType: 'complete' });
    const refused = await send(harness.url, 'nothing', { headers: { accept: 'application/json' } });
    expectRefusal(refused, 'methodNotFound');
  });

  const wrong: [string, string, PerRequest, ErrorName, unknown?][] = [
    ['no version in the header', 'tools/list', { headers: { 'mcp-protocol-version': undefined } }, 'headerMismatch'],
    [
      'another version in the header',
      'tools/list',
      { headers: { 'mcp-protocol-version': '2025-11-25' } },
      'headerMismatch',
    ],
    [
      'a version that is not served',
      'tools/list',
      { meta: { [`${META}protocolVersion`]: '2027-01-01' }, headers: { 'mcp-protocol-version': '2027-01-01' } },
      'versionNotServed',
      { supported: [VERSION], requested: '2027-01-01' },
    ],
    ['a version that is no text', 'tools/list', { meta: { [`${META}protocolVersion`]: 7 } }, 'invalidEnvelope'],
    [
      'a version only in the header',
      'tools/list',
      { meta: { [`${META}protocolVersion`]: undefined } },
      'invalidEnvelope',
    ],
    ['no capabilities', 'tools/list', { meta: { [`${META}clientCapabilities`]: undefined } }, 'invalidEnvelope'],
    ['capabilities that the server refuses', 'tools/list', { capabilities: { roots: 7 } }, 'invalidEnvelope'],
    ['an unknown log level', 'tools/list', { meta: { [`${META}logLevel`]: 'loud' } }, 'invalidEnvelope'],
    ['no method in the headers', 'tools/list', { headers: { 'mcp-method': undefined } }, 'headerMismatch'],
    ['another method in the headers', 'tools/list', { headers: { 'mcp-method': 'tools/call' } }, 'headerMismatch'],
    [
      'another tool in the headers',
      'tools/call',
      { params: { name: 'add' }, headers: { 'mcp-name': 'x' } },
      'headerMismatch',
    ],
    [
      'a parameter without its header',
      'tools/call',
      { params: { name: 'region', arguments: { region: 'x' } } },
      'headerMismatch',
    ],
    ...['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'tasks/list', 'x/y'].map(
      (method): [string, string, PerRequest, ErrorName] => [`the method ${method}`, method, {}, 'methodNotFound'],
    ),
    [
      'no capability to list roots',
      'tools/call',
      { params: { name: 'roots' } },
      'missingCapability',
      { requiredCapabilities: { roots: {} } },
    ],
    [
      'no capability to open a URL',
      'tools/call',
      { params: { name: 'visit' }, capabilities: { elicitation: {} } },
      'missingCapability',
      { requiredCapabilities: { elicitation: { url: {} } } },
    ],
    ['a state that is none', 'tools/call', { params: { name: 'once', requestState: 'x.1' } }, 'invalidRequestState'],
    [
      'a state that is no text',
      'tools/call',
      { params: { name: 'once', requestState: { a: 1 } } },
      'invalidRequestState',
    ],
  ];
  // Jest gives a callback to the tests of a row that is too short.
  const rows = wrong.map(([what, method, request, name, data]) => ({ what, method, request, name, data }));
  test.each(rows)('with $what is refused by its ID', async ({ method, request, name, data }) => {
    const reply = await send(harness.url, method, { id: 'of this', ...request });
    expectRefusal(reply, name, data);
    expect(reply).toHaveProperty('id', 'of this');
  });

  test('is served without the name of its client (basic/index, "Per-request protocol fields")', async () => {
    const reply = await call(harness.url, 'add', { a: 1, b: 2 }, { meta: { [`${META}clientInfo`]: undefined } });
    expect(reply.status).toBe(200);
  });

  test('gets the error that a handler throws, with the codes of this version (basic/index, "Error Codes")', async () => {
    const missing = await send(harness.url, 'resources/read', { params: { uri: 'test://missing' } });
    expect(missing).toMatchObject({ status: 200, error: { code: -32602, data: { uri: 'test://missing' } } });
    const visit = await call(harness.url, 'visit', {}, { capabilities: { elicitation: { url: {} } } });
    expect(visit.result).toEqual({
      resultType: 'input_required',
      inputRequests: {
        [Object.keys(visit.result?.inputRequests ?? {}).join()]: {
          method: 'elicitation/create',
          params: { mode: 'url', message: 'Sign in', url: 'https://example.com/' },
        },
      },
      _meta: { [`${META}serverInfo`]: { name: 'asking', version: '1.0.0' } },
    });
  });

  test('gets rising progress for its own token, and log messages from its level on, before the result', async () => {
    const meta = { progressToken: 't', [`${META}logLevel`]: 'warning' };
    const { notifications, result } = await call(harness.url, 'busy', {}, { meta });
    expect(notifications.map(({ params }) => params)).toEqual([
      ...[1, 2, 3, 4].map((progress) => ({ progressToken: 't', progress })),
      { level: 'error', data: 'high' },
    ]);
    expect(result).toMatchObject({ resultType: 'complete' });
    expect((await call(harness.url, 'busy')).notifications).toEqual([]);
  });

  test('is cancelled when its client closes the reply (basic/patterns/cancellation)', async () => {
    const client = new AbortController();
    const held = call(harness.url, 'hold', {}, { signal: client.signal }).catch(() => 'gone');
    await until('the handler holds', () => seen.includes('holding'));
    client.abort();
    expect(await held).toBe('gone');
    await until('its signal aborts', () => seen.includes('aborted'));
  });

  test('is one message: a batch with it is refused, and a notification gets 202', async () => {
    const batch = await post(harness.url, [bodyOf('tools/list')], headersOf('tools/list'));
    expect([batch.status, await batch.json()]).toMatchObject([400, { error: { code: -32600 } }]);
    const notification = { ...bodyOf('notifications/other'), id: undefined };
    const accepted = await post(harness.url, notification, headersOf('notifications/other'));
    expect([accepted.status, await accepted.text()]).toEqual([202, '']);
  });
});

describe('the era of a POST (basic/versioning, "Backward Compatibility with Initialization-Based Versions")', () => {
  const declared = fc.constantFrom(undefined, VERSION, '2025-11-25', 'none', 7, null);
  const method = fc.constantFrom('initialize', 'tools/call', 'server/discover', 'notifications/x');
  const header = fc.constantFrom(undefined, VERSION, '2025-11-25', 'none');

  test('is decided by the body, and by the header only where the body declares nothing (property)', () => {
    fc.assert(
      fc.property(declared, method, header, fc.boolean(), (version, name, inHeader, isRequest) => {
        const params = version === undefined ? {} : { _meta: { [`${META}protocolVersion`]: version } };
        const message = { jsonrpc: '2.0' as const, method: name, params, ...(isRequest && { id: 1 }) };
        const byHeader = inHeader === VERSION && name !== 'initialize';
        const era = version !== undefined || byHeader ? 'request' : 'session';
        expect(eraOf([message], false, { 'mcp-protocol-version': inHeader })).toBe(era);
      }),
    );
  });

  test('opens sessions on the same endpoint, and the context of a server names its era', async () => {
    const eras: unknown[] = [];
    const both = await start({
      perRequest: true,
      serverFactory: ({ era, sessionId, clientInfo, clientCapabilities, state }) => {
        eras.push([era, sessionId === undefined, clientInfo?.name, clientCapabilities]);
        void state.set('key', 1).catch((error: unknown) => eras.push((error as Error).message));
        return askingServer();
      },
    });
    const client = await both.client();
    expect(await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } })).toMatchObject({
      content: [{ text: '3' }],
    });
    await call(both.url, 'add', { a: 1, b: 2 }, { capabilities: { roots: {} } });
    await both.close();
    expect(eras).toEqual([
      ['session', false, 'test', {}],
      ['request', true, 'raw', { roots: {} }],
      'context.state: nothing is kept, as the request has no principal',
    ]);
  });

  test('is served statelessly beside requests of 2026-07-28 with `stateless`', async () => {
    const both = await start({ perRequest: true, stateless: true, serverFactory: () => askingServer() });
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add', arguments: { a: 1, b: 2 } } };
    expect(await (await post(both.url, body)).text()).toContain('"3"');
    expect((await call(both.url, 'add', { a: 1, b: 2 })).result).toMatchObject({ resultType: 'complete' });
    expect((await fetch(both.url)).status).toBe(405);
    await both.close();
  });
});

test('a draining router refuses new requests, and lets running ones finish', async () => {
  const running = new Deferred();
  const draining = await start({ perRequest: true, serverFactory: () => askingServer({ seen, released: running }) });
  const held = call(draining.url, 'hold');
  await until('the handler holds', () => seen.includes('holding'));
  const drained = draining.router.drain(60_000);
  expectRefusal(await call(draining.url, 'add'), 'draining');
  running.resolve();
  expect((await held).result).toMatchObject({ content: [{ text: 'released' }] });
  await drained;
  await draining.close();
});

test('a closing router aborts running requests', async () => {
  const closing = await start({
    perRequest: true,
    serverFactory: () => askingServer({ seen, released: new Deferred() }),
  });
  const held = call(closing.url, 'hold');
  await until('the handler holds', () => seen.includes('holding'));
  await closing.router.close();
  expectRefusal(await held, 'sessionClosed');
  expect(seen).toContain('aborted');
  await closing.close();
});
