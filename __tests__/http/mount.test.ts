import express, { type Express, type RequestHandler } from 'express';
import { mcpRouter, type McpRouter, type McpRouterOptions } from '../../src/index.js';
import { echoServer, initializeBody, JSON_HEADERS, messagesOf, start, type Harness } from '../support/harness.js';
import { RawSocket, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';

let harness: Harness;
let socket: RawSocket;
afterEach(async () => {
  socket.destroy();
  await harness.close();
});

const THE_APP: RequestHandler = (_req, res) => void res.status(299).send('the app');

async function mounted(mount: (app: Express, router: McpRouter) => void, options: Partial<McpRouterOptions> = {}) {
  harness = await start(options, (app, router) => {
    mount(app, router);
    app.use(THE_APP);
  });
  socket = await RawSocket.open(harness.url.port);
}

const initialize = (path: string): Promise<RawResponse> =>
  socket.exchange('POST', path, Object.entries(JSON_HEADERS), JSON.stringify(initializeBody()));
const get = (path: string): Promise<RawResponse> => socket.exchange('GET', path);

async function expectEndpoint(path: string): Promise<void> {
  expect(messagesOf((await initialize(path)).body)).toMatchObject([
    { id: 0, result: { protocolVersion: '2025-11-25' } },
  ]);
}
async function expectMetrics(path: string): Promise<void> {
  const { status, body } = await get(path);
  expect(status).toBe(200);
  expect(body).toContain('mcp_sessions_active');
}
async function expectTheApp(...paths: string[]): Promise<void> {
  for (const path of paths) {
    expect(await initialize(path)).toMatchObject({ status: 299, body: 'the app' });
    expect(await get(path)).toMatchObject({ status: 299, body: 'the app' });
  }
}

const routerOf = (...parts: [string, RequestHandler][]) => {
  const router = express.Router();
  for (const [path, part] of parts) router.use(path, part);
  return router;
};

interface Place {
  readonly how: string;
  readonly mount: (app: Express, router: McpRouter) => void;
  readonly path?: string;
  readonly endpoint: string;
  readonly metrics: string;
  readonly theApps: readonly string[];
}

const PLACES: readonly Place[] = [
  {
    how: "app.use('/mcp', router)",
    mount: (app, router) => app.use('/mcp', router),
    endpoint: '/mcp',
    metrics: '/mcp/metrics',
    theApps: ['/', '/mcpx', '/mcp/mcp', '/mcp/metrics/x', '/metrics', '/x/mcp'],
  },
  {
    how: "app.use('/a/b/', router)",
    mount: (app, router) => app.use('/a/b/', router),
    endpoint: '/a/b',
    metrics: '/a/b/metrics',
    theApps: ['/', '/a', '/mcp', '/metrics', '/a/b/mcp'],
  },
  {
    how: 'app.use(router)',
    mount: (app, router) => app.use(router),
    endpoint: '/mcp',
    metrics: '/metrics',
    theApps: ['/', '/mcpx', '/mcp/x', '/metricsx', '/metrics/x', '/MCP', '//mcp', '/x/mcp'],
  },
  {
    how: "app.use('/', router)",
    mount: (app, router) => app.use('/', router),
    endpoint: '/mcp',
    metrics: '/metrics',
    theApps: ['/', '/mcp/x'],
  },
  {
    how: "app.all('/mcp', router)",
    mount: (app, router) => app.all('/mcp', router),
    endpoint: '/mcp',
    metrics: '/mcp?',
    theApps: ['/', '/metrics', '/mcp/metrics'],
  },
  {
    how: "app.all('/route', router)",
    mount: (app, router) => app.all('/route', router),
    endpoint: '/route',
    metrics: '/route?',
    theApps: ['/', '/mcp', '/metrics', '/route/metrics', '/route/mcp'],
  },
  {
    how: "a route for each method: app.post('/a/route', router)",
    mount: (app, router) => app.post('/a/route', router).get('/a/route', router).delete('/a/route', router),
    endpoint: '/a/route',
    metrics: '/a/route?',
    theApps: ['/', '/a', '/mcp', '/route'],
  },
  {
    how: 'a route with parameters, behind a handler of its own, in a router',
    mount: (app, router) =>
      app.use(
        '/api',
        express.Router().all('/tenants/:tenant', (_req, _res, next) => next(), router),
      ),
    endpoint: '/api/tenants/acme',
    metrics: '/api/tenants/acme?',
    theApps: ['/', '/api', '/api/mcp', '/tenants/acme'],
  },
  {
    how: 'app.use(router) after a route that has passed the request on',
    mount: (app, router) => app.all(/.*/, (_req, _res, next) => next()).use(router),
    endpoint: '/mcp',
    metrics: '/metrics',
    theApps: ['/', '/x'],
  },
  {
    how: 'a route with a wildcard path',
    mount: (app, router) => app.all(/.*/, router),
    endpoint: '/mcp',
    metrics: '/metrics',
    theApps: ['/', '/x'],
  },
  {
    how: "app.all('/route', router) with path: '/rpc'",
    mount: (app, router) => app.all('/route', router).all('/rpc', router),
    path: '/rpc',
    endpoint: '/rpc',
    metrics: '/rpc?',
    theApps: ['/', '/route', '/mcp'],
  },
  {
    how: "app.use(router) with path: '/rpc'",
    mount: (app, router) => app.use(router),
    path: '/rpc',
    endpoint: '/rpc',
    metrics: '/metrics',
    theApps: ['/', '/mcp', '/rpc/x'],
  },
  {
    how: "app.use(router) with path: '/rpc/v1'",
    mount: (app, router) => app.use(router),
    path: '/rpc/v1',
    endpoint: '/rpc/v1',
    metrics: '/metrics',
    theApps: ['/', '/mcp', '/rpc'],
  },
  {
    how: "app.use(router) with path: '/'",
    mount: (app, router) => app.use(router),
    path: '/',
    endpoint: '/',
    metrics: '/metrics',
    theApps: ['/mcp', '/x'],
  },
  {
    how: "app.use('/api', router) with path: '/rpc'",
    mount: (app, router) => app.use('/api', router),
    path: '/rpc',
    endpoint: '/api/rpc',
    metrics: '/api/metrics',
    theApps: ['/', '/api', '/rpc', '/mcp', '/api/mcp'],
  },
  {
    how: 'a router in a router',
    mount: (app, router) => app.use('/api', routerOf(['/v1/mcp', router])),
    endpoint: '/api/v1/mcp',
    metrics: '/api/v1/mcp/metrics',
    theApps: ['/', '/api', '/api/v1', '/mcp', '/metrics'],
  },
  {
    how: 'an app in an app',
    mount: (app, router) => app.use('/sub', express().use('/mcp', router)),
    endpoint: '/sub/mcp',
    metrics: '/sub/mcp/metrics',
    theApps: ['/', '/sub', '/mcp'],
  },
  {
    how: 'a path with parameters',
    mount: (app, router) => app.use('/tenants/:tenant/mcp', router),
    endpoint: '/tenants/acme/mcp',
    metrics: '/tenants/acme/mcp/metrics',
    theApps: ['/', '/tenants/acme', '/tenants/mcp'],
  },
];

describe.each(PLACES)('$how', ({ mount, path, endpoint, metrics, theApps }) => {
  beforeEach(() => mounted(mount, { path }));

  test('serves the endpoint there, with a trailing slash or a query too', async () => {
    await expectEndpoint(endpoint);
    await expectEndpoint(`${endpoint}?key=value`);
    if (endpoint === '/') return;
    await expectEndpoint(`${endpoint}/`);
    await expectEndpoint(`${endpoint}/?key=value`);
    await expectEndpoint(`http://127.0.0.1${endpoint}`);
  });

  test('serves metrics there, and leaves every other path to the app', async () => {
    if (metrics.endsWith('?')) expectRow(await socket.exchange('GET', metrics, [['Accept', '*/*']]), 'sessionRequired');
    else await expectMetrics(metrics);
    await expectTheApp(...theApps);
  });
});

describe('metrics', () => {
  test.each<[string, Partial<McpRouterOptions>]>([
    ['metrics: false', { metrics: false }],
    ['metrics: { route: false }', { metrics: { route: false } }],
  ])('%s leaves the metrics path to the app', async (_, options) => {
    await mounted((app, router) => app.use(router), options);
    await expectTheApp('/metrics');
    await expectEndpoint('/mcp');
  });

  test('the handler serves them wherever the app puts it, also with route: false', async () => {
    await mounted((app, router) => app.use('/mcp', router).get('/internal/metrics', router.metrics), {
      metrics: { route: false },
    });
    await expectMetrics('/internal/metrics');
  });

  test('with metrics: false the handler leaves the request to the app', async () => {
    await mounted((app, router) => app.get('/internal', router.metrics), { metrics: false });
    await expectTheApp('/internal');
  });
});

describe('two routers in one app', () => {
  test('keep their sessions apart', async () => {
    const other = mcpRouter({ serverFactory: () => echoServer(), logger: false });
    await mounted((app, router) => app.use('/one', router).use('/two', other));
    const session = (await initialize('/one')).headers.get('mcp-session-id')!;
    const headers = [...Object.entries(JSON_HEADERS), ['Mcp-Session-Id', session]] as [string, string][];
    const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    expect(await socket.exchange('POST', '/one', headers, ping)).toMatchObject({ status: 200 });
    expectRow(await socket.exchange('POST', '/two', headers, ping), 'sessionNotFound');
    await expectEndpoint('/two');
    expect([harness.router, other].map(({ sessions }) => sessions.stats().active)).toEqual([1, 1]);
    await other.close();
  });

  test('share the root with different paths', async () => {
    const other = mcpRouter({ serverFactory: () => echoServer(), logger: false, path: '/two' });
    await mounted((app, router) => app.use(router, other), { path: '/one' });
    await expectEndpoint('/one');
    await expectEndpoint('/two');
    await expectTheApp('/mcp');
    await other.close();
  });
});
