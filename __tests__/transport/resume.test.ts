import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { JSON_HEADERS } from '../support/harness.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import type { RawSession } from '../support/raw-session.js';
import { startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { StalledReader } from '../support/stalled-reader.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Spec 2025-11-25, basic/transports, "Resumability and Redelivery", and docs/transport.md, "Resumability": a resume goes at its
// reader's speed, and the newest resume of a stream ends the one before it.

const KIB = 1024;
const DATA = 'x'.repeat(64 * KIB);
/** More than the kernel buffers for a reader. */
const EVENTS = 40;

let harness: Scripted;
afterEach(() => harness.close());

const say = ({ sendNotification }: Pick<Extra, 'sendNotification'>, data: string) =>
  sendNotification({ method: 'notifications/message', params: { level: 'info', data } });

/** Counts the events that the store has handed over in replays. */
function countingStore(inner: EventStore = memoryEventStore()): {
  eventStore: EventStore;
  read: () => number;
} {
  let read = 0;
  const eventStore = storeWith(() => ({
    storeEvent: (streamId, message) => inner.storeEvent(streamId, message),
    getStreamIdForEventId: (eventId) => inner.getStreamIdForEventId!(eventId),
    replayEventsAfter: (eventId, { send }) =>
      inner.replayEventsAfter(eventId, { send: (id, message) => ((read += 1), send(id, message)) }),
  }));
  return { eventStore, read: () => read };
}

const numberOf = ({ params }: { params: { data: string } }): number => Number(params.data.split(':')[0]);

/** A stream of each kind with many missed events. Resolves to the ID to resume from, and to a function that goes on. */
const STREAMS: [
  kind: string,
  begin: (options: Partial<McpRouterOptions>) => Promise<{ session: RawSession; lastEventId: string }>,
][] = [
  [
    'a finished stream',
    async (options) => {
      const fill = async (_params: unknown, extra: Extra) => {
        for (let n = 0; n < EVENTS; n += 1) await say(extra, `${n}:${DATA}`);
        return { done: true };
      };
      harness = await startScripted({ fill }, options);
      const session = await harness.session();
      const blocks = await new EventStream(await session.request(1, 'fill')).blocks();
      return { session, lastEventId: blocks[0]!.id! };
    },
  ],
  [
    'the stream of a request that runs',
    async (options) => {
      const filled = new Deferred();
      const fill = async (_params: unknown, extra: Extra) => {
        extra.closeSSEStream?.();
        for (let n = 0; n < EVENTS; n += 1) await say(extra, `${n}:${DATA}`);
        filled.resolve();
        return new Promise(() => undefined);
      };
      harness = await startScripted({ fill }, options);
      const session = await harness.session();
      const [first] = await new EventStream(await session.request(1, 'fill')).blocks();
      await filled.promise;
      return { session, lastEventId: first!.id! };
    },
  ],
  [
    'the standalone stream',
    async (options) => {
      harness = await startScripted({}, options);
      const session = await harness.session();
      const lastEventId = await harness.openAndLose(session);
      for (let n = 0; n < EVENTS; n += 1) {
        await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: `${n}:${DATA}` });
        await setImmediate();
      }
      return { session, lastEventId: lastEventId! };
    },
  ],
];

