import fc from 'fast-check';
import type { McpRouterOptions } from '../../src/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { initializeBody, JSON_HEADERS, messagesOf, openSession, start, type Harness } from '../support/harness.js';
import { RawSocket, requestBytes, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';

type Headers = readonly (readonly [string, string])[];

const TTL = 60_000;
const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
const clock = new FakeClock();
let harness: Harness;
let socket: RawSocket;

async function started(options: Partial<McpRouterOptions> = {}): Promise<void> {
  harness = await start({
    clock,
    ttl: TTL,
    orphanAfter: 1_000,
    principal: ({ headers }) => headers['x-user'] as string | undefined,
    ...options,
  });
  socket = await RawSocket.open(harness.url.port);
}
beforeEach(() => started());
afterEach(async () => {
  socket.destroy();
  await harness.close();
});

const METHODS = ['POST', 'GET', 'DELETE'] as const;

const send = (method: string, headers: Headers, body = method === 'POST' ? ping : undefined): Promise<RawResponse> =>
  socket.exchange(method, '/mcp', [...Object.entries(JSON_HEADERS), ...headers], body);
const withId = (id: string, ...headers: Headers): Headers => [['Mcp-Session-Id', id], ...headers];
const initialize = (...headers: Headers) => send('POST', headers, JSON.stringify(initializeBody(1)));

describe('an unknown session ID gets 404', () => {
  test.each([
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'valueOf',
    '0',
    'undefined',
    'null',
    '*',
    '../mcp',
    'a'.repeat(8 * 1024),
    'naïve',
    '\u00ff\u0080',
    'a\tb',
    '"quoted"',
    '%00',
    "' OR 1=1 --",
  ])('%.40s', async (id) => {
    for (const method of METHODS) expectRow(await send(method, withId(id)), 'sessionNotFound');
  });

  test('any visible ASCII (property)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[\x21-\x7e]{1,200}$/), fc.constantFrom(...METHODS), async (id, method) => {
        expectRow(await send(method, withId(id)), 'sessionNotFound');
      }),
    );
    expect(harness.router.sessions.list()).toEqual([]);
  });

  test.each(['\u0000', '\u0001', '\u000b', '\u001f', '\u007f', '\r', '\n', '\r\n '])(
    "a control character, %j, is no part of a header: Node's own 400 (RFC 9110, 5.5)",
    async (character) => {
      const raw = await RawSocket.open(harness.url.port);
      await raw.write(
        requestBytes('POST', '/mcp', [...Object.entries(JSON_HEADERS), ...withId(`a${character}b`)], ping),
      );
      expect(await raw.response()).toMatchObject({ status: 400, body: '' });
      raw.destroy();
    },
  );
});

describe('the header Mcp-Session-Id', () => {
  test('is the ID of no session when it is sent twice, even with equal values', async () => {
    const id = await openSession(harness.url);
    expectRow(await send('POST', [...withId(id), ...withId(id)]), 'sessionNotFound');
    expectRow(await send('POST', [...withId('unknown'), ...withId(id)]), 'sessionNotFound');
    expectRow(await send('DELETE', [...withId(id), ...withId('unknown')]), 'sessionNotFound');
    expect(await send('POST', withId(id))).toMatchObject({ status: 200 });
  });

  test('is treated as missing when it is empty', async () => {
    for (const method of METHODS) expectRow(await send(method, withId('')), 'sessionRequired');
    expect(await initialize(...withId(''))).toMatchObject({ status: 200 });
  });

  test('is compared byte by byte', async () => {
    const id = await openSession(harness.url);
    expect(await send('POST', [['MCP-SESSION-ID', ` ${id}\t`]])).toMatchObject({ status: 200 });
    for (const other of [id.toUpperCase(), `${id}0`, id.slice(1), `${id} x`]) {
      expectRow(await send('POST', withId(other)), 'sessionNotFound');
    }
  });
});

