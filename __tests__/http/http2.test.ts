import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import express, { type Express } from 'express';
import { Agent, fetch as undiciFetch } from 'undici';
import { mcpRouter, memoryEventStore, type McpRouter, type McpRouterOptions } from '../../src/index.js';
import { ON_NODE } from '../support/expresses.js';
import { echoCall, echoServer, initializeBody, JSON_HEADERS, messagesOf } from '../support/harness.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Express itself does not serve HTTP/2. http2-express makes an app of Express 4 or 5 that does.
const http2Express = ON_NODE
  ? (of: typeof express): Express => of()
  : jest.requireActual<(of: typeof express) => Express>('http2-express');

const TLS = {
  key: readFileSync('__tests__/support/tls/localhost-key.pem'),
  cert: readFileSync('__tests__/support/tls/localhost-cert.pem'),
};
/** Headers that a message in HTTP/2 must not have (RFC 9113, 8.2.2). */
const FORBIDDEN = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'];

const MODES: [name: string, options: () => Partial<McpRouterOptions>][] = [
  ['SSE', () => ({ eventStore: memoryEventStore() })],
  ['JSON', () => ({ enableJsonResponse: true, eventStore: memoryEventStore() })],
];

let router: McpRouter;
let servers: ReturnType<typeof echoServer>[];
let server: Server;
let ending: (() => unknown)[];
afterEach(async () => {
  for (const end of ending.reverse()) await end();
  await router.close();
  await new Promise((resolve) => server.close(resolve));
});

async function listen(options: Partial<McpRouterOptions>, make: (app: Express) => Server): Promise<number> {
  ending = [];
  servers = [];
  const serverFactory = () => {
    const made = echoServer();
    servers.push(made);
    return made;
  };
  router = mcpRouter({ serverFactory, logger: false, ...options });
  server = make(http2Express(express).use('/mcp', router)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

interface Reply {
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  readonly text: () => Promise<string>;
}

/** A client that shows the streams of HTTP/2. */
class H2 {
  readonly session: http2.ClientHttp2Session;

  constructor(port: number) {
    this.session = http2.connect(`http://127.0.0.1:${port}`);
    this.session.on('error', () => undefined);
    ending.push(() => this.session.destroy());
  }

  begin(method: string, headers: http2.OutgoingHttpHeaders = {}, endStream = false): http2.ClientHttp2Stream {
    const accept = method === 'GET' ? { accept: 'text/event-stream' } : JSON_HEADERS;
    const stream = this.session.request({ ':method': method, ':path': '/mcp', ...accept, ...headers }, { endStream });
    return stream.on('error', () => undefined);
  }

  async reply(stream: http2.ClientHttp2Stream): Promise<Reply> {
    const [headers] = (await soon('the head of a reply', once(stream, 'response'))) as [Reply['headers']];
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const ended = new Promise<string>((resolve) => stream.once('close', () => resolve(text)));
    return { headers, text: () => soon('the end of a reply', ended) };
  }

  send(method: string, headers: http2.OutgoingHttpHeaders = {}, body?: unknown): Promise<Reply> {
    const stream = this.begin(method, headers, body === undefined);
    const reply = this.reply(stream);
    if (body !== undefined) stream.end(JSON.stringify(body));
    return reply;
  }

  async open(): Promise<string> {
    const { headers, text } = await this.send('POST', {}, initializeBody());
    expect(headers[':status']).toBe(200);
    await text();
    const id = String(headers['mcp-session-id']);
    const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
    expect((await this.send('POST', { 'mcp-session-id': id }, initialized)).headers[':status']).toBe(202);
    return id;
  }
}

const h2c = async (options: Partial<McpRouterOptions> = {}): Promise<H2> =>
  new H2(await listen(options, (app) => http2.createServer(app as never)));

describe.each(MODES)('HTTP/2 (%s)', (_, options) => {
  test("the SDK's client connects over TLS, calls tools, gets notifications, and ends its session", async () => {
    const versions = new Set<string>();
    const port = await listen(options(), (app) =>
      http2.createSecureServer({ ...TLS, allowHTTP1: true }, ((req: never, res: never) => {
        versions.add((req as { httpVersion: string }).httpVersion);
        app(req, res);
      }) as never),
    );
    const agent = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } });
    ending.push(() => agent.destroy());
    const closed: string[] = [];
    router.sessions.on('closed', (_session, reason) => closed.push(reason));

    const client = new Client({ name: 'h2', version: '1.0.0' });
    const noted = new Deferred<unknown>();
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => noted.resolve(params.data));
    const transport = new StreamableHTTPClientTransport(new URL(`https://localhost:${port}/mcp`), {
      fetch: ((url: string, init: object) => undiciFetch(url, { ...init, dispatcher: agent })) as never,
    });
    ending.push(() => client.close());
    await client.connect(transport);
    for (const text of ['one', 'two']) {
      const { content } = await client.callTool({ name: 'echo', arguments: { text } });
      expect(content).toEqual([{ type: 'text', text }]);
    }
    expect(router.sessions.stats()).toMatchObject({ active: 1 });
    await until('the stream is open', () => router.sessions.list()[0]?.idleMs === 0);
    await servers[0]!.sendLoggingMessage({ level: 'info', data: 'noted' });
    expect(await soon('the notification', noted.promise)).toBe('noted');
    await transport.terminateSession();
    expect([closed, [...versions]]).toEqual([['deleted'], ['2.0']]);
  });

  test('a session outlives its initialize, serves calls and a stream, and no header is sent that HTTP/2 forbids', async () => {
    const client = await h2c(options());
    const id = await client.open();
    const call = await client.send('POST', { 'mcp-session-id': id }, echoCall(1, 'hello'));
    expect(await call.text()).toContain('hello');
    const stream = await client.send('GET', { 'mcp-session-id': id });
    expect([call, stream].map(({ headers }) => headers[':status'])).toEqual([200, 200]);
    expect(router.sessions.stats()).toMatchObject({ active: 1 });
    const ended = await client.send('DELETE', { 'mcp-session-id': id });
    expect(ended.headers[':status']).toBe(200);
    await stream.text();
    const names = [call, stream, ended].flatMap(({ headers }) => Object.keys(headers));
    expect(names.filter((name) => FORBIDDEN.includes(name))).toEqual([]);
  });
});

