import type { Express, RequestHandler } from 'express';
import { pino } from 'pino';
import { isHttpError } from '../../src/http-error.js';
import { HttpError, mcpErrorHandler, type HttpErrorOptions, type McpRouterOptions } from '../../src/index.js';
import { memoryStore } from '../../src/stores/index.js';
import { echoCall, echoServer, initializeBody, openSession, post, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { send } from '../support/per-request.js';

let harness: Harness | undefined;
afterEach(() => harness?.close());

const SUSPENDED = new HttpError(402, { code: -32050, message: 'Suspended', headers: { 'X-Plan': 'none' } });
const suspend = (): never => {
  throw SUSPENDED;
};

async function initialized(options: Partial<McpRouterOptions>, headers: Record<string, string> = {}) {
  harness = await start(options);
  return post(harness.url, initializeBody(7), headers);
}

const ERROR = { code: -32050, message: 'Suspended' };

describe('an HttpError is the answer to a request that the app refuses', () => {
  test('when `serverFactory` throws it: status, headers, and a JSON-RPC error with the ID of the request', async () => {
    const response = await initialized({ serverFactory: suspend });
    expect(response.status).toBe(402);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.get('x-plan')).toBe('none');
    expect(await response.json()).toEqual({ jsonrpc: '2.0', error: ERROR, id: 7 });
    expect(harness?.router.sessions.stats()).toMatchObject({ active: 0 });
  });

  test('when `serverFactory` rejects with it', async () => {
    const response = await initialized({ serverFactory: () => Promise.reject(SUSPENDED) });
    expect([response.status, await response.json()]).toMatchObject([402, { error: ERROR }]);
  });

  test('when `principal` throws it, before the body is read: the ID is null', async () => {
    const response = await initialized({ principal: suspend });
    expect([response.status, await response.json()]).toEqual([402, { jsonrpc: '2.0', error: ERROR, id: null }]);
  });

  test('when the router keeps no sessions', async () => {
    const response = await initialized({ stateless: true, serverFactory: suspend });
    expect([response.status, await response.json()]).toMatchObject([402, { error: ERROR, id: 7 }]);
  });

  test.each(['request', 'principal'] as const)('of MCP 2026-07-28, with a server for each %s', async (servers) => {
    harness = await start({ perRequest: { servers }, serverFactory: suspend, principal: () => 'alice' });
    expect(await send(harness.url, 'tools/list')).toMatchObject({ status: 402, error: ERROR });
  });

  test('when a session is restored: the record is kept, and the session works once the app lets it', async () => {
    const store = memoryStore();
    const first = await start({ store });
    const session = await openSession(first.url);
    await first.router.drain(0);
    await first.close();
    let isSuspended = true;
    harness = await start({ store, serverFactory: () => (isSuspended ? suspend() : echoServer()) });
    const call = () => post(harness!.url, echoCall(1, 'hello'), { 'mcp-session-id': session });
    const refused = await call();
    expect([refused.status, await refused.json()]).toMatchObject([402, { error: ERROR, id: 1 }]);
    isSuspended = false;
    const served = await call();
    expect([served.status, await served.text()]).toEqual([200, expect.stringContaining('hello')]);
  });

  test('when middleware before mcpErrorHandler() throws it', async () => {
    const mount = (app: Express, router: RequestHandler) =>
      app.use('/mcp', suspend as RequestHandler, router, mcpErrorHandler());
    harness = await start({}, mount);
    const response = await post(harness.url, initializeBody());
    expect([response.status, await response.json()]).toEqual([402, { jsonrpc: '2.0', error: ERROR, id: null }]);
  });

  test('of another copy of the package, as when one part of an app imports it and another requires it', async () => {
    const other = Object.assign(new Error('Suspended'), { status: 402, code: -32050, headers: {} });
    Object.defineProperty(other, Symbol.for('express-mcp-router.HttpError'), { value: true });
    const response = await initialized({
      serverFactory: () => {
        throw other;
      },
    });
    expect([response.status, await response.json()]).toMatchObject([402, { error: ERROR }]);
  });
});

describe('the headers of an HttpError', () => {
  const answer = async (status: number, headers?: Record<string, string>) => {
    const options = headers && { headers };
    const principal = () => {
      throw new HttpError(status, options);
    };
    return (await initialized({ principal })).headers;
  };

  test.each([
    [401, 'www-authenticate', 'Bearer'],
    [429, 'retry-after', '5'],
    [503, 'retry-after', '5'],
  ])('%i has %s: %s by default', async (status, name, value) => {
    expect((await answer(status)).get(name)).toBe(value);
  });

  test('replace the default in any case', async () => {
    expect((await answer(429, { 'retry-AFTER': '60' })).get('retry-after')).toBe('60');
  });

  test('do not change what describes the body', async () => {
    const headers = await answer(403, { 'Content-Type': 'text/html', 'content-length': '1', 'X-Why': 'plan' });
    expect([headers.get('content-type'), headers.get('x-why')]).toEqual(['application/json', 'plan']);
  });
});

describe('in the log and the metrics', () => {
  const refusing = (options?: HttpErrorOptions) => ({
    serverFactory: () => {
      throw new HttpError(403, options);
    },
  });

  test('a refusal is no failure; it is counted', async () => {
    const log = new LogLines();
    await initialized({ ...refusing(), logger: pino({}, log) });
    expect(log.all.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    const metrics = await (await fetch(`${harness!.url.href}/metrics`)).text();
    expect(metrics).toContain('mcp_sessions_rejected_total{reason="httpError"} 1');
    expect(metrics).toContain('mcp_http_responses_total{status="403",error="httpError"} 1');
  });

  test('its cause is logged, and never sent', async () => {
    const log = new LogLines();
    const response = await initialized({ ...refusing({ cause: new Error('SECRET-1') }), logger: pino({}, log) });
    expect(await response.text()).not.toContain('SECRET');
    expect(log.text).toContain('SECRET-1');
  });
});

describe('the constructor', () => {
  test('has the name of the status and -32000 as defaults', () => {
    const error = new HttpError(403);
    expect([error.status, error.code, error.message, error.headers]).toEqual([403, -32000, 'Forbidden', {}]);
    expect(isHttpError(error)).toBe(true);
    expect(isHttpError({ status: 403 })).toBe(false);
  });

  test.each<[number, HttpErrorOptions]>([
    [200, {}],
    [399, {}],
    [600, {}],
    [403.5, {}],
    [403, { code: 0.5 }],
    [403, { message: 7 as never }],
    [403, { headers: { 'a b': 'x' } }],
    [403, { headers: { a: 'x\r\nb: y' } }],
  ])('refuses (%p, %j) with a TypeError, as it could not be sent', (status, options) => {
    expect(() => new HttpError(status, options)).toThrow(expect.objectContaining({ name: 'TypeError' }));
  });
});

test("the router's own 401 names the resource metadata, so that clients learn where to sign in (RFC 9728, 5.1)", async () => {
  const resourceMetadataUrl = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp';
  const response = await initialized({ requirePrincipal: true, resourceMetadataUrl });
  expect(response.status).toBe(401);
  expect(response.headers.get('www-authenticate')).toBe(`Bearer resource_metadata="${resourceMetadataUrl}"`);
});
