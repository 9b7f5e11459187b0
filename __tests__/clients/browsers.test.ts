import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import type { OAuthTokenVerifier } from '@modelcontextprotocol/sdk/server/auth/provider.js';
import { build } from 'esbuild';
import type { Request } from 'express';
import { chromium, type Browser, type Page } from 'playwright-core';
import type { McpRouterOptions } from '../../src/index.js';
import { ensureDebianTool } from '../support/debian.js';
import { start, type Harness } from '../support/harness.js';
import { featureServer } from './feature-server.js';
import type { ClientKind, Outcome, PageApi } from './page.js';

/** How long the first start may take, in ms: it downloads Debian's package if that is missing. */
const START_TIMEOUT = 600_000;

const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const KINDS: ClientKind[] = ['v1', 'v2', 'v2 auto'];
const WORKED: Outcome = { echoed: 'from a page', announced: 'to a page', ended: true };
const TOKEN = { authorization: 'Bearer good' };

const verifier: OAuthTokenVerifier = {
  verifyAccessToken: (token) =>
    token === 'good'
      ? Promise.resolve({ token, clientId: 'page', scopes: [], expiresAt: 4e9, extra: { sub: 'alice' } })
      : Promise.reject(new InvalidTokenError('not one of ours')),
};

let browser: Browser;
let pages: HttpServer;
let origin: string;
let page: Page;
let endpoint: Harness;
/** The requests that the endpoint's process received, preflights included. */
let requests: Request[];

beforeAll(async () => {
  // Chromium without a user interface. It starts in a third of the time, and opens a page in a fifth.
  const executablePath = await ensureDebianTool('chromium-headless-shell', 'chromium-headless-shell');
  // Playwright gives the browser an empty user data directory of its own, and removes it at the end.
  browser = await chromium.launch({ executablePath, args: FLAGS });
  const { outputFiles } = await build({
    entryPoints: [join(__dirname, 'page.ts')],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'iife',
  });
  const script = outputFiles[0]!.text;
  pages = createServer((req, res) => {
    const isScript = req.url === '/page.js';
    res.setHeader('Content-Type', `${isScript ? 'text/javascript' : 'text/html'}; charset=utf-8`);
    res.end(isScript ? script : '<!doctype html><title>A page</title><script src="/page.js"></script>');
  }).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
}, START_TIMEOUT);

afterAll(async () => {
  await browser.close();
  pages.closeAllConnections();
  await new Promise((closed) => pages.close(closed));
});

afterEach(async () => {
  await page.context().close();
  await endpoint.close();
});

/** An endpoint, and a page of another origin that has no cache and no cookie yet. */
async function begin(authenticates: boolean, options: Partial<McpRouterOptions> = {}): Promise<void> {
  requests = [];
  endpoint = await start(
    { serverFactory: featureServer, allowedOrigins: [origin], requirePrincipal: authenticates, ...options },
    (app, router) => {
      app.use((req, _res, next) => {
        requests.push(req);
        next();
      });
      const authentication = authenticates ? [requireBearerAuth({ verifier })] : [];
      app.use('/mcp', router.preflight, ...authentication, router);
    },
  );
  page = await (await browser.newContext()).newPage();
  await page.goto(origin);
}

const use = (kind: ClientKind, headers: Record<string, string> = {}): Promise<Outcome> =>
  page.evaluate(([kind, url, headers]) => (globalThis as unknown as { api: PageApi }).api.use(kind, url, headers), [
    kind,
    endpoint.url.href,
    headers,
  ] as const);

const probes = (): Request[] =>
  requests.filter(({ method, headers }) => method === 'POST' && headers['mcp-method'] === 'server/discover');