describe('HTTP/2', () => {
  test('a stream that its client resets resumes on another stream', async () => {
    const client = await h2c({ eventStore: memoryEventStore() });
    const id = await client.open();
    const first = client.begin('GET', { 'mcp-session-id': id }, true);
    const [chunk] = (await once(first.setEncoding('utf8'), 'data')) as [string];
    const lastEventId = /^id: (.+)$/m.exec(chunk)?.[1] ?? '';
    first.close(http2.constants.NGHTTP2_CANCEL);
    await until('the router knows', () => router.sessions.get(id)?.idleMs !== 0);
    await servers[0]!.sendLoggingMessage({ level: 'info', data: 'missed' });
    const second = client.begin('GET', { 'mcp-session-id': id, 'last-event-id': lastEventId }, true);
    const [replayed] = (await soon('the replay', once(second.setEncoding('utf8'), 'data'))) as [string];
    expect(messagesOf(replayed)).toMatchObject([{ method: 'notifications/message', params: { data: 'missed' } }]);
  });

  test('a session whose client resets the stream of its initialize ends as failed', async () => {
    const called = new Deferred();
    const gate = new Deferred();
    const client = await h2c({
      serverFactory: async () => (called.resolve(), await gate.promise, echoServer()),
    });
    const stream = client.begin('POST');
    stream.end(JSON.stringify(initializeBody()));
    await called.promise;
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await until('the opening is given up', () => router.sessions.stats().initializing === 0);
    gate.resolve();
    expect(router.sessions.list()).toEqual([]);
  });

  test.each<[http2.OutgoingHttpHeaders, number]>([
    [{ ':authority': 'evil.example' }, 403],
    [{ ':authority': 'evil.example', host: 'localhost' }, 403],
    [{ ':authority': 'localhost' }, 200],
    [{ ':authority': 'localhost:1234', origin: 'http://localhost:1234' }, 200],
    [{ ':authority': 'localhost:1234', origin: 'http://localhost:4321' }, 403],
  ])(':authority is checked as Host is, and goes before it (RFC 9113, 8.3.1): %j gets %d', async (headers, status) => {
    const client = await h2c();
    expect((await client.send('POST', headers, initializeBody())).headers[':status']).toBe(status);
  });

  test('a POST whose body never comes is ended by close, and so is its stream', async () => {
    const client = await h2c();
    const stream = client.begin('POST');
    stream.write('{');
    const reply = client.reply(stream);
    await once(server, 'request');
    await router.close();
    const { headers, text } = await reply;
    expect(headers[':status']).toBe(503);
    expect(await text()).toContain('shutting down');
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
  });

  test('a client that does not read its reply holds up its session no longer than two keep-alive intervals', async () => {
    const client = await h2c({ keepAlive: 50 });
    const id = await client.open();
    const stream = client.begin('POST', { 'mcp-session-id': id });
    stream.end(JSON.stringify(echoCall(1, 'x'.repeat(1_000_000))));
    await once(stream, 'response');
    await soon('the stream is reset', once(stream, 'close'));
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    await until('nothing holds the session', () => router.sessions.get(id)?.idleMs !== 0);
  });
});
