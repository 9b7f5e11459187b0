import type { RequestHandler } from 'express';
import { Registry } from 'prom-client';
import { pino } from 'pino';
import { HttpError, type McpRouterOptions, type ServerContext } from '../../src/index.js';
import { InProcessCluster } from '../cluster/in-process.js';
import { askingServer } from '../endpoint/asking-server.js';
import { countsIn } from '../support/exposition.js';
import { echoCall, echoServer, initializeBody, openSession, post, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { call, send } from '../support/per-request.js';
import { RawSession } from '../support/raw-session.js';
import { until } from '../support/waiting.js';

const NAME = 'mcp_http_responses_total';
const ORIGIN = 'https://app.example.com';

let registry: Registry;
let harness: Harness | undefined;
beforeEach(() => (registry = new Registry()));
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

async function startCounted(
  options: Partial<McpRouterOptions> = {},
  mount?: Parameters<typeof start>[1],
): Promise<Harness> {
  return (harness = await start({ metrics: { registry }, ...options }, mount));
}

/** Waits until that many responses were counted, as a client sees the end of a response before the router does. */
async function counted(responses: number, text = () => registry.metrics()): Promise<Record<string, number>> {
  let counts: Record<string, number> = {};
  await until(`${responses} responses are counted`, async () => {
    counts = countsIn(await text(), NAME);
    return Object.values(counts).reduce((sum, count) => sum + count, 0) >= responses;
  });
  return counts;
}

describe('mcp_http_responses_total (docs/operations.md, "Metrics")', () => {
  test('counts the responses of a session by status, without an error', async () => {
    const { url } = await startCounted();
    const session = await RawSession.open(url);
    await (await session.post(echoCall(1, 'a'))).text();
    await fetch(url, { method: 'DELETE', headers: session.headers });
    expect(await counted(4)).toEqual({ '200 none': 3, '202 none': 1 });
  });

  test('counts a stream at its end', async () => {
    const { url } = await startCounted();
    const session = await RawSession.open(url);
    await counted(2);
    const stream = await session.get();
    expect(await counted(2)).toEqual({ '200 none': 1, '202 none': 1 });
    await stream.body!.cancel();
    expect(await counted(3)).toEqual({ '200 none': 2, '202 none': 1 });
  });

  test('counts refusals of Host and Origin, which come before all other checks, and CORS preflights', async () => {
    const { url } = await startCounted({ allowedOrigins: [ORIGIN] });
    const preflight = { origin: ORIGIN, 'access-control-request-method': 'POST' };
    await post(url, initializeBody(), { origin: 'https://evil.example' });
    await fetch(url, { method: 'OPTIONS', headers: preflight });
    expect(await counted(2)).toEqual({ '403 originNotAllowed': 1, '204 none': 1 });
  });

  test('counts what `router.preflight` answers, and each request once', async () => {
    const denied: RequestHandler = (req, res, next) => {
      if (req.headers.authorization === undefined) res.sendStatus(401);
      else next();
    };
    const { url } = await startCounted({ allowedOrigins: [ORIGIN] }, (app, router) =>
      app.use('/mcp', router.preflight, denied, router),
    );
    const preflight = { origin: ORIGIN, 'access-control-request-method': 'POST' };
    await fetch(url, { method: 'OPTIONS', headers: preflight });
    await post(url, initializeBody(), { origin: 'https://evil.example' });
    // The app's own refusal is no response of the router.
    await post(url, initializeBody());
    await (await post(url, initializeBody(), { authorization: 'Bearer x' })).text();
    expect(await counted(3)).toEqual({ '204 none': 1, '403 originNotAllowed': 1, '200 none': 1 });
  });

  test('counts refusals of MCP 2026-07-28, and errors inside its replies', async () => {
    const { url } = await startCounted({ perRequest: true, serverFactory: () => askingServer() });
    await call(url, 'add', { a: 1, b: 2 });
    await send(url, 'tools/list', { headers: { 'mcp-method': 'ping' } });
    await send(url, 'no/such');
    await call(url, 'add', { a: 1, b: 2 }, { params: { requestState: 'forged' } });
    expect(await counted(4)).toEqual({
      '200 none': 1,
      '400 headerMismatch': 1,
      '404 methodNotFound': 1,
      '200 invalidRequestState': 1,
    });
  });

  test('does not count a request whose client disconnected before an answer', async () => {
    const hangUp = new AbortController();
    const { url } = await startCounted({
      serverFactory: () => {
        hangUp.abort();
        return new Promise(() => undefined);
      },
    });
    await expect(post(url, initializeBody(), {}, hangUp.signal)).rejects.toThrow();
    await post(url, '{');
    expect(await counted(1)).toEqual({ '400 parseError': 1 });
  });

  test('gives a status that HTTP does not define the label `other`', async () => {
    const strange: RequestHandler = (_req, res, next) => {
      const writeHead = res.writeHead.bind(res) as (status: number, headers: object) => typeof res;
      Object.assign(res, { writeHead: (_status: number, headers: object) => writeHead(799, headers) });
      next();
    };
    const { url } = await startCounted({}, (app, router) => app.use('/mcp', strange, router));
    await post(url, '{');
    expect(await counted(1)).toEqual({ 'other parseError': 1 });
  });

  test('counts the error even if other middleware has frozen `res.locals`', async () => {
    const freeze: RequestHandler = (_req, res, next) => {
      res.locals = Object.freeze({});
      next();
    };
    const { url } = await startCounted({}, (app, router) => app.use('/mcp', freeze, router));
    await post(url, '{');
    expect(await counted(1)).toEqual({ '400 parseError': 1 });
  });

  test('counts a response to a client at the node that the client asked, with the error of the owner', async () => {
    const cluster = await InProcessCluster.start();
    try {
      const [a, b] = await cluster.nodes(2);
      const id = await openSession(a!.url);
      const headers = { 'mcp-session-id': id };
      await (await post(b!.url, echoCall(1, 'x'), headers)).text();
      const refused = await post(b!.url, echoCall(2, 'x'), { ...headers, 'mcp-protocol-version': '1999-01-01' });
      expect([...refused.headers.keys()].filter((name) => name.startsWith('x-mcp'))).toEqual([]);
      expect(await counted(2, () => b!.metrics())).toEqual({ '200 none': 1, '400 unsupportedProtocolVersion': 1 });
      expect(await counted(2, () => a!.metrics())).toEqual({ '200 none': 1, '202 none': 1 });
    } finally {
      await cluster.stop();
    }
  }, 120_000);

  test('counts an `HttpError` of the app at the node that the client asked', async () => {
    const cluster = await InProcessCluster.start();
    try {
      let suspended = false;
      const serverFactory = (context: ServerContext) => {
        if (suspended) throw new HttpError(403);
        return echoServer(context);
      };
      const [a, b] = await cluster.nodes(2, { serverFactory, orphanAfter: 50, hibernateAfter: 50 });
      const id = await openSession(a!.url);
      await until('the session hibernates', () => a!.router.sessions.get(id)?.state === 'hibernated');
      suspended = true;
      expect((await post(b!.url, echoCall(1, 'x'), { 'mcp-session-id': id })).status).toBe(403);
      expect(await counted(1, () => b!.metrics())).toEqual({ '403 httpError': 1 });
    } finally {
      await cluster.stop();
    }
  }, 120_000);
});

test('the log line of a request that the guard refuses has the name of its error (docs/operations.md, "Logs")', async () => {
  const lines = new LogLines();
  const { url } = await startCounted({ logger: pino({}, lines) });
  await post(url, initializeBody(), { origin: 'https://evil.example' });
  await until('there is a line', () => lines.all.some(({ error }) => error === 'originNotAllowed'));
});
