import http from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { adminPage, type AdminPageOptions } from '../../src/admin/index.js';
import { createLocalCheck } from '../../src/admin/access.js';
import { createMcpEndpoint, type McpEndpoint } from '../../src/node.js';
import type { McpRouterOptions } from '../../src/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { echoCall, echoServer, initializeBody, openSession, post, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { requestBytes } from '../support/raw-http.js';
import { never, soon, until } from '../support/waiting.js';
import { pino } from 'pino';

const SAME = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' };
const as = (user: string) => ({ 'x-user': user });

let harness: Harness;
const log = new LogLines();
afterEach(() => harness.close());

async function serve(options: AdminPageOptions = {}, router: Partial<McpRouterOptions> = {}): Promise<void> {
  harness = await start(
    { principal: (req) => req.headers['x-user'] as string | undefined, logger: pino({}, log), ...router },
    (app, mcp) => {
      app.use('/mcp', mcp);
      app.use('/admin', adminPage(mcp, options));
    },
  );
}

const at = (path: string): URL => new URL(`/admin${path}`, harness.url);

interface Answer {
  readonly rows: { readonly key: string; readonly shortId: string; readonly principal: string }[];
  readonly timeline: { readonly event: string; readonly facts: object }[];
  readonly rates: object;
  readonly session: object | undefined;
  readonly readOnly: boolean;
}
const read = async (path: string): Promise<Answer> => (await (await fetch(at(path))).json()) as Answer;
/** The key of the first session. */
const firstKey = async (): Promise<string> => (await read('/api/sessions')).rows[0]!.key;

const change = (path: string, body: unknown, headers: Record<string, string> = SAME) =>
  fetch(at(path), { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });

/** A request as `fetch` cannot send it. */
function ask(
  path: string,
  headers: http.OutgoingHttpHeaders,
  method = 'GET',
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = harness.url;
    http
      .request({ hostname, port, path: `/admin${path}`, method, headers }, (res) => {
        let text = '';
        res.on('data', (chunk: Buffer) => (text += chunk.toString()));
        res.on('end', () => resolve({ status: res.statusCode!, text }));
      })
      .on('error', reject)
      .end();
  });
}

/** Every path of the page. */
const PATHS = ['/', '/app.js', '/style.css', '/api/sessions', '/api/session?key=a', '/api/close', '/nothing'];

