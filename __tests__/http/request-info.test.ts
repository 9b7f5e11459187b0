import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createSecureServer, request as secureRequest } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpServer as McpServerV2 } from '@modelcontextprotocol/server';
import express, { type Express } from 'express';
import { lazyRequest, RequestInfo } from '../../src/http/request-info.js';
import { mcpRouter, type McpRouter, type McpServerLike } from '../../src/index.js';
import { ON_NODE } from '../support/expresses.js';
import { initializeBody, JSON_HEADERS, messagesOf, post } from '../support/harness.js';
import { buildProgram } from '../support/program.js';

const CALL = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'where', arguments: {} } };

const running: { server: Server; router: McpRouter }[] = [];
afterEach(async () => {
  for (const { server, router } of running.splice(0)) {
    await router.close();
    server.close();
  }
});

async function listen(server: Server, router: McpRouter): Promise<number> {
  running.push({ server, router });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function appOf(serverFactory: () => McpServerLike): { app: Express; router: McpRouter } {
  const app = express();
  const router = mcpRouter({ serverFactory, stateless: true, logger: false, enableJsonResponse: true });
  app.use('/mcp', router);
  return { app, router };
}

/** A server with a tool that returns its `requestInfo`, once through a copy and once through JSON. */
function serverV1(): McpServer {
  const server = new McpServer({ name: 'v1', version: '1.0.0' });
  server.registerTool('where', {}, ({ requestInfo }) => {
    const copy = { ...requestInfo };
    const told = {
      copied: copy.url?.href,
      json: JSON.parse(JSON.stringify(requestInfo)),
      same: requestInfo?.url === copy.url,
    };
    return { content: [{ type: 'text', text: JSON.stringify(told) }] };
  });
  return server;
}

interface Told {
  readonly copied: string;
  readonly json: { readonly url: string; readonly headers: Record<string, string> };
  readonly same: boolean;
}

function toldIn(text: string): unknown {
  const { result } = JSON.parse(text) as { result: { content: { text: string }[] } };
  return JSON.parse(result.content[0]?.text ?? '');
}

async function ask(port: number, headers: Record<string, string> = {}): Promise<Told> {
  const response = await post(new URL(`http://127.0.0.1:${port}/mcp?q=1`), CALL, headers);
  return toldIn(await response.text()) as Told;
}

describe('requestInfo, which version 1 of the SDK gives to handlers', () => {
  test('its url is an own property, so copies and JSON have it, with the path and the query of the request', async () => {
    const { app, router } = appOf(serverV1);
    const port = await listen(createServer(app), router);
    const told = await ask(port, { 'x-own': 'yes' });
    expect(told).toMatchObject({ copied: `http://127.0.0.1:${port}/mcp?q=1`, same: true });
    expect(told.json).toMatchObject({ url: told.copied, headers: { 'x-own': 'yes' } });
  });

  test('on a TLS socket it is https', async () => {
    const { app, router } = appOf(serverV1);
    const [key, cert] = ['localhost-key.pem', 'localhost-cert.pem'].map((file) =>
      readFileSync(join(__dirname, '../support/tls', file)),
    );
    const port = await listen(createSecureServer({ key, cert }, app), router);
    const sent = secureRequest({
      port,
      host: '127.0.0.1',
      path: '/mcp',
      method: 'POST',
      headers: { ...JSON_HEADERS, host: 'localhost' },
      rejectUnauthorized: false,
      agent: false,
    });
    sent.end(JSON.stringify(CALL));
    const [response] = await once(sent, 'response');
    let text = '';
    for await (const chunk of response) text += String(chunk);
    expect(toldIn(text)).toMatchObject({ copied: 'https://localhost/mcp' });
  });

  test.each<[trust: boolean | undefined, scheme: string]>(
    ON_NODE
      ? [[undefined, 'http:']]
      : [
          [true, 'https:'],
          [false, 'http:'],
        ],
  )(
    'X-Forwarded-Proto counts only if Express trusts it, X-Forwarded-Host never: trust proxy %s, %s',
    async (trust, scheme) => {
      const { app, router } = appOf(serverV1);
      if (trust !== undefined) app.set('trust proxy', trust);
      const port = await listen(createServer(app), router);
      const told = await ask(port, { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'mcp.example.com' });
      expect(told.copied).toBe(`${scheme}//127.0.0.1:${port}/mcp?q=1`);
    },
  );
});

test('a server of version 2 of the SDK has the request at ctx.http.req: method, URL and headers', async () => {
  const app = express();
  const router = mcpRouter({
    logger: false,
    serverFactory: () => {
      const server = new McpServerV2({ name: 'v2', version: '1.0.0' });
      server.registerTool('where', {}, (ctx) => {
        const req = ctx.http?.req;
        const told = {
          method: req?.method,
          url: req?.url,
          own: req?.headers.get('X-Own'),
          isRequest: req instanceof Request,
          copied: req?.clone().headers.get('x-own'),
        };
        return { content: [{ type: 'text', text: JSON.stringify(told) }] };
      });
      return server;
    },
  });
  app.use('/mcp', router);
  const port = await listen(createServer(app), router);
  const url = new URL(`http://127.0.0.1:${port}/mcp`);
  const opened = await post(url, initializeBody());
  await opened.text();
  const headers = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '', 'x-own': 'yes' };
  await post(url, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers);
  const [answer] = messagesOf(await (await post(url, CALL, headers)).text());
  expect(toldIn(JSON.stringify(answer))).toEqual({
    method: 'POST',
    url: url.href,
    own: 'yes',
    isRequest: true,
    copied: 'yes',
  });
});

