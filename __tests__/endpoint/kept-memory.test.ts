import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { McpRouterOptions } from '../../src/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { JSON_HEADERS, post, start, type Harness } from '../support/harness.js';
import { bodyOf, call, headersOf, send, type PerRequest } from '../support/per-request.js';
import { Deferred, until } from '../support/waiting.js';
import { answersTo, askedBy, textOf } from './asked.js';
import { askingServer } from './asking-server.js';

// docs/http.md, "Refusals": `bodiesAtCapacity`, `suspendedAtCapacity`, `subscriptionsAtCapacity`. Requests in flight may take 16 MiB
// here. What the router keeps while no request is in flight may take a quarter of that: a quarter of it for each principal, and half
// of it for callers without one.

type Fields = Readonly<Record<string, unknown>>;

const MIB = 1024 * 1024;
const IN_FLIGHT = { status: 503, error: { message: expect.stringContaining('memory') as string } };
const SUSPENDED = { status: 503, error: { message: expect.stringContaining('wait for input') as string } };

const clock = new FakeClock();
const seen: string[] = [];
const streams: http.IncomingMessage[] = [];
let opened = 0;
let gate: Deferred | undefined;
let released: Deferred;
let kept: string;
let harness: Harness;

/** Its tool `late` asks, and returns before it is answered. */
function lateServer() {
  const server = askingServer({ seen });
  server.registerTool('late', {}, async () => {
    const form = { message: 'unawaited', requestedSchema: { type: 'object' as const, properties: {} } };
    server.server.elicitInput(form).catch(() => undefined);
    await released.promise;
    return { content: [{ type: 'text', text: kept }] };
  });
  return server;
}

async function serve(options: Partial<McpRouterOptions> = { perRequest: true }): Promise<void> {
  harness = await start({
    serverFactory: async () => {
      opened += 1;
      await gate?.promise;
      return lateServer();
    },
    principal: (req) => req.headers['x-user'] as string | undefined,
    maxBodyMemory: 4 * MIB,
    clock,
    ...options,
  });
}

beforeEach(() => {
  seen.splice(0);
  opened = 0;
  gate = undefined;
  released = new Deferred();
});
afterEach(async () => {
  gate?.resolve();
  released.resolve();
  for (const stream of streams.splice(0)) stream.destroy();
  await harness.close();
});

/** Arguments for `add`, or for a tool without parameters. The router counts 64 bytes for each value. */
const large = (mebibytes: number): Fields => ({ a: 1, b: 2, c: Array<object>(mebibytes * 16_384).fill({}) });
const of = (user: string, more: PerRequest = {}): PerRequest => ({
  capabilities: { elicitation: {} },
  headers: { 'x-user': user },
  ...more,
});
const anonymous: PerRequest = { capabilities: { elicitation: {} } };

/** Sends `subscriptions/listen`. Of what it sends, nothing is kept here. */
async function listen(user: string, params: Fields): Promise<http.IncomingMessage> {
  const request = of(user, { params });
  const method = 'subscriptions/listen';
  const headers = { ...JSON_HEADERS, ...headersOf(method, request) };
  const sent = http.request(harness.url, { agent: false, method: 'POST', headers });
  sent.on('error', () => undefined).end(JSON.stringify(bodyOf(method, request)));
  const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
  streams.push(response.on('error', () => undefined));
  return response;
}

/** Bytes of the heap that remain after GC. */
async function heap(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let n = 0; n < 5; n += 1) {
    await new Promise(setImmediate);
    collect();
  }
  return process.memoryUsage().heapUsed;
}

