import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import compression from 'compression';
import type { Express } from 'express';
import { memoryEventStore, type McpRouter, type McpRouterOptions } from '../../src/index.js';
import { systemClock } from '../../src/runtime/clock.js';
import type { WireMessage } from '../support/event-stream.js';
import { initializeBody, messagesOf } from '../support/harness.js';
import { REPLIES, startScripted, type Extra, type Method, type Scripted } from '../support/scripted.js';
import type { RawSession } from '../support/raw-session.js';
import { StalledReader } from '../support/stalled-reader.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const KIB = 1024;
const MIB = 1024 * KIB;

const notify = ({ sendNotification }: Pick<Extra, 'sendNotification'>, data: string) =>
  sendNotification({ method: 'notifications/message', params: { level: 'info', data } });

/** The most that ever waited in the router for a reader. */
function watchBuffer(res: ServerResponse): { most: () => number; note: () => void } {
  let most = 0;
  return { most: () => most, note: () => (most = Math.max(most, res.writableLength)) };
}

describe('a reader that stalls', () => {
  const MESSAGE = 'x'.repeat(64 * KIB);
  const STORES: [string, Partial<McpRouterOptions>][] = [
    ['without an event store', {}],
    ['with an event store', { eventStore: memoryEventStore() }],
  ];

  test.each(STORES)(
    'costs at most maxStreamBuffer and one message more; then its stream ends (%s)',
    async (_, options) => {
      harness = await startScripted({}, { maxStreamBuffer: 256 * KIB, ...options });
      const session = await harness.session();
      const { res } = await StalledReader.open(harness.http, session);
      await until('the stream is open', () => res.headersSent);
      const { most, note } = watchBuffer(res);
      // What the kernel takes for a reader is not the router's to bound.
      for (let sent = 0; !res.closed && sent < 8 * MIB; sent += MESSAGE.length) {
        await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: MESSAGE });
        note();
        await setImmediate();
      }
      expect(res.closed).toBe(true);
      expect(most()).toBeLessThan(256 * KIB + 2 * MESSAGE.length);
      expect(harness.router.sessions.get(session.id)?.state).toBe('active');
    },
  );

  test('can resume, and has lost nothing', async () => {
    harness = await startScripted({}, { maxStreamBuffer: 256 * KIB, eventStore: memoryEventStore() });
    const session = await harness.session();
    const first = await session.stream();
    const { id } = (await first.block())!;
    // Taken over by one that does not read.
    const { res } = await StalledReader.open(harness.http, session, undefined, id);
    await until('it has taken over', () => res.headersSent);
    let sent = 0;
    for (; !res.closed; sent += 1) {
      await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: `${sent}:${MESSAGE}` });
      await setImmediate();
    }
    const resumed = await session.stream(id);
    for (let n = 0; n < sent; n += 1) {
      const { params } = await soon('an event', resumed.message());
      expect(params.data.slice(0, params.data.indexOf(':'))).toBe(String(n));
    }
  });

  test('slows a handler that awaits its notifications, and does not fail it', async () => {
    let sent = 0;
    const stream: Method = async (_params, extra) => {
      for (; sent < 40; sent += 1) await notify(extra, MESSAGE);
      return { sent };
    };
    harness = await startScripted({ stream }, { maxStreamBuffer: 256 * KIB });
    const session = await harness.session();
    const reader = await StalledReader.open(harness.http, session, { id: 1, method: 'stream' });
    const { most, note } = watchBuffer(reader.res);
    const watching = setInterval(note, 1);
    await reader.full();
    expect(sent).toBeLessThan(40);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(1);

    reader.readAll();
    await until('all has arrived', () => reader.tail.endsWith('0\r\n\r\n'));
    clearInterval(watching);
    expect(most()).toBeLessThan(256 * KIB);
    expect(reader.notifications).toBe(40);
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
  });

  test('delays a handler for keepAlive at most: then its reply is broken off, and the handler runs on', async () => {
    const done = new Deferred();
    let sent = 0;
    const stream: Method = async (_params, extra) => {
      for (; sent < 40; sent += 1) {
        await notify(extra, MESSAGE);
        // As a handler that has something to do between its notifications.
        await setImmediate();
      }
      done.resolve();
      return { sent };
    };
    harness = await startScripted({ stream }, { maxStreamBuffer: 256 * KIB, keepAlive: 100 });
    const session = await harness.session();
    const { res } = await StalledReader.open(harness.http, session, { id: 1, method: 'stream' });
    await until('the handler is held up', () => res.writableLength > 0 && res.writableNeedDrain);
    await until('it is cut off', () => {
      harness.clock.advance(10);
      return res.closed;
    });
    await soon('the handler is done', done.promise);
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
  });
});