describe.each(KINDS)("a page of another origin with the SDK's client %s (docs/identity.md, 'Web pages')", (kind) => {
  afterEach(() => {
    // If the probe were lost, the client would fall back without having asked.
    expect(probes().length > 0).toBe(kind === 'v2 auto');
    expect(requests.some(({ method }) => method === 'OPTIONS')).toBe(true);
  });

  test('connects without a token where none is needed', async () => {
    await begin(false);
    expect(await use(kind)).toEqual(WORKED);
    expect(endpoint.router.sessions.list()).toEqual([]);
  });

  test("connects with a token through the SDK's requireBearerAuth", async () => {
    await begin(true);
    const principals: unknown[] = [];
    endpoint.router.sessions.on('opened', ({ principal }) => principals.push(principal));
    expect(await use(kind, TOKEN)).toEqual(WORKED);
    expect(principals).toEqual(['{"sub":"alice"}']);
  });

  test.each([
    ['no token', {}],
    ['a bad token', { authorization: 'Bearer bad' }],
  ])('with %s the page sees the 401 of requireBearerAuth, instead of a failed fetch', async (_, headers) => {
    await begin(true);
    const outcome = await use(kind, headers);
    expect(outcome).toMatchObject({ failed: expect.any(String) as string });
    expect(JSON.stringify(outcome)).toMatch(/401|unauthorized|invalid_token/i);
    expect(JSON.stringify(outcome)).not.toContain('Failed to fetch');
    if (kind === 'v2 auto') expect(probes().length).toBeGreaterThan(0);
  });

  test('sends headers of its app', async () => {
    await begin(false);
    expect(await use(kind, { 'x-api-key': 'k', traceparent: '00-1-2-01' })).toEqual(WORKED);
    const posts = requests.filter(({ method }) => method !== 'OPTIONS');
    expect(posts.every(({ headers }) => headers['x-api-key'] === 'k')).toBe(true);
  });
});

test("a page of another origin speaks MCP 2026-07-28 with the SDK's client v2 in auto mode, and answers a question", async () => {
  await begin(true, { perRequest: true });
  const negotiated = await page.evaluate(
    ([url, headers]) => (globalThis as unknown as { api: PageApi }).api.negotiate(url, headers),
    [endpoint.url.href, TOKEN] as const,
  );
  expect(negotiated).toMatchObject({ version: '2026-07-28', echoed: 'from a page', asked: 'Ada' });
  expect(endpoint.router.sessions.list()).toEqual([]);
  // The headers that mirror the body need a preflight (Fetch, "CORS protocol").
  expect(requests.some(({ headers }) => headers['access-control-request-headers']?.includes('mcp-name'))).toBe(true);
});

describe('what a page can read and send', () => {
  const fetched = (init: { credentials?: 'include' } = {}) =>
    page.evaluate(
      async ([url, init]) => {
        try {
          const response = await fetch(url, { method: 'POST', ...init });
          return { status: response.status, challenge: response.headers.get('www-authenticate') };
        } catch (error) {
          return { failed: (error as Error).name };
        }
      },
      [endpoint.url.href, init] as const,
    );

  test('includes the challenge of a 401, which a client needs to sign in', async () => {
    await begin(true);
    const { status, challenge } = (await fetched()) as { status: number; challenge: string };
    expect(status).toBe(401);
    expect(challenge).toMatch(/^Bearer .*invalid_token/);
  });

  test.each([
    [true, { status: 415, challenge: null }],
    [false, { failed: 'TypeError' }],
  ])('with allowCredentials %s an answer to a request with credentials is %j', async (allowCredentials, expected) => {
    await begin(false, { allowCredentials });
    await page.context().addCookies([{ name: 'login', value: 'alice', url: endpoint.url.origin }]);
    expect(await fetched({ credentials: 'include' })).toEqual(expected);
    expect(requests.at(-1)?.headers.cookie).toBe('login=alice');
  });

  test('includes nothing for an origin that is not allowed', async () => {
    await begin(false, { allowedOrigins: ['https://app.example'] });
    expect(await fetched()).toEqual({ failed: 'TypeError' });
    expect(await use('v1')).toMatchObject({ failed: 'TypeError' });
    expect(endpoint.router.sessions.list()).toEqual([]);
  });
});