describe('what suspended calls keep', () => {
  test('is bounded for each principal, and refuses no request of another', async () => {
    await serve();
    const first = askedBy(await call(harness.url, 'wait', large(0.75), of('alice')));
    expect(await call(harness.url, 'wait', large(0.5), of('alice'))).toMatchObject(SUSPENDED);
    await until('its handler is aborted', () => seen.includes('aborted'));
    for (let n = 0; n < 2; n += 1) askedBy(await call(harness.url, 'wait', large(0.75), anonymous));
    expect(await call(harness.url, 'wait', large(0.75), anonymous)).toMatchObject(SUSPENDED);
    askedBy(await call(harness.url, 'wait', large(0.75), of('bob')));
    expect(textOf(await call(harness.url, 'add', large(15), of('carol')))).toBe('3');

    const params = { requestState: first.requestState, inputResponses: answersTo(first, { 'still there?': 'yes' }) };
    expect(textOf(await call(harness.url, 'wait', large(0.75), of('alice', { params })))).toBe('yes');
    askedBy(await call(harness.url, 'wait', large(0.75), of('alice')));
  });

  test('holds the result of a handler that did not wait for its answer, if it fits', async () => {
    await serve();
    kept = 'x'.repeat(MIB / 2);
    const { requestState } = askedBy(await call(harness.url, 'late', {}, of('alice')));
    released.resolve();
    const retry = () => call(harness.url, 'late', {}, of('alice', { params: { requestState } }));
    expect(textOf(await retry())).toBe(kept);
  });

  test('does not hold a result that is larger than the share of its principal: the state is unknown then', async () => {
    await serve();
    kept = 'x'.repeat(MIB);
    const { requestState } = askedBy(await call(harness.url, 'late', {}, of('alice')));
    released.resolve();
    const { error } = await call(harness.url, 'late', {}, of('alice', { params: { requestState } }));
    expect(error).toMatchObject({ code: -32602, message: expect.stringContaining('requestState') as string });
  });

  test('is nothing of a retry whose reply has ended', async () => {
    await serve();
    const before = await heap();
    for (let n = 0; n < 16; n += 1) {
      const { requestState } = askedBy(await call(harness.url, 'wait', {}, anonymous));
      const params = { requestState, inputResponses: { unasked: `${n}`.padEnd(3 * MIB) } };
      askedBy(await call(harness.url, 'wait', {}, { ...anonymous, params }));
    }
    expect((await heap()) - before).toBeLessThan(24 * MIB);
  });
});

describe('requests that wait for their server', () => {
  test.each<[string, Partial<McpRouterOptions>]>([
    ['of MCP 2026-07-28', { perRequest: true }],
    ['of a router without sessions', { stateless: true }],
  ])('%s count in the memory of requests in flight', async (_, options) => {
    gate = new Deferred();
    await serve(options);
    const ask = (id: number, args: Fields) =>
      'perRequest' in options
        ? call(harness.url, 'add', args, of('alice', { id }))
        : post(harness.url, { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'add', arguments: args } });
    const first = ask(1, large(10));
    await until('its server is being made', () => opened === 1);
    expect((await ask(2, large(10))).status).toBe(503);
    expect(opened).toBe(1);
    gate.resolve();
    expect((await first).status).toBe(200);
    expect((await ask(3, large(10))).status).toBe(200);
  });
});

describe('what a subscription keeps', () => {
  const notifications = { toolsListChanged: true };
  const uris = {
    ...notifications,
    resourceSubscriptions: Array.from({ length: 600 }, (_, n) => `test://${n}`.padEnd(1_000)),
  };

  test('is its filter, which is bounded for each principal', async () => {
    await serve();
    expect((await listen('alice', { notifications: uris })).statusCode).toBe(200);
    const refused = await listen('alice', { notifications: uris });
    expect([refused.statusCode, JSON.parse(await text(refused))]).toMatchObject([
      503,
      { error: { message: expect.stringContaining('too many subscriptions') as string } },
    ]);
    expect((await listen('bob', { notifications: uris })).statusCode).toBe(200);
    streams[0]!.destroy();
    await until('the stream is over', async () => (await listen('alice', { notifications: uris })).statusCode === 200);
  });

  test('is its whole request only until it is open, which counts in the memory of requests in flight', async () => {
    gate = new Deferred();
    await serve();
    const opening = listen('alice', { notifications, ...large(10) });
    await until('its server is being made', () => opened === 1);
    expect(await call(harness.url, 'add', large(10), of('bob'))).toMatchObject(IN_FLIGHT);
    gate.resolve();
    await once(await opening, 'data');
    expect(textOf(await call(harness.url, 'add', large(15), of('bob')))).toBe('3');
    const before = await heap();
    for (let n = 0; n < 16; n += 1) {
      await once(await listen('carol', { notifications, unused: `${n}`.padEnd(3 * MIB) }), 'data');
    }
    expect((await heap()) - before).toBeLessThan(24 * MIB);
  });
});

test('a client whose description of itself is larger than a session may keep is refused (docs/http.md, `invalidEnvelope`)', async () => {
  await serve();
  const discover = (capabilities: Fields) => send(harness.url, 'server/discover', { capabilities });
  expect((await discover({ experimental: { x: { y: 'x'.repeat(16_384) } } })).status).toBe(200);
  expect(await discover({ experimental: { x: { y: 'x'.repeat(65_536) } } })).toMatchObject({
    status: 400,
    error: { code: -32602 },
  });
});