describe('a reader that reads', () => {
  test.each(REPLIES)('gets one result of 4 MiB whole, whatever maxStreamBuffer is (%s)', async (_, options) => {
    const text = 'y'.repeat(4 * MIB);
    harness = await startScripted({ big: () => ({ text }) }, { maxStreamBuffer: 64 * KIB, ...options() });
    const session = await harness.session();
    const { result } = await session.call(1, 'big');
    expect(result.text === text).toBe(true);
  });

  test.each(REPLIES)('gets a burst of 10 MiB whole that its handler did not wait for (%s)', async (_, options) => {
    const burst: Method = async (_params, extra) => {
      const all = Array.from({ length: 160 }, (__, n) => notify(extra, `${n}:${'z'.repeat(64 * KIB)}`));
      await Promise.all(all);
      return { sent: all.length };
    };
    harness = await startScripted({ burst }, { ...options() });
    const session = await harness.session();
    const messages = messagesOf(await (await session.request(1, 'burst')).text()) as WireMessage[];
    expect(messages.slice(0, -1).map(({ params }) => Number(params.data.split(':')[0]))).toEqual([
      ...Array(160).keys(),
    ]);
    expect(messages.at(-1)).toEqual({ jsonrpc: '2.0', id: 1, result: { sent: 160 } });
  });

  test('gets a burst of 10 MiB whole on its standalone stream, and what comes after it', async () => {
    harness = await startScripted({});
    const session = await harness.session();
    const stream = await session.stream();
    for (let n = 0; n < 160; n += 1)
      void notify({ sendNotification: (m) => harness.servers[0]!.notification(m) }, 'z'.repeat(64 * KIB));
    for (let n = 0; n < 160; n += 1) await stream.message();
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'after' });
    expect(await stream.message()).toMatchObject({ params: { data: 'after' } });
  });
});

describe('a reader that stalls in a reply that has ended', () => {
  const SIZE = 4 * MIB;
  const big: Method = () => ({ text: 'y'.repeat(SIZE) });
  const startBig = async (keepAlive: number, method = big) => {
    harness = await startScripted(
      { big: method },
      { clock: systemClock, keepAlive, maxStreamBuffer: 64 * KIB, orphanAfter: 1 },
    );
    const session = await harness.session();
    return { session, reader: await StalledReader.open(harness.http, session, { id: 1, method: 'big' }) };
  };

  test('does not hold its session for ever', async () => {
    const { reader } = await startBig(50);
    await until('the reply is broken off', () => reader.res.closed);
    await until('nothing holds the session', () => harness.router.sessions.stats().orphaned === 1);
    reader.readAll();
    await until('the reader knows', () => reader.ended);
    expect(reader.received).toBeLessThan(SIZE);
  });

  test('has lost its stream, although Node says of the reply that all of it was written', async () => {
    const { session, reader } = await startBig(50, async (params, extra, server) => {
      await notify(extra, 'begun');
      return big(params, extra, server);
    });
    await until('the reply is broken off', () => reader.res.closed);
    await until('nothing holds the session', () => harness.router.sessions.stats().orphaned === 1);
    expect(harness.router.sessions.get(session.id)?.orphanCause).toBe('stream_lost');
  });

  test('keeps its reply while it reads a little in each interval', async () => {
    // Node's own timer of a socket, and long, as a busy machine may read nothing for some seconds.
    const keepAlive = 2_000;
    const { reader } = await startBig(keepAlive);
    // Enough each time for the kernel to tell the router: it does so for a third of a buffer, not for each byte.
    const sipping = setInterval(() => reader.sip(64 * KIB), keepAlive / 40);
    await new Promise((resolve) => setTimeout(resolve, 1.25 * keepAlive));
    clearInterval(sipping);
    expect(reader.res.closed).toBe(false);
    reader.readAll();
    await until('all has arrived', () => reader.received > SIZE);
  });

  test('ends the session if the reply had its ID, as the client can never use it', async () => {
    harness = await startScripted({}, {}, (server) => {
      server.removeRequestHandler('initialize');
      server.fallbackRequestHandler = async () => ({
        protocolVersion: '2025-11-25',
        capabilities: {},
        serverInfo: { name: 'verbose', version: '1.0.0' },
        instructions: 'y'.repeat(SIZE),
      });
    });
    const reasons: string[] = [];
    harness.router.sessions.on('closed', (_info, reason) => reasons.push(reason));
    const reader = await StalledReader.post(harness.http, JSON.stringify(initializeBody()), {});
    await until('the reply has begun', () => reader.res.headersSent);
    reader.destroy();
    await until('the session has ended', () => reasons.length > 0);
    expect(reasons).toEqual(['failed']);
  });
});