describe.each(STREAMS)('a resume of %s', (_kind, begin) => {
  test("reads from the store at its reader's speed, and holds one event at most", async () => {
    const { eventStore, read } = countingStore();
    const { session, lastEventId } = await begin({ eventStore });
    const reader = await StalledReader.open(harness.http, session, undefined, lastEventId);
    await reader.full();
    expect(read()).toBeLessThan(EVENTS);
    const { res } = reader;
    expect(res.writableLength).toBeLessThan(DATA.length + 64 * KIB);
    expect(res.closed).toBe(false);
  });

  test('is served at once while an older one stalls, and ends the older one', async () => {
    const { eventStore } = countingStore();
    const { session, lastEventId } = await begin({ eventStore });
    const older = await StalledReader.open(harness.http, session, undefined, lastEventId);
    await older.full();
    const second = await soon('the second', session.stream(lastEventId));
    expect(older.res.destroyed).toBe(true);
    for (let n = 0; n < EVENTS; n += 1) expect(numberOf(await second.message())).toBe(n);
  });

  test('whose client hangs up stops reading from the store', async () => {
    const { eventStore, read } = countingStore();
    const { session, lastEventId } = await begin({ eventStore });
    const reader = await StalledReader.open(harness.http, session, undefined, lastEventId);
    await reader.full();
    const stalled = read();
    reader.destroy();
    await once(reader.res, 'close');
    for (let turn = 0; turn < 20; turn += 1) await setImmediate();
    expect(read()).toBe(stalled);
  });

  test('that stalls for two keep-alive intervals is broken off, and the next one misses no event', async () => {
    const { eventStore } = countingStore();
    // Node's own timer tells whether the reader takes any bytes.
    const { session, lastEventId } = await begin({ eventStore, keepAlive: 100 });
    const { res } = await StalledReader.open(harness.http, session, undefined, lastEventId);
    await until('it is broken off', () => {
      harness.clock.advance(10);
      return res.closed;
    });
    const next = await session.stream(lastEventId);
    for (let n = 0; n < EVENTS; n += 1) expect(numberOf(await next.message())).toBe(n);
  });

  test('ends with the session', async () => {
    const { eventStore, read } = countingStore();
    const { session, lastEventId } = await begin({ eventStore });
    const reader = await StalledReader.open(harness.http, session, undefined, lastEventId);
    await reader.full();
    const stalled = read();
    const { res } = reader;
    expect((await session.terminate()).status).toBe(200);
    await until('it is ended', () => res.writableEnded || res.destroyed);
    expect(read()).toBe(stalled);
  });
});

test('many resumes that are never read hold one event each', async () => {
  const fill = async ({ n }: Readonly<Record<string, string>>, extra: Extra) => {
    for (let event = 0; event < EVENTS / 2; event += 1) await say(extra, `${n}:${DATA}`);
    return {};
  };
  harness = await startScripted({ fill }, { eventStore: memoryEventStore() });
  const sessions = await Promise.all(Array.from({ length: 8 }, () => harness.session()));
  const readers: StalledReader[] = [];
  for (const session of sessions) {
    const [first] = await new EventStream(await session.request(1, 'fill')).blocks();
    readers.push(await StalledReader.open(harness.http, session, undefined, first!.id));
  }
  await Promise.all(readers.map((reader) => reader.full()));
  for (const { res } of readers) expect(res.writableLength).toBeLessThan(DATA.length + 64 * KIB);
});

test('the event loop turns during a long replay to a fast reader', async () => {
  const count = 20_000;
  const fill = async (_params: unknown, extra: Extra) => {
    extra.closeSSEStream?.();
    for (let n = 0; n < count; n += 1) await say(extra, `${n}:`);
    return {};
  };
  const { eventStore, read } = countingStore(
    memoryEventStore({ maxEventsPerStream: count + 1, maxBytesPerSession: 64 * 1024 * KIB }),
  );
  harness = await startScripted({ fill }, { eventStore });
  const session = await harness.session();
  const [first] = await new EventStream(await session.request(1, 'fill')).blocks();
  await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
  let most = 0;
  const done = new AbortController();
  const look = (async () => {
    for (let before = 0; !done.signal.aborted; before = read()) {
      await setImmediate();
      most = Math.max(most, read() - before);
    }
  })();
  const messages = await session
    .stream(first!.id)
    .then((stream) => stream.messages())
    .finally(() => done.abort());
  await look;
  expect(messages).toHaveLength(count + 1);
  expect(most).toBeLessThan(count / 50);
});

describe('while a resume of the stream of a request stalls', () => {
  /** A call with many missed events on its stream, which then runs a function of the test. */
  const startCall = async () => {
    const eventStore = memoryEventStore();
    const running = new Deferred<Extra>();
    const answer = new Deferred<object>();
    const fill = async (_params: unknown, extra: Extra) => {
      extra.closeSSEStream?.();
      for (let n = 0; n < EVENTS; n += 1) await say(extra, `${n}:${DATA}`);
      running.resolve(extra);
      return answer.promise;
    };
    harness = await startScripted({ fill }, { eventStore, maxStreamBuffer: 256 * KIB });
    const session = await harness.session();
    const [first] = await new EventStream(await session.request(1, 'fill')).blocks();
    const extra = await running.promise;
    const reader = await StalledReader.open(harness.http, session, undefined, first!.id);
    await reader.full();
    return { session, reader, extra, answer, lastEventId: first!.id! };
  };

  test('the answer is kept, the request ID is free again, and a reader that reads on gets all events in order', async () => {
    const { session, reader, answer } = await startCall();
    answer.resolve({ done: true });
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    reader.readAll();
    await until('all has arrived', () => reader.tail.endsWith('0\r\n\r\n'));
    expect(reader.notifications).toBe(EVENTS);
  });

  test('new events take no memory beyond maxStreamBuffer, and are read from the store again', async () => {
    const { session, reader, extra, answer, lastEventId } = await startCall();
    const said = 20;
    for (let n = EVENTS; n < EVENTS + said; n += 1) void say(extra, `${n}:${DATA}`);
    answer.resolve({ done: true });
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    expect(reader.res.writableLength).toBeLessThan(DATA.length + 64 * KIB);
    reader.readAll();
    await until('all has arrived', () => reader.tail.endsWith('0\r\n\r\n'));
    expect(reader.notifications).toBe(EVENTS + said);
    const again = await (await session.stream(lastEventId)).messages();
    expect(again.slice(0, -1).map(numberOf)).toEqual([...Array(EVENTS + said).keys()]);
  });
});

