import { setImmediate } from 'node:timers/promises';
import { Registry } from 'prom-client';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { askingServer } from '../endpoint/asking-server.js';
import { storeWith } from '../support/event-stores.js';
import { countsIn, valueOf } from '../support/exposition.js';
import { EventStream } from '../support/event-stream.js';
import { start } from '../support/harness.js';
import type { RawSession } from '../support/raw-session.js';
import { startScripted, type Method, type Scripted } from '../support/scripted.js';
import { StalledReader } from '../support/stalled-reader.js';
import { subscribe } from '../support/per-request.js';
import { soon, until } from '../support/waiting.js';

const KIB = 1024;
const MESSAGE = 'x'.repeat(64 * KIB);

let registry: Registry;
let harness: Scripted;
beforeEach(() => (registry = new Registry()));
afterEach(() => harness.close());

async function begin(options: Partial<McpRouterOptions> = {}, methods: Readonly<Record<string, Method>> = {}) {
  harness = await startScripted(methods, { metrics: { registry }, ...options });
  return harness.session();
}

const countsOf = async (counter: string) => countsIn(await registry.metrics(), counter);

async function becomes(counter: string, expected: Record<string, number>): Promise<void> {
  await until(`${counter} counts`, async () => Object.keys(await countsOf(counter)).length > 0);
  expect(await countsOf(counter)).toEqual(expected);
}

const closed = (expected: Record<string, number>) => becomes('mcp_streams_closed_total', expected);
const resumed = (expected: Record<string, number>) => becomes('mcp_streams_resumed_total', expected);

/** Sends the one server's client more than the kernel takes for it, until its stream is broken off. */
async function flood({ res }: StalledReader): Promise<void> {
  await until('the stream is open', () => res.headersSent);
  while (!res.closed) {
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: MESSAGE });
    await setImmediate();
  }
}

describe('mcp_streams_closed_total (docs/operations.md, "Streams")', () => {
  test('`ended`: the server ends the stream, with its session for example', async () => {
    const session = await begin();
    const stream = await session.stream();
    await session.terminate();
    await stream.messages();
    await closed({ 'standalone ended': 1 });
  });

  test('`ended`: a reply that was a stream is over', async () => {
    const session = await begin(
      {},
      {
        tell: async (_params, extra) => {
          await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'x' } });
          return {};
        },
      },
    );
    await (await session.request(1, 'tell')).text();
    await closed({ 'request ended': 1 });
  });

  test('`disconnected`: the client closes the stream', async () => {
    const session = await begin();
    const hangUp = new AbortController();
    await session.stream(undefined, hangUp.signal);
    hangUp.abort();
    await closed({ 'standalone disconnected': 1 });
  });

  test.each<[string, Partial<McpRouterOptions>]>([
    ['more than maxStreamBuffer waits', { maxStreamBuffer: 256 * KIB }],
    [
      'more than maxStreamBuffer waits, with an event store',
      { maxStreamBuffer: 256 * KIB, eventStore: memoryEventStore() },
    ],
  ])('`slow_reader`: %s', async (_, options) => {
    const session = await begin(options);
    await flood(await StalledReader.open(harness.http, session));
    await closed({ 'standalone slow_reader': 1 });
  });

  test('`slow_reader`: all replies together exceed maxReplyMemory', async () => {
    const session = await begin({ maxReplyMemory: 512 * KIB, maxStreamBuffer: 64 * 1024 * KIB });
    const other = await harness.session();
    const readers = [await StalledReader.open(harness.http, session), await StalledReader.open(harness.http, other)];
    await until('the streams are open', () => readers.every(({ res }) => res.headersSent));
    while (!readers.some(({ res }) => res.closed)) {
      for (const server of harness.servers) await server.sendLoggingMessage({ level: 'info', data: MESSAGE });
      await setImmediate();
    }
    await closed({ 'standalone slow_reader': 1 });
  });

  test('`slow_reader`: the client reads nothing for two keep-alive intervals', async () => {
    const session = await begin({ keepAlive: 1_000, maxStreamBuffer: 256 * KIB });
    const reader = await StalledReader.open(harness.http, session);
    await until('the stream is open', () => reader.res.headersSent);
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'x'.repeat(8 * 1024 * KIB) });
    await reader.full();
    harness.clock.advance(1_000);
    // Node's own socket time-out measures the second interval.
    await until('it is broken off', () => reader.res.closed);
    await closed({ 'standalone slow_reader': 1 });
  });

  test('`ping_unanswered`: the client does not answer a ping', async () => {
    const session = await begin({ pingInterval: 10_000, keepAlive: 1_000_000, ttl: 2_000_000 });
    const stream = await session.stream();
    harness.clock.advance(10_000);
    await stream.message();
    harness.clock.advance(10_000);
    await closed({ 'standalone ping_unanswered': 1 });
  });

  test('`replaced`: a second GET takes the stream of a client that does not answer', async () => {
    const session = await begin();
    const first = await session.stream();
    const second = session.stream();
    await first.message();
    harness.clock.advance(2_000);
    await second;
    await closed({ 'standalone replaced': 1 });
  });

  test('`failed`: other middleware throws when the stream is written', async () => {
    harness = await startScripted({}, { metrics: { registry } }, undefined, (app, router) => {
      app.use('/mcp', (req, res, next) => {
        let writes = 0;
        const write = res.write.bind(res) as (text: string) => boolean;
        const failing = (text: string): boolean => {
          if ((writes += 1) > 1) throw new Error('broken');
          return write(text);
        };
        if (req.method === 'GET') Object.assign(res, { write: failing });
        next();
      });
      app.use('/mcp', router);
    });
    const session = await harness.session();
    await session.stream();
    for (let n = 0; n < 2; n += 1) {
      await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: n });
      await setImmediate();
    }
    await closed({ 'standalone failed': 1 });
  });

  test('a subscription of MCP 2026-07-28 is a stream of its own kind', async () => {
    await begin();
    const other = await start({ metrics: { registry }, perRequest: true, serverFactory: () => askingServer() });
    const hangUp = new AbortController();
    await subscribe(other.url, { toolsListChanged: true }, { signal: hangUp.signal });
    hangUp.abort();
    await closed({ 'subscription disconnected': 1 });
    await other.close();
  });
});