describe('an admin page without `authorize` (docs/admin.md, "Who may see it")', () => {
  const refused: [string, http.OutgoingHttpHeaders][] = [
    ['a name that is not local, as with DNS rebinding', { host: 'evil.example' }],
    ['a name that only begins as a local one', { host: '127.0.0.1.evil.example' }],
    ['X-Forwarded-For', { 'x-forwarded-for': '127.0.0.1' }],
    ['X-Forwarded-Host', { 'x-forwarded-host': 'localhost' }],
    ['Forwarded', { forwarded: 'for=127.0.0.1' }],
    ['Via', { via: '1.1 proxy' }],
  ];

  test.each(refused)('refuses a request with %s on every path, in the same words', async (_, headers) => {
    await serve();
    for (const path of PATHS) {
      for (const method of ['GET', 'POST']) {
        expect(await ask(path, headers, method)).toEqual({ status: 403, text: 'Forbidden\n' });
      }
    }
  });

  test('serves a request of this machine by each local name', async () => {
    await serve();
    for (const host of ['localhost', 'LOCALHOST:3000', '127.0.0.1', '127.1.2.3:80', '[::1]:3000']) {
      expect((await ask('/', { host })).status).toBe(200);
    }
  });

  test('serves none where clients reach the router by a public name, as a proxy may add no header', async () => {
    await serve({}, { allowedHosts: ['mcp.example.com', 'localhost'] });
    for (const path of PATHS) expect((await ask(path, { host: 'localhost' })).status).toBe(403);
  });

  test('refuses every socket that is not of this machine, or whose address is gone', () => {
    const isLocal = createLocalCheck();
    const from = (remoteAddress: string | undefined) =>
      isLocal({ socket: { remoteAddress }, headers: { host: 'localhost' }, httpVersionMajor: 1 } as never);
    expect(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'].map(from)).toEqual([true, true, true, true]);
    expect(['192.0.2.1', '::2', '::ffff:192.0.2.1', '', undefined, 'localhost'].map(from)).not.toContain(true);
  });
});

describe('an admin page with `authorize`', () => {
  test.each([
    ['false', () => false],
    ['a value that is not true', () => 'alice' as unknown as boolean],
    ['a rejection', () => Promise.reject(new Error('the directory is down'))],
    [
      'an error',
      (): boolean => {
        throw new Error('the directory is down');
      },
    ],
  ])('refuses with %s', async (_, authorize) => {
    await serve({ authorize });
    for (const path of PATHS) expect(await ask(path, {})).toEqual({ status: 403, text: 'Forbidden\n' });
  });

  test('refuses a request for which it does not settle within 10 s, and logs that once', async () => {
    const clock = new FakeClock();
    let asked = 0;
    await serve({ authorize: () => ((asked += 1), never()) }, { clock });
    const answer = ask('/', {});
    await until('the request is checked', () => asked === 1);
    clock.advance(10_000);
    expect(await soon('the request is refused', answer)).toEqual({ status: 403, text: 'Forbidden\n' });
    expect(log.text.split('\n').filter((line) => line.includes('authorize did not settle'))).toHaveLength(1);
  });

  test('is not asked for a Host that the router refuses, as with DNS rebinding', async () => {
    await serve({ authorize: ({ socket }) => socket.remoteAddress === '127.0.0.1' });
    for (const path of PATHS) {
      expect(await ask(path, { host: 'evil.example' })).toEqual({ status: 403, text: 'Forbidden\n' });
    }
    expect(log.text).toContain('refused Host \\"evil.example\\"');
    expect((await ask('/', { host: 'localhost' })).status).toBe(200);
  });

  test('serves what it lets pass by a public name of the router, past a proxy', async () => {
    const authorize = ({ headers }: http.IncomingMessage) => Promise.resolve(headers['x-role'] === 'operator');
    await serve({ authorize }, { allowedHosts: ['mcp.example'] });
    const proxied = { host: 'mcp.example', 'x-forwarded-for': '192.0.2.1' };
    expect((await ask('/', { ...proxied, 'x-role': 'operator' })).status).toBe(200);
    expect((await ask('/', proxied)).status).toBe(403);
  });
});

describe('a change of the admin page', () => {
  test.each([
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
    ['of another port of the same site', { 'sec-fetch-site': 'same-site' }],
    ['typed by hand', { 'sec-fetch-site': 'none' }],
    ['of another origin, by a browser without Sec-Fetch-Site', { origin: 'https://evil.example' }],
    ['of an opaque origin', { origin: 'null' }],
    ['of a program that names no origin', {}],
  ])('%s is refused', async (_, headers) => {
    await serve();
    await openSession(harness.url, as('alice'));
    const key = await firstKey();
    const all = { ...headers, 'content-type': 'application/json' } as Record<string, string>;
    for (const [path, body] of [
      ['/api/close', { key }],
      ['/api/close-principal', { principal: 'alice' }],
      ['/api/list-changed', { list: 'tools' }],
    ] as const) {
      expect((await change(path, body, all)).status).toBe(403);
    }
    expect(harness.router.sessions.list()).toHaveLength(1);
  });

  test('is refused where a form could have sent it, and where its method is another', async () => {
    await serve();
    const form = { ...SAME, 'content-type': 'text/plain' };
    expect((await change('/api/close-principal', '{"principal":"alice"}', form)).status).toBe(415);
    const { status, headers } = await fetch(at('/api/close'));
    expect([status, headers.get('allow')]).toEqual([405, 'POST']);
    expect((await fetch(at('/api/sessions'), { method: 'POST', headers: SAME })).status).toBe(405);
    expect((await fetch(at('/'), { method: 'DELETE' })).status).toBe(405);
  });

  test('ends a session by its key, and all of a principal', async () => {
    await serve();
    for (const user of ['alice', 'alice', 'bob', 'carol']) await openSession(harness.url, as(user));
    const { rows } = await read('/api/sessions');
    const { key } = rows.find(({ principal }) => principal === 'bob')!;
    const origin = { origin: harness.url.origin, 'content-type': 'application/json' };
    expect(await (await change('/api/close', { key }, origin)).json()).toEqual({ closed: 1 });
    expect((await change('/api/close', { key })).status).toBe(404);
    expect(await (await change('/api/close-principal', { principal: 'alice' })).json()).toEqual({ closed: 2 });
    expect(harness.router.sessions.list().map(({ principal }) => principal)).toEqual(['carol']);
  });

  test('tells one session, one principal or all that a list has changed, and says how many it reached', async () => {
    await serve();
    for (const user of ['alice', 'bob']) await openSession(harness.url, as(user));
    const key = await firstKey();
    const reached = async (body: object) =>
      Object.values((await (await change('/api/list-changed', body)).json()) as object);
    expect(await reached({ list: 'tools' })).toEqual([0, 0, 2]);
    expect(await reached({ list: 'prompts', key })).toEqual([0, 0, 1]);
    expect(await reached({ list: 'resources', principal: 'bob' })).toEqual([0, 0, 1]);
  });

  test('is refused when the page is read-only', async () => {
    await serve({ readOnly: true });
    await openSession(harness.url, as('alice'));
    expect((await read('/api/sessions')).readOnly).toBe(true);
    expect((await change('/api/close', { key: await firstKey() })).status).toBe(403);
    expect((await change('/api/close-principal', { principal: 'alice' })).status).toBe(403);
    expect(harness.router.sessions.list()).toHaveLength(1);
  });

  test('is refused when it has anything that the page does not send', async () => {
    await serve();
    const key = '0'.repeat(32);
    const wrong: [string, unknown][] = [
      ['/api/close', {}],
      ['/api/close', { key: 'a' }],
      ['/api/close', { key: [key] }],
      ['/api/close', { key, more: 1 }],
      ['/api/close', [key]],
      ['/api/close', 'null'],
      ['/api/close', '{'],
      ['/api/close-principal', { principal: '' }],
      ['/api/close-principal', { principal: { iss: 'a', sub: 'b' } }],
      ['/api/list-changed', { list: 'roots' }],
      ['/api/list-changed', { list: '__proto__' }],
      ['/api/list-changed', { list: 'tools', key, principal: 'alice' }],
    ];
    for (const [path, body] of wrong) expect([body, (await change(path, body)).status]).toEqual([body, 400]);
    expect((await change('/api/close', { key: 'a'.repeat(10_000) })).status).toBe(413);
    for (const query of [
      'limit=0',
      'limit=101',
      'limit=1e1',
      'offset=-1',
      'order=id',
      'order=__proto__',
      'state=closed',
      'direction=up',
      'limit=1&limit=2',
      'other=1',
      `search=${'a'.repeat(201)}`,
    ]) {
      expect([query, (await fetch(at(`/api/sessions?${query}`))).status]).toEqual([query, 400]);
    }
    expect((await fetch(at('/api/session'))).status).toBe(400);
    expect((await fetch(at(`/api/session?key=${key}`))).status).toBe(404);
  });
});

describe('the answer to a large body arrives before its connection closes (RFC 9112, 9.6)', () => {
  test.each([
    ['too large', 413, 'same-origin', 'keep-alive'],
    ['too large, on a connection that closes', 413, 'same-origin', 'close'],
    ['refused unread, on a connection that closes', 403, 'cross-site', 'close'],
  ])('%s', async (_, status, site, connection) => {
    await serve();
    const client = connect(Number(harness.url.port), '127.0.0.1');
    const reply = text(client);
    const headers = Object.entries({ ...SAME, 'sec-fetch-site': site, connection });
    const request = requestBytes('POST', '/admin/api/close', headers, Buffer.alloc(4_000_000, ' '));
    const written = new Promise((resolve) => client.end(request, resolve as () => void));
    expect(await soon('the reply ends', reply)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(await written).toBeNull();
  });
});

describe('what the admin page shows', () => {
  test('has no whole session ID anywhere, and its keys are no part of one', async () => {
    await serve();
    const id = await openSession(harness.url, as('alice'));
    const list = await (await fetch(at('/api/sessions'))).text();
    const [{ key, shortId } = { key: '', shortId: '' }] = (JSON.parse(list) as Answer).rows;
    const detail = await (await fetch(at(`/api/session?key=${key}`))).text();
    for (const text of [list, detail]) expect(text).not.toContain(id.slice(9));
    expect(id.startsWith(shortId)).toBe(true);
    expect(shortId).toHaveLength(8);
    expect(key).toMatch(/^[0-9a-f]{32}$/);
  });

  test('is found by principal, client, state and session ID, and is ordered and cut into pages', async () => {
    await serve();
    const ids: string[] = [];
    for (const user of ['alice', 'bob', 'ALICIA', 'dave']) ids.push(await openSession(harness.url, as(user)));
    const found = async (query: string) => {
      const { rows } = await read(`/api/sessions?${query}`);
      return rows.map(({ principal }) => principal);
    };
    expect(await found('search=ali&order=principal')).toEqual(['alice', 'ALICIA']);
    expect(await found('search=raw&order=principal&direction=descending&limit=2&offset=1')).toEqual(['bob', 'ALICIA']);
    expect(await found('order=age')).toEqual(['dave', 'ALICIA', 'bob', 'alice']);
    expect(await found(`search=${ids[1]}`)).toEqual(['bob']);
    expect(await found(`search=${ids[1]!.slice(0, 8)}`)).toEqual(['bob']);
    // A caller that guesses the rest of an ID digit by digit would learn it.
    expect(await found(`search=${ids[1]!.slice(0, 12)}`)).toEqual([]);
    expect(await found('state=orphaned')).toEqual([]);
    expect(await read('/api/sessions?state=active&limit=1')).toMatchObject({
      found: 4,
      stats: { active: 4, orphaned: 0 },
    });
  });

  test('finds what the header X-Search has, so that no access log has a session ID', async () => {
    await serve();
    const id = await openSession(harness.url, as('alice'));
    await openSession(harness.url, as('bob'));
    const found = async (sought: string) =>
      (await fetch(at('/api/sessions'), { headers: { 'x-search': sought } })).text();
    expect(await found(encodeURIComponent(id))).toMatch(/"found":1,.*alice/);
    expect(await found('%')).toBe('X-Search is not valid\n');
  });

  test('has at most 128 characters of the name of a client, and of its version', async () => {
    await serve();
    const params = { clientInfo: { name: 'n'.repeat(5_000), version: 'v'.repeat(5_000) } };
    const body = initializeBody();
    await post(harness.url, { ...body, params: { ...body.params, ...params } });
    const [row] = (await read('/api/sessions?order=client')).rows;
    expect(row).toMatchObject({ clientInfo: { name: 'n'.repeat(128), version: 'v'.repeat(128) } });
  });

  test('has the timeline of a session from when it is looked at, also past its end', async () => {
    await serve();
    const id = await openSession(harness.url, as('alice'));
    const key = await firstKey();
    const timeline = async () => {
      const { timeline: entries } = await read(`/api/session?key=${key}`);
      return entries.map(({ event, facts }) => ({ event, ...facts }));
    };
    expect(await timeline()).toEqual([]);
    await (await post(harness.url, echoCall(1, 'a'), { ...as('alice'), 'mcp-session-id': id })).text();
    await harness.router.sessions.close(id);
    const call = {
      event: 'settled',
      method: 'tools/call',
      tool: 'echo',
      outcome: 'ok',
      ms: expect.any(Number) as number,
    };
    expect(await timeline()).toMatchObject([call, { event: 'closed', reason: 'deleted' }]);
    expect((await read(`/api/session?key=${key}`)).session).toBeUndefined();
  });

  test('costs nothing while no operator looks: no event has a listener of the page', async () => {
    const clock = new FakeClock();
    await serve({}, { clock });
    const { recorder } = (harness.router as unknown as { inspection: { recorder: { isListening: boolean } } })
      .inspection;
    expect(recorder.isListening).toBe(false);
    await read('/api/sessions');
    expect(recorder.isListening).toBe(true);
    clock.advance(15_000);
    await openSession(harness.url);
    const { rates } = await read('/api/sessions');
    expect(rates).toMatchObject({ opened: 0.1, settled: 0.1 });
    clock.advance(15_000);
    expect(recorder.isListening).toBe(true);
    clock.advance(15_000);
    expect(recorder.isListening).toBe(false);
  });

  test('is never kept by a cache, framed, or run with a script of elsewhere', async () => {
    await serve();
    const { headers } = await fetch(at('/'));
    expect(headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; script-src 'self';.*frame-ancestors 'none'/,
    );
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(await (await fetch(at('/'))).text()).not.toMatch(/https?:|\/\/[a-z]|style=|\son\w+=/i);
    const { status, headers: moved } = await fetch(new URL('/admin?a=1', harness.url), { redirect: 'manual' });
    expect([status, moved.get('location')]).toEqual([308, './admin/']);
  });

  test('is refused to a page of another site', async () => {
    await serve();
    for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.example' }]) {
      expect((await fetch(at('/api/sessions'), { headers })).status).toBe(403);
    }
  });
});

describe('adminPage', () => {
  test('is mounted beside an endpoint on plain node:http (docs/admin.md, "Without Express")', async () => {
    harness = await start();
    const mcp: McpEndpoint = createMcpEndpoint({ serverFactory: echoServer, logger: false });
    const page = adminPage(mcp);
    const server = http.createServer((req, res) => {
      if (req.url?.startsWith('/admin/') !== true) return mcp.handle(req, res);
      req.url = req.url.slice('/admin'.length);
      page(req, res);
    });
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
    });
    const url = new URL(`http://127.0.0.1:${port}/mcp`);
    await openSession(url);
    const got = async (path: string) => (await fetch(new URL(path, url))).text();
    expect(await got('/admin/')).toContain('<title>MCP sessions</title>');
    expect(await got('/admin/app.js')).toContain('POLL_MS');
    const { rows } = JSON.parse(await got('/admin/api/sessions?limit=1')) as Answer;
    const body = JSON.stringify({ key: rows[0]!.key });
    const closed = await fetch(new URL('/admin/api/close', url), { method: 'POST', headers: SAME, body });
    expect(await closed.json()).toEqual({ closed: 1 });
    server.close();
    await mcp.close();
  });

  test('throws for a router that is none, and for options that it does not know', async () => {
    harness = await start();
    expect(() => adminPage({} as never)).toThrow('adminPage: the first argument must be what mcpRouter()');
    expect(() => adminPage(harness.router, { readonly: true } as never)).toThrow(TypeError);
    expect(() => adminPage(harness.router, { authorize: 'yes' } as never)).toThrow('authorize must be a function');
    expect(() => adminPage(harness.router, { readOnly: 1 } as never)).toThrow('readOnly must be true or false');
  });
});
