import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import express, { type Express } from 'express';
import { createHttpServer, mcpRouter, stop, trackConnections, type McpRouter } from '../../src/index.js';
import { ON_NODE } from '../support/expresses.js';
import { echoServer, JSON_HEADERS, openSession, post } from '../support/harness.js';
import { FakeClock } from '../support/fake-clock.js';
import { requestBytes } from '../support/raw-http.js';
import { Deferred, soon, until } from '../support/waiting.js';

const http2Express = ON_NODE
  ? (of: typeof express): Express => of()
  : jest.requireActual<(of: typeof express) => Express>('http2-express');
const TLS = {
  key: readFileSync('__tests__/support/tls/localhost-key.pem'),
  cert: readFileSync('__tests__/support/tls/localhost-cert.pem'),
};

/** States in which a client may leave its socket. */
const STALLED: [name: string, bytes: Buffer | string][] = [
  ['a socket that has sent nothing', ''],
  ['half a request head', 'POST /mcp HTTP/1.1\r\nHo'],
  ['a POST to the router whose body never comes', partOf('/mcp')],
  ['a POST to another route whose body never comes', partOf('/other')],
];

function partOf(path: string): Buffer {
  const headers = [...Object.entries(JSON_HEADERS), ['Content-Length', '100']] as [string, string][];
  return requestBytes('POST', path, headers);
}

const SERVERS: [name: string, make: (app: Express) => net.Server, connect: (port: number) => net.Socket][] = [
  ['http', (app) => http.createServer(app), (port) => net.connect(port, '127.0.0.1')],
  ['createHttpServer', (app) => createHttpServer(app), (port) => net.connect(port, '127.0.0.1')],
  ['https', (app) => https.createServer(TLS, app), connectTls],
  ['http2 with allowHTTP1', (app) => http2.createSecureServer({ ...TLS, allowHTTP1: true }, app as never), connectTls],
];

function connectTls(port: number): net.Socket {
  return tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
}

let router: McpRouter;
let server: net.Server;
let sockets: net.Socket[];
beforeEach(() => (sockets = []));
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await router.close();
  server.close();
});

/** A route whose answer the test releases. */
const other = { called: new Deferred(), answer: new Deferred() };