describe('a principal learns nothing about sessions of others (spec 2025-11-25, security best practices, session hijacking)', () => {
  /** The whole response, as it was on the wire. */
  const wire = ({ head, body }: RawResponse) => `${head.replace(/^Date: .*\r\n/m, '')}\r\n\r\n${body}`;

  test.each(METHODS)('%s: unknown, terminated, expired and foreign are alike, byte for byte', async (method) => {
    const mallory: Headers = [['X-User', 'mallory']];
    const terminated = await openSession(harness.url, { 'x-user': 'mallory' });
    expect(await send('DELETE', withId(terminated, ...mallory))).toMatchObject({ status: 200 });
    const expired = await openSession(harness.url, { 'x-user': 'mallory' });
    clock.advance(2 * TTL);
    const foreign = await openSession(harness.url, { 'x-user': 'alice' });

    const unknown = wire(await send(method, withId('7b1c8f0e-0000-4000-8000-000000000000', ...mallory)));
    expect(unknown).toContain(
      `"error":{"code":-32001,"message":"Session not found"},"id":${method === 'POST' ? 1 : 'null'}`,
    );
    for (const id of [terminated, expired, foreign])
      expect(wire(await send(method, withId(id, ...mallory)))).toBe(unknown);
    // The same without a principal, and with another fault in the request.
    expect(wire(await send(method, withId(foreign)))).toBe(unknown);
    const wrong: Headers = [...mallory, ['MCP-Protocol-Version', '1999-01-01'], ['Last-Event-ID', '1']];
    expect(wire(await send(method, withId(foreign, ...wrong)))).toBe(unknown);

    expect(await send('POST', withId(foreign, ['X-User', 'alice']))).toMatchObject({ status: 200 });
    expect(harness.router.sessions.get(foreign)).toMatchObject({ principal: 'alice', state: 'active' });
  });

  test('a request to a foreign session does not keep it alive', async () => {
    const foreign = await openSession(harness.url, { 'x-user': 'alice' });
    clock.advance(TTL - 1);
    expectRow(await send('POST', withId(foreign, ['X-User', 'mallory'])), 'sessionNotFound');
    clock.advance(1);
    expect(harness.router.sessions.list()).toEqual([]);
  });
});

describe('initialize with a session ID', () => {
  test('of a live session of the same principal gets 400, and the session lives on', async () => {
    const id = await openSession(harness.url, { 'x-user': 'alice' });
    expectRow(await initialize(...withId(id, ['X-User', 'alice'])), 'alreadyInitialized');
    expect(await send('POST', withId(id, ['X-User', 'alice']))).toMatchObject({ status: 200 });
    expect(harness.router.sessions.stats().active).toBe(1);
  });

  test.each(['alice’s', 'unknown', 'terminated'])(
    'that is %s opens a new session, as if none had been sent',
    async (which) => {
      const foreign = await openSession(harness.url, { 'x-user': 'alice' });
      const terminated = await openSession(harness.url);
      await send('DELETE', withId(terminated));
      const sent = { 'alice’s': foreign, unknown: '__proto__', terminated }[which]!;

      const response = await initialize(...withId(sent));
      expect(messagesOf(response.body)).toMatchObject([{ id: 1, result: {} }]);
      const id = response.headers.get('mcp-session-id')!;
      expect([foreign, sent]).not.toContain(id);
      expect(harness.router.sessions.get(id)).toMatchObject({ principal: undefined });
      expect(harness.router.sessions.get(foreign)).toMatchObject({ principal: 'alice' });
    },
  );
});

describe('the header MCP-Protocol-Version (spec 2025-11-25, basic/transports, "Protocol Version Header")', () => {
  test('may be left out, as clients before 2025-06-18 do', async () => {
    const id = await openSession(harness.url);
    expect(await send('POST', withId(id))).toMatchObject({ status: 200 });
  });

  test.each(['1999-01-01', '2026-07-28', 'latest', '2025-11-25, 2025-11-25'])('%s gets 400', async (version) => {
    const id = await openSession(harness.url);
    for (const method of METHODS) {
      const response = await send(method, withId(id, ['MCP-Protocol-Version', version]));
      expectRow(response, 'unsupportedProtocolVersion');
    }
    expect(harness.router.sessions.get(id)).toMatchObject({ state: 'active' });
  });

  test('is ignored on initialize, which negotiates', async () => {
    const response = await initialize(['MCP-Protocol-Version', '1999-01-01']);
    expect(messagesOf(response.body)).toMatchObject([{ result: { protocolVersion: '2025-11-25' } }]);
  });
});

describe('a client of 2026-07-28 gets 400 -32000, at which it falls back (its basic/versioning, "Backward Compatibility")', () => {
  const HEADERS: Headers = [
    ['MCP-Protocol-Version', '2026-07-28'],
    ['Mcp-Method', 'server/discover'],
  ];
  const discover = JSON.stringify({
    jsonrpc: '2.0',
    id: 'discover-1',
    method: 'server/discover',
    params: {
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'ExampleClient', version: '1.0.0' },
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    },
  });

  test('from a router with sessions, as the session is missing', async () => {
    const response = await send('POST', HEADERS, discover);
    expectRow(response, 'sessionRequired');
    expect(JSON.parse(response.body)).toMatchObject({ error: { code: -32000 }, id: 'discover-1' });
    expect(harness.router.sessions.list()).toEqual([]);
  });

  test('from a stateless router, as the version is not supported', async () => {
    socket.destroy();
    await harness.close();
    harness = await start({ stateless: true });
    socket = await RawSocket.open(harness.url.port);
    const response = await send('POST', HEADERS, discover);
    expectRow(response, 'unsupportedProtocolVersion');
    expect(JSON.parse(response.body)).toMatchObject({ error: { code: -32000 }, id: 'discover-1' });
  });
});
