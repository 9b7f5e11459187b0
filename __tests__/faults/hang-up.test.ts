import type { Socket } from 'node:net';
import express from 'express';
import type { McpRouterOptions, McpServerLike, ServerFactory } from '../../src/index.js';
import { initializeBody, JSON_HEADERS, post } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { scriptedServer, startScripted, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const MODES: [name: string, options: Partial<McpRouterOptions>][] = [
  ['SSE', {}],
  ['JSON', { enableJsonResponse: true }],
  ['stateless', { stateless: true }],
];

const INITIALIZE = requestBytes('POST', '/mcp', Object.entries(JSON_HEADERS), JSON.stringify(initializeBody()));

/** What must be so in the end: no session, no server, no timer, and gauges that say so. */
async function expectNothingLeft(): Promise<void> {
  await until('no timer is left', () => harness.clock.pending === 0);
  await until('no server is open', () => harness.serversOpen() === 0);
  expect(harness.router.sessions.list()).toEqual([]);
  expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  const metrics = await gauges();
  for (const gauge of ['mcp_sessions_active', 'mcp_streams_open']) expect(metrics.get(gauge) ?? 0).toBe(0);
}

/** Sum of each metric over its labels. */
async function gauges(): Promise<Map<string, number>> {
  const text = await (await fetch(new URL('/mcp/metrics', harness.url))).text();
  const sums = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/^(\w+)(?:\{.*\})? (\S+)$/gm)) {
    sums.set(name!, (sums.get(name!) ?? 0) + Number(value));
  }
  return sums;
}

describe.each(MODES)('a client that hangs up half-way through initialize (%s)', (_, options) => {
  test('while serverFactory works: the server that it makes is closed, and never connected', async () => {
    const called = new Deferred<AbortSignal>();
    const late = new Deferred<McpServerLike>();
    const serverFactory: ServerFactory = ({ signal }) => (called.resolve(signal), late.promise);
    harness = await startScripted({}, { serverFactory, ...options });
    const socket = await RawSocket.open(harness.url.port);
    await socket.write(INITIALIZE);
    const signal = await called.promise;
    socket.destroy();
    await until('the signal of the factory aborts', () => signal.aborted);
    expect(harness.router.sessions.stats().initializing).toBe(0);

    let connects = 0;
    const closed = new Deferred();
    late.resolve({ connect: async () => void (connects += 1), close: async () => closed.resolve() });
    await soon('the server is closed', closed.promise);
    expect(connects).toBe(0);
    await expectNothingLeft();
  });

  test('while connect works: the server is closed', async () => {
    const connecting = new Deferred();
    const closed = new Deferred();
    const server = scriptedServer({});
    const serverFactory = (): McpServerLike => ({
      connect: async (transport) => {
        await server.connect(transport);
        connecting.resolve();
        return never();
      },
      close: async () => closed.resolve(),
    });
    harness = await startScripted({}, { serverFactory, ...options });
    const socket = await RawSocket.open(harness.url.port);
    await socket.write(INITIALIZE);
    await connecting.promise;
    socket.destroy();
    await soon('the server is closed', closed.promise);
    await expectNothingLeft();
  });

  test('before its body is complete: no session begins', async () => {
    harness = await startScripted({}, options);
    const socket = await RawSocket.open(harness.url.port);
    await socket.write(INITIALIZE.subarray(0, -10));
    const served = new Promise((resolve) => harness.http.once('request', (_req, res) => res.once('close', resolve)));
    await soon('it is there', new Promise((resolve) => harness.http.once('request', resolve)));
    socket.destroy();
    await soon('it is gone', served);
    expect(harness.servers).toEqual([]);
    await expectNothingLeft();
  });
});

describe.each(MODES.slice(0, 2))('a client that hangs up half-way through initialize (%s)', (_, options) => {
  test('while the server answers it: no session, and the server is closed', async () => {
    const asked = new Deferred();
    harness = await startScripted({}, options, (server) => {
      server.removeRequestHandler('initialize');
      server.fallbackRequestHandler = () => (asked.resolve(), never());
    });
    const socket = await RawSocket.open(harness.url.port);
    await socket.write(INITIALIZE);
    await asked.promise;
    socket.destroy();
    await expectNothingLeft();
  });

  test('just before the reply is sent: the session ends as `failed`, as its client never had the ID', async () => {
    harness = await startScripted({}, options);
    const socket = await RawSocket.open(harness.url.port);
    const ended = new Promise((resolve) => harness.router.sessions.on('closed', (_info, reason) => resolve(reason)));
    // The router's own socket, destroyed between the opening and the reply.
    const accepted = new Promise<Socket>((resolve) => {
      harness.http.once('request', ({ socket: own }) => resolve(own));
    });
    const destroyed = new Promise<void>((resolve) => {
      harness.router.sessions.on('opened', () => void accepted.then((own) => resolve(void own.destroy())));
    });
    await socket.write(INITIALIZE);
    await destroyed;
    expect(await soon('the session has ended', ended)).toBe('failed');
    await expectNothingLeft();
  });

  test('while other middleware ran before the router: the session ends as soon as it is opened', async () => {
    const gate = new Deferred();
    const waiting = new Deferred();
    const gone = new Deferred();
    harness = await startScripted({}, options, undefined, (app, router) => {
      app.use('/mcp', express.json(), (_req, res, next) => {
        res.once('close', () => gone.resolve());
        waiting.resolve();
        void gate.promise.then(() => next());
      });
      app.use('/mcp', router);
    });
    const ended = new Promise((resolve) => harness.router.sessions.on('closed', (_info, reason) => resolve(reason)));
    const socket = await RawSocket.open(harness.url.port);
    await socket.write(INITIALIZE);
    await waiting.promise;
    socket.destroy();
    await gone.promise;
    gate.resolve();
    expect(await soon('the session has ended', ended)).toBe('failed');
    await expectNothingLeft();
  });
});

describe.each(MODES)('the router is closed while a session is being opened (%s)', (_, options) => {
  test.each(['close', 'drain'])('by %s(): 503 to the client, and the late server is closed', async (how) => {
    const called = new Deferred();
    const late = new Deferred<McpServerLike>();
    harness = await startScripted({}, { serverFactory: () => (called.resolve(), late.promise), ...options });
    const reply = post(harness.url, initializeBody());
    await called.promise;
    const closing = how === 'close' ? harness.router.close() : harness.router.drain(1_000);
    harness.clock.advance(1_000);
    const response = await soon('the reply has ended', reply);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    await soon('the router is closed', closing);
    const closed = new Deferred();
    late.resolve({ connect: never, close: async () => closed.resolve() });
    await soon('the server is closed', closed.promise);
    await expectNothingLeft();
  });
});