async function listen(make: (app: Express) => net.Server, tracked = false, app = express()): Promise<number> {
  Object.assign(other, { called: new Deferred(), answer: new Deferred() });
  router = mcpRouter({ serverFactory: echoServer, logger: false });
  app.use('/mcp', router).use('/other', (req, res) => {
    other.called.resolve();
    if (req.method === 'GET') void other.answer.promise.then(() => res.end('other'));
  });
  server = make(app);
  if (tracked) trackConnections(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Sends the bytes, and resolves when the server has accepted the connection. */
async function open(connect: (port: number) => net.Socket, port: number, bytes: Buffer | string): Promise<void> {
  const socket = connect(port);
  sockets.push(socket);
  socket.on('error', () => undefined).resume();
  const connected = once(server, socket instanceof tls.TLSSocket ? 'secureConnection' : 'connection');
  if (bytes !== '') socket.write(bytes);
  await connected;
}

async function expectAllClosed(): Promise<void> {
  const count = (): Promise<number> => new Promise((resolve) => server.getConnections((_error, n) => resolve(n)));
  await until('every connection of the server is closed', async () => (await count()) === 0);
  expect(server.listening).toBe(false);
}

describe.each(SERVERS)('stop(server, router): %s', (name, make, connect) => {
  // Node does not know the sockets of an HTTP/2 server.
  const tracked = name.startsWith('http2');

  test.each(STALLED)('does not wait for %s', async (_, bytes) => {
    const port = await listen(make, tracked);
    await open(connect, port, bytes);
    await soon('all is stopped', stop(server, router, { timeoutMs: 400 }));
    await expectAllClosed();
    await until('the socket of the client has closed', () => sockets[0]!.closed);
  });
});

describe('stop(server, router)', () => {
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { text: 'a' } } };

  test('lets a running call finish, then a reply of another route, and closes idle connections', async () => {
    const port = await listen((app) => http.createServer(app));
    const url = new URL(`http://127.0.0.1:${port}/mcp`);
    const session = await openSession(url);
    const part = JSON.stringify(call);
    const waiting = http.request(url, {
      method: 'POST',
      headers: { ...JSON_HEADERS, 'mcp-session-id': session, 'content-length': part.length },
    });
    const replied = once(waiting, 'response') as Promise<[http.IncomingMessage]>;
    const arrived = once(server, 'request');
    waiting.write(part.slice(0, 10));
    await arrived;
    const slow = fetch(new URL('/other', url)).then((response) => response.text());
    await other.called.promise;

    const stopped = stop(server, router);
    // While the router drains, clients with a session still need the port, and new clients get 503.
    expect((await post(url, { ...call, id: 2 }, { 'mcp-session-id': session })).status).toBe(200);
    expect((await post(url, {})).status).toBe(400);
    waiting.end(part.slice(10));
    expect((await replied)[0].statusCode).toBe(200);
    (await replied)[0].resume();
    await until('no connection is taken any more', () => !server.listening);
    other.answer.resolve();
    expect(await slow).toBe('other');
    await soon('all is stopped', stopped);
    await expectAllClosed();
  });

  test('drains several routers at once, and a server that is closed already', async () => {
    await listen((app) => http.createServer(app));
    const second = mcpRouter({ serverFactory: echoServer, logger: false });
    server.close();
    await soon('all is stopped', Promise.all([stop(server, [router, second]), stop(server, [router, second])]));
    await expect(second.drain(0)).resolves.toBeUndefined();
    const ready = http.createServer(express().get('/', second.ready)).listen(0, '127.0.0.1');
    await once(ready, 'listening');
    expect((await fetch(`http://127.0.0.1:${(ready.address() as AddressInfo).port}`)).status).toBe(503);
    await stop(ready, []);
  });

  test('resolves in time although the server of a session never closes', async () => {
    const port = await listen((app) => http.createServer(app));
    const clock = new FakeClock();
    const hanging = mcpRouter({
      clock,
      serverFactory: () => Object.assign(echoServer(), { close: () => new Promise<void>(() => undefined) }),
      logger: false,
    });
    const app = express().use('/mcp', hanging);
    server.removeAllListeners('request').on('request', app);
    await openSession(new URL(`http://127.0.0.1:${port}/mcp`));
    await soon('all is stopped', stop(server, hanging, { timeoutMs: 100 }));
    await expectAllClosed();
    clock.advance(5_000);
    await soon('the router is, too', hanging.close());
  });

  test('ends an upgraded socket of a server whose connections are tracked', async () => {
    const port = await listen((app) => http.createServer(app), true);
    const upgraded = once(server, 'upgrade');
    await open(
      (at) => net.connect(at, '127.0.0.1'),
      port,
      requestBytes('GET', '/', [
        ['Connection', 'upgrade'],
        ['Upgrade', 'x'],
      ]),
    );
    await upgraded;
    await soon('all is stopped', stop(server, router, { timeoutMs: 100 }));
    await expectAllClosed();
  });

  test('ends the connections of a tracked HTTP/2 server, after their open streams', async () => {
    const port = await listen((app) => http2.createServer(app as never), true, http2Express(express));
    const idle = http2.connect(`http://127.0.0.1:${port}`);
    const busy = http2.connect(`http://127.0.0.1:${port}`);
    const closed = [idle, busy].map((session) => once(session, 'close'));
    await once(idle, 'remoteSettings');
    const stream = busy.request({ ':path': '/other' });
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    await other.called.promise;
    const stopped = stop(server, router);
    await soon('the idle session is closed', closed[0]!);
    const looks = jest.spyOn(server, 'getConnections');
    await until('the connections are looked at again', () => looks.mock.calls.length > 1);
    other.answer.resolve();
    await soon('all is stopped', stopped);
    await soon('the other one, too', closed[1]!);
    expect(text).toBe('other');
    await expectAllClosed();
  });

  test('closes a tracked socket that has sent nothing while another connection may still finish', async () => {
    const port = await listen((app) => http.createServer(app), true);
    await open((at) => net.connect(at, '127.0.0.1'), port, '');
    const slow = fetch(`http://127.0.0.1:${port}/other`).then((response) => response.text());
    await other.called.promise;
    const stopped = stop(server, router);
    await soon('the silent socket is closed', once(sockets[0]!, 'close'));
    other.answer.resolve();
    expect(await slow).toBe('other');
    await soon('all is stopped', stopped);
  });

  test('ends at once when the number of connections is unknown', async () => {
    await listen((app) => http.createServer(app));
    await open((at) => net.connect(at, '127.0.0.1'), (server.address() as AddressInfo).port, '');
    const counted = jest.spyOn(server, 'getConnections').mockImplementation((callback) => {
      callback(new Error('the primary has gone'), undefined as never);
      return server;
    });
    await soon('all is stopped', stop(server, router));
    expect(counted).toHaveBeenCalledTimes(1);
    counted.mockRestore();
    await expectAllClosed();
  });

  test.each([0, -1, NaN, Infinity, 2 ** 31, '1000'])('refuses %p as timeoutMs, and stops nothing', async (ms) => {
    const port = await listen((app) => http.createServer(app));
    await expect(stop(server, router, { timeoutMs: ms as number })).rejects.toThrow(
      `stop: timeoutMs takes milliseconds from 1 to 2147483647; got ${ms}`,
    );
    await openSession(new URL(`http://127.0.0.1:${port}/mcp`));
  });
});