test('a reader that stalls and goes on, again and again, leaves no listener behind each time', async () => {
  harness = await startScripted({}, { keepAlive: 10_000, maxStreamBuffer: KIB });
  const session = await harness.session();
  const reader = await StalledReader.open(harness.http, session);
  reader.readAll();
  await until('the stream is open', () => reader.res.headersSent);
  const { res } = reader;
  const listeners = () => res.listenerCount('timeout') + res.listenerCount('drain');
  const before = listeners();
  for (let round = 0; round < 20; round += 1) {
    res.socket!.cork();
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'x'.repeat(64 * KIB) });
    harness.clock.advance(10_000);
    res.socket!.uncork();
    await once(res, 'drain');
  }
  expect(res.closed).toBe(false);
  expect(listeners()).toBe(before);
});

test('a reader that was slow once is not broken off later, also with a tiny maxStreamBuffer', async () => {
  harness = await startScripted({}, { keepAlive: 50, maxStreamBuffer: 1 });
  const session = await harness.session();
  const reader = await StalledReader.open(harness.http, session);
  reader.readAll();
  await until('the stream is open', () => reader.res.headersSent);
  const { res } = reader;
  res.socket!.cork();
  await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'small' });
  await until('it is written', () => res.writableLength > 0);
  harness.clock.advance(50);
  expect(res.listenerCount('timeout')).toBe(1);
  res.socket!.uncork();
  // Too little for a `drain`: the interval passes, by Node's own timer, and nothing waits any more.
  await until('it is let be', () => res.listenerCount('timeout') === 0);
  expect(res.closed).toBe(false);
  expect(reader.notifications).toBe(1);
});

describe('maxReplyMemory', () => {
  const SIZE = 24 * MIB;
  const big: Method = () => ({ text: 'y'.repeat(SIZE) });
  const stall = async (id: number, session: RawSession): Promise<StalledReader> => {
    const reader = await StalledReader.open(harness.http, session, { id, method: 'big' });
    await until('the reply waits', () => reader.res.writableLength > 0);
    return reader;
  };

  test('breaks off the replies whose readers stopped first when the replies of all sessions exceed it (docs/transport.md, "Back-pressure")', async () => {
    harness = await startScripted({ big }, { maxReplyMemory: 2.5 * SIZE });
    const [first, second] = [await stall(1, await harness.session()), await stall(1, await harness.session())];
    const third = await stall(2, await harness.session());
    await until('the first is broken off', () => first.res.closed);
    expect(second.res.closed).toBe(false);
    expect(third.res.closed).toBe(false);
    const [line] = await harness.log.atLeast(1);
    expect(line).toMatchObject({
      what: 'a reply was broken off: what waits for readers exceeds maxReplyMemory',
      level: 40,
    });

    // What a reader has taken makes room for others.
    second.readAll();
    await until('the second is read', () => second.received > SIZE);
    const fourth = await stall(1, await harness.session());
    third.readAll();
    await until('the third is read', () => third.received > SIZE);
    expect(fourth.res.closed).toBe(false);
  });

  test('counts what middleware that compresses holds back', async () => {
    const text = randomBytes(SIZE / 2).toString('hex');
    const compressing = (app: Express, router: McpRouter): unknown => app.use(compression()).use('/mcp', router);
    harness = await startScripted({ big: () => ({ text }) }, { maxReplyMemory: 1.5 * SIZE }, undefined, compressing);
    const compressed = async (): Promise<StalledReader> => {
      const { headers } = await harness.session();
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'big' });
      const accept = { accept: 'application/json', 'accept-encoding': 'gzip' };
      return StalledReader.post(harness.http, body, { ...headers, ...accept });
    };
    const first = await compressed();
    await until('the reply has begun', () => first.res.headersSent);
    expect(first.res.getHeader('content-encoding')).toBe('gzip');
    const second = await compressed();
    await until('the first is broken off', () => first.res.closed);
    expect(second.res.closed).toBe(false);
  });

  test('counts the answers of a batch that wait for the last one', async () => {
    const reached = new Deferred();
    const hang: Method = () => (reached.resolve(), never());
    harness = await startScripted({ big, hang }, { maxReplyMemory: 1.5 * SIZE });
    const batch = async (): Promise<StalledReader> => {
      const session = await harness.session({ version: '2025-03-26' });
      const calls = ['big', 'hang'].map((method, id) => ({ jsonrpc: '2.0', id, method }));
      const headers = { ...session.headers, accept: 'application/json' };
      return StalledReader.post(harness.http, JSON.stringify(calls), headers);
    };
    const first = await batch();
    await soon('the first batch waits', reached.promise);
    const second = await batch();
    await until('the first is broken off', () => first.res.closed);
    expect(second.res.closed).toBe(false);
  });

  test('lets one reply alone exceed it, for a client that reads it', async () => {
    harness = await startScripted({ big }, { maxReplyMemory: MIB });
    const { result } = await (await harness.session()).call(1, 'big');
    expect(result.text).toHaveLength(SIZE);
  });
});