test('the global Request, which makes Node load undici, is not read before a handler reads something of the request', () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'Request') as PropertyDescriptor;
  const { Request } = globalThis;
  const read = jest.fn(() => Request);
  Object.defineProperty(globalThis, 'Request', { configurable: true, get: read });
  try {
    const facts = { method: 'POST', headers: {}, originalUrl: '/mcp', host: 'localhost', protocol: 'http' };
    const request = lazyRequest(facts);
    expect(read).not.toHaveBeenCalled();
    expect([request.method, 'headers' in request, 'other' in request]).toEqual(['POST', true, false]);
    expect(inspect(request)).toContain("url: 'http://localhost/mcp'");
  } finally {
    Object.defineProperty(globalThis, 'Request', own);
  }
});

test('a handler that keeps its requestInfo does not keep the HTTP request and its socket in memory', async () => {
  // In a process of its own, as V8 may keep what other tests in a worker have used.
  const keepRequestInfo = buildProgram('__tests__/http/keep-request-info.ts');
  expect(await keepRequestInfo([], ['--expose-gc'])).toBe('/mcp\n');
});

describe('the URL of a request', () => {
  const facts = { method: 'POST', headers: {}, originalUrl: '/mcp?q=1', host: 'app.example', protocol: 'https' };

  test.each<[what: string, host: string | undefined, protocol: string, url: string]>([
    ['names the Host and the scheme', 'app.example', 'https', 'https://app.example/mcp?q=1'],
    ['is of localhost without a Host, as in HTTP/1.0', undefined, 'http', 'http://localhost/mcp?q=1'],
    ['keeps its path when the Host is not valid', 'a b', 'https', 'https://localhost/mcp?q=1'],
  ])('%s', (_what, host, protocol, url) => {
    expect(new RequestInfo({ ...facts, host, protocol }).url.href).toBe(url);
  });

  test('is read from a web request without the pseudo-headers of HTTP/2, and without headers that an app removed', () => {
    const headers = { ':authority': 'app.example', 'x-own': 'yes', 'x-removed': undefined, 'set-cookie': ['a', 'b'] };
    const request = lazyRequest({ ...facts, headers });
    expect([...request.headers]).toEqual([
      ['set-cookie', 'a'],
      ['set-cookie', 'b'],
      ['x-own', 'yes'],
    ]);
    expect(request.url).toBe('https://app.example/mcp?q=1');
  });
});
