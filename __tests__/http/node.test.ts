import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { pino } from 'pino';
import { Agent, fetch as undiciFetch } from 'undici';
import {
  createMcpEndpoint,
  principalOf,
  type HttpRequest,
  type McpEndpoint,
  type McpEndpointOptions,
} from '../../src/node.js';
import {
  echoCall,
  echoServer,
  initializeBody,
  JSON_HEADERS,
  messagesOf,
  openSession,
  post,
} from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { until } from '../support/waiting.js';

// createMcpEndpoint without any router before it (docs/http.md, "Without Express"). With HTTP=node, the other suites go through it.

const TLS = {
  key: readFileSync('__tests__/support/tls/localhost-key.pem'),
  cert: readFileSync('__tests__/support/tls/localhost-cert.pem'),
};
const CALL = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'where' } };

/** Its tool `where` tells the URL that the server sees. */
function whereServer(): McpServer {
  const server = echoServer();
  server.registerTool('where', {}, ({ requestInfo }) => ({
    content: [{ type: 'text', text: String(requestInfo?.url) }],
  }));
  return server;
}

type Serve = (mcp: McpEndpoint, req: HttpRequest, res: ServerResponse) => void;
const handle: Serve = (mcp, req, res) => mcp.handle(req, res);

let mcp: McpEndpoint;
let server: Server | undefined;
afterEach(async () => {
  await mcp.close();
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

async function begin(
  serve: Serve = handle,
  options: Partial<McpEndpointOptions> = {},
  make: (listener: RequestListener) => Server = createServer,
): Promise<URL> {
  mcp = createMcpEndpoint({ serverFactory: whereServer, logger: false, ...options });
  server = make((req, res) => serve(mcp, req, res)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/any/path?of=the-app`);
}

async function whereAsked(url: URL, headers: Record<string, string> = {}): Promise<unknown> {
  const session = await openSession(url);
  const [answer] = messagesOf(await (await post(url, CALL, { 'mcp-session-id': session, ...headers })).text());
  return (answer as { result: { content: [{ text: string }] } }).result.content[0].text;
}

describe('the URL that a server sees', () => {
  test('is that of the request, whatever path the app has routed to the endpoint', async () => {
    const url = await begin();
    expect(await whereAsked(url)).toBe(url.href);
  });

  test('is http on a plain socket, also where a client claims otherwise', async () => {
    const url = await begin();
    const claims = { 'x-forwarded-proto': 'https', forwarded: 'proto=https;host=evil.example' };
    expect(await whereAsked(url, claims)).toBe(url.href);
  });

  test('has the scheme and the path that the app has set', async () => {
    const url = await begin((endpoint, req, res) => {
      req.protocol = 'https';
      req.originalUrl = '/before/the/mount';
      endpoint.handle(req, res);
    });
    expect(await whereAsked(url)).toBe(`https://${url.host}/before/the/mount`);
  });

  test('is https on a TLS socket', async () => {
    const { port } = await begin(handle, { stateless: true }, (listener) => createTlsServer(TLS, listener));
    const url = `https://localhost:${port}/mcp`;
    const dispatcher = new Agent({ connect: { ca: TLS.cert, family: 4 } });
    const init = { method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(CALL), dispatcher };
    expect(await (await undiciFetch(url, init)).text()).toContain(url);
    await dispatcher.close();
  });
});

describe('what the app has set on the request', () => {
  test('req.auth names the principal and reaches the factory', async () => {
    const auth = { token: 'secret', clientId: 'client', scopes: [], extra: { sub: 'alice' } };
    const seen: unknown[] = [];
    const url = await begin(
      (endpoint, req, res) => {
        req.auth = auth;
        endpoint.handle(req, res);
      },
      {
        serverFactory: ({ principal, req }) => {
          seen.push(principal, req.auth);
          return whereServer();
        },
      },
    );
    await openSession(url);
    expect(seen).toEqual([principalOf(auth), auth]);
  });

  test('req.body counts if other code has read the body', async () => {
    const url = await begin((endpoint, req, res) => {
      const chunks: Buffer[] = [];
      req.on('data', (chunk: Buffer) => chunks.push(chunk));
      req.on('end', () => {
        req.body = JSON.parse(Buffer.concat(chunks).toString());
        endpoint.handle(req, res);
      });
    });
    expect(await whereAsked(url)).toBe(url.href);
  });

  test('req.log keeps the endpoint from logging; the facts for the app are in res.locals.mcp', async () => {
    const facts: unknown[] = [];
    const lines = new LogLines();
    const url = await begin(
      (endpoint, req, res) => {
        Object.assign(req, { log: {} });
        res.on('close', () => facts.push((res as { locals?: { mcp?: unknown } }).locals?.mcp));
        endpoint.handle(req, res);
      },
      { logger: pino({}, lines) },
    );
    await (await post(url, initializeBody())).text();
    await until('the response has closed', () => facts.length > 0);
    expect(facts).toEqual([{ method: 'initialize', session: expect.any(String) }]);
    expect(lines.all.map(({ msg }) => msg)).not.toContain('request completed');
  });
});

describe('preflight', () => {
  const ORIGIN = 'https://app.example';
  const preflight = { origin: ORIGIN, 'access-control-request-method': 'POST' };
  const behindPreflight: Serve = (endpoint, req, res) => {
    if (!endpoint.preflight(req, res)) res.writeHead(401).end();
  };

  test('answers a preflight, and leaves another request to the app with the CORS headers set', async () => {
    const url = await begin(behindPreflight, { allowedOrigins: [ORIGIN] });
    const asked = await fetch(url, { method: 'OPTIONS', headers: preflight });
    expect([asked.status, asked.headers.get('access-control-allow-origin')]).toEqual([204, ORIGIN]);
    const refused = await fetch(url, { method: 'POST', headers: { origin: ORIGIN } });
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, ORIGIN]);
  });

  test('refuses an Origin that is not allowed', async () => {
    const url = await begin(behindPreflight, { allowedOrigins: [ORIGIN] });
    expect((await fetch(url, { method: 'POST', headers: { origin: 'https://evil.example' } })).status).toBe(403);
  });
});

test('metrics, health and ready answer under any path; without metrics it is 404', async () => {
  let url = await begin((endpoint, req, res) => {
    const handlers = { '/m': endpoint.metrics, '/h': endpoint.health, '/r': endpoint.ready };
    handlers[req.url as keyof typeof handlers](req, res);
  });
  const statusOf = async (path: string) => (await fetch(new URL(path, url))).status;
  expect(await Promise.all(['/m', '/h', '/r'].map(statusOf))).toEqual([200, 200, 200]);
  await mcp.drain(0);
  expect(await Promise.all(['/m', '/h', '/r'].map(statusOf))).toEqual([200, 200, 503]);
  server?.close();
  url = await begin((endpoint, req, res) => endpoint.metrics(req, res), { metrics: false });
  expect(await statusOf('/m')).toBe(404);
});

test('handle answers 405 for a method that the endpoint does not have', async () => {
  const url = await begin(handle, { stateless: true });
  const answer = await fetch(url, { method: 'DELETE' });
  expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
  expect((await post(url, echoCall(1, 'hello'))).status).toBe(200);
});

test.each([{ path: '/mcp' }, { metrics: { route: true } }])(
  '%j is refused: the app routes requests',
  async (options) => {
    await begin();
    const all = { serverFactory: whereServer, ...options } as McpEndpointOptions;
    expect(() => createMcpEndpoint(all)).toThrow(
      new TypeError(
        'createMcpEndpoint: options path and metrics.route are for mcpRouter; here the app routes requests',
      ),
    );
  },
);