test('of many resumes of one event, only the newest goes on reading from a store without getStreamIdForEventId', async () => {
  const { eventStore, read } = countingStore();
  delete eventStore.getStreamIdForEventId;
  const fill = async (_params: unknown, extra: Extra) => {
    extra.closeSSEStream?.();
    for (let n = 0; n < 900; n += 1) await say(extra, `${n}:`);
    return {};
  };
  harness = await startScripted({ fill }, { eventStore });
  const session = await harness.session();
  const [first] = await new EventStream(await session.request(1, 'fill')).blocks();
  await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
  const resumes = Array.from({ length: 20 }, () => session.stream(first!.id).then((stream) => stream.messages()));
  const ends = await Promise.allSettled(resumes);
  const whole = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  expect(whole).toHaveLength(1);
  expect(whole[0]).toHaveLength(901);
  expect(read()).toBeLessThan((20 * 901) / 2);
});

test('a finished stream is resumed while the standalone stream is open: missed events, then 204; the open stream gets its next event', async () => {
  const talk = async (_params: unknown, extra: Extra) => {
    for (const data of ['one', 'two']) await say(extra, data);
    return { done: true };
  };
  harness = await startScripted({ talk }, { eventStore: memoryEventStore() });
  const session = await harness.session();
  const open = await session.stream();
  await open.block();
  const blocks = await new EventStream(await session.request(1, 'talk')).blocks();
  const replayed = await (await session.stream(blocks[0]!.id)).blocks();
  expect(replayed.map(({ data }) => JSON.parse(data) as unknown)).toEqual([
    { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'one' } },
    { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'two' } },
    { jsonrpc: '2.0', id: 1, result: { done: true } },
  ]);
  expect(replayed.map(({ id }) => id)).toEqual(blocks.slice(1).map(({ id }) => id));
  const rest = await session.get(blocks.at(-1)!.id);
  expect([rest.status, await rest.text()]).toEqual([204, '']);

  const next = open.message();
  await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'outside' });
  expect(await soon('the next event', next)).toMatchObject({ params: { data: 'outside' } });
  expect((await session.getBeside(open)).status).toBe(409);
});

test('a resume that waits behind another answer of its connection takes no memory once a newer one has come', async () => {
  const running = new Deferred<void>();
  const fill = (_params: unknown, extra: Extra) => say(extra, `0:${DATA}`).then(() => ({}));
  const wait = () => (running.resolve(), new Promise(() => undefined));
  harness = await startScripted({ fill, wait }, { eventStore: memoryEventStore() });
  const session = await harness.session();
  const [first] = await new EventStream(await session.request(1, 'fill')).blocks();
  const queued = new Promise<ServerResponse>((resolve) => {
    harness.http.on('request', (req, res) => {
      if (req.headers['last-event-id'] !== undefined) resolve(res);
    });
  });

  const headers = Object.entries({ ...JSON_HEADERS, ...session.headers });
  const socket = await RawSocket.open(harness.url.port);
  const call = JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'wait' });
  await socket.write(requestBytes('POST', '/mcp', headers, call));
  await running.promise;
  await socket.write(requestBytes('GET', '/mcp', [...headers, ['Last-Event-ID', first!.id!]]));
  const older = await queued;
  await until('it has begun', () => older.writableLength > DATA.length);

  const closed = once(older, 'close');
  expect(await (await session.stream(first!.id)).messages()).toHaveLength(2);
  await soon('its connection ends', Promise.all([socket.end(), closed]));
});