describe('mcp_streams_resumed_total (docs/operations.md, "Streams")', () => {
  const say = (data: string) => harness.servers[0]!.sendLoggingMessage({ level: 'info', data });
  const lostStream = async (session: RawSession): Promise<string> => (await harness.openAndLose(session))!;

  test('`recovered`: the client gets what it missed on a stream that goes on', async () => {
    const session = await begin({ eventStore: memoryEventStore() });
    const lastEventId = await lostStream(session);
    await say('missed');
    const stream = await session.stream(lastEventId);
    expect(await soon('what it missed', stream.message())).toMatchObject({ params: { data: 'missed' } });
    await resumed({ recovered: 1 });
  });

  test('`recovered`: the client gets the rest of a reply that is over, or learns that there is none', async () => {
    const session = await begin({ eventStore: memoryEventStore() });
    const blocks = await new EventStream(await session.request(1, 'ping')).blocks();
    await (await session.get(blocks[0]!.id)).text();
    await resumed({ recovered: 1 });
    expect((await session.get(blocks.at(-1)!.id)).status).toBe(204);
    await until('both are counted', async () => (await countsOf('mcp_streams_resumed_total')).recovered === 2);
  });

  test('`lost`: the event is not kept any more', async () => {
    const session = await begin({ eventStore: memoryEventStore() });
    expect((await session.get('no-such-event')).status).toBe(400);
    await resumed({ lost: 1 });
  });

  test('`lost`: the answer to a request was not stored', async () => {
    const eventStore = storeWith((inner) => ({
      storeEvent: (stream, message) =>
        'result' in message ? Promise.reject(new Error('full')) : inner.storeEvent(stream, message),
    }));
    const session = await begin({ eventStore });
    const blocks = await new EventStream(await session.request(1, 'ping')).blocks();
    harness.clock.advance(300_000);
    expect(await (await session.get(blocks[0]!.id)).text()).toContain('could not be stored');
    await resumed({ lost: 1 });
  });

  test('does not count a resume while the store does not answer: the client tries again', async () => {
    const eventStore = storeWith(() => ({ getStreamIdForEventId: () => Promise.reject(new Error('down')) }));
    const session = await begin({ eventStore });
    const lastEventId = await lostStream(session);
    expect((await session.get(lastEventId)).status).toBe(503);
    expect(await countsOf('mcp_streams_resumed_total')).toEqual({});
  });
});

test('mcp_sessions_limit is the option maxSessions', async () => {
  await begin({ maxSessions: 7 });
  expect(valueOf(await registry.metrics(), 'mcp_sessions_limit')).toBe(7);
});
