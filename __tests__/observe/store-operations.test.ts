import { Registry } from 'prom-client';
import type { McpRouterOptions, SessionStore } from '../../src/index.js';
import { memoryEventStore, memoryStore } from '../../src/stores/index.js';
import { Fenced } from '../../src/stores/session-event-store.js';
import { SessionEventLog } from '../../src/transport/session-events.js';
import { InProcessCluster } from '../cluster/in-process.js';
import { notification, storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { countsIn, parseExposition, valueOf } from '../support/exposition.js';
import { FakeClock } from '../support/fake-clock.js';
import { initializeBody, openSession, post, start, type Harness } from '../support/harness.js';
import { RawSession } from '../support/raw-session.js';
import { never, until } from '../support/waiting.js';

const NAME = 'mcp_store_operation_duration_seconds';

let clock: FakeClock;
let registry: Registry;
let harness: Harness | undefined;
beforeEach(() => {
  clock = new FakeClock();
  registry = new Registry();
});
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

async function begin(options: Partial<McpRouterOptions>): Promise<URL> {
  harness = await start({ metrics: { registry }, clock, ...options });
  return harness.url;
}

/** By store, operation and outcome. */
const counts = async () => countsIn(await registry.metrics(), `${NAME}_count`);

/** A session store in memory with some methods of the test. */
function sessionStoreWith(own: Partial<SessionStore>): SessionStore {
  const inner = memoryStore();
  return {
    create: (...args) => inner.create(...args),
    get: (id) => inner.get(id),
    update: (...args) => inner.update(...args),
    destroy: (...args) => inner.destroy(...args),
    claim: (...args) => inner.claim(...args),
    ...own,
  };
}

describe('mcp_store_operation_duration_seconds (docs/operations.md, "Stores")', () => {
  test('counts the operations of a session store', async () => {
    const session = await RawSession.open(await begin({ store: memoryStore() }));
    await session.terminate();
    expect(await counts()).toMatchObject({ 'session create ok': 1, 'session destroy ok': 1 });
  });

  test('counts a rejection as an error', async () => {
    const store = sessionStoreWith({ create: () => Promise.reject(new Error('down')) });
    expect((await post(await begin({ store }), initializeBody())).status).toBe(503);
    expect(await counts()).toMatchObject({ 'session create error': 1 });
  });

  test('counts an operation without an answer as a time-out, with the time that the router waited', async () => {
    let asked = false;
    const get = (): Promise<never> => {
      asked = true;
      return never();
    };
    const url = await begin({ store: sessionStoreWith({ get }) });
    const id = '3f2b8c1e-0d4a-4b7c-9a52-6a1f0e9d8c7b';
    const reply = post(url, { jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': id });
    await until('the store is asked', () => asked);
    clock.advance(5_000);
    expect((await reply).status).toBe(503);
    expect(await counts()).toEqual({ 'session get timeout': 1 });
    const labels = { store: 'session', operation: 'get', outcome: 'timeout' };
    expect(valueOf(await registry.metrics(), `${NAME}_sum`, labels)).toBe(5);
  });

  test('does not count a method that the store lacks', async () => {
    const session = await RawSession.open(await begin({ store: sessionStoreWith({}) }));
    await session.terminate();
    expect(Object.keys(await counts())).not.toContain('session release ok');
  });

  test('counts the operations of an event store', async () => {
    const session = await RawSession.open(await begin({ eventStore: memoryEventStore() }));
    const blocks = await new EventStream(await session.request(1, 'ping')).blocks();
    await (await session.get(blocks[0]!.id)).text();
    await session.terminate();
    expect(await counts()).toEqual({
      'event storeEvent ok': 2,
      'event getStreamIdForEventId ok': 1,
      'event replayEventsAfter ok': 1,
      'event purge ok': 1,
    });
  });

  test('counts errors and time-outs of an event store', async () => {
    let hangs = false;
    const eventStore = storeWith(() => ({
      storeEvent: () => (hangs ? never() : Promise.reject(new Error('full'))),
    }));
    const session = await RawSession.open(await begin({ eventStore }));
    await (await session.request(1, 'ping')).text();
    expect(await counts()).toEqual({ 'event storeEvent error': 2 });
    hangs = true;
    const reply = session.request(2, 'ping');
    await until('the store is asked', () => harness!.router.sessions.get(session.id)?.requests === 1);
    clock.advance(10_000);
    await (await reply).text();
    expect(await counts()).toEqual({ 'event storeEvent error': 2, 'event storeEvent timeout': 1 });
  });

  test('counts the records of a cluster in Redis', async () => {
    const cluster = await InProcessCluster.start();
    try {
      const node = await cluster.node();
      await openSession(node.url);
      expect(countsIn(await node.metrics(), `${NAME}_count`)).toMatchObject({ 'session create ok': 1 });
    } finally {
      await cluster.stop();
    }
  }, 120_000);

  test('is missing from a router without a store; with one, every operation and outcome has a series', async () => {
    await begin({});
    expect(await registry.metrics()).not.toContain(NAME);
    await harness!.close();
    await begin({ eventStore: memoryEventStore() });
    const series = parseExposition(await registry.metrics()).filter(({ name }) => name === `${NAME}_count`);
    expect(series).toHaveLength(4 * 3);
    expect(series.every(({ labels, value }) => labels.store === 'event' && value === 0)).toBe(true);
  });
});

describe('the outcome and the time of an operation of an event store', () => {
  const seen: unknown[] = [];
  beforeEach(() => seen.splice(0));
  const logOf = (store: ReturnType<typeof storeWith>) =>
    new SessionEventLog(
      store,
      'session',
      0,
      clock,
      () => undefined,
      0,
      undefined,
      undefined,
      (...answer) => seen.push(answer),
    );

  test('a replay does not include the time in which its events are sent', async () => {
    const log = logOf(
      storeWith((inner) => ({
        replayEventsAfter: (id, { send }) => {
          clock.advance(200);
          return inner.replayEventsAfter(id, {
            send: async (key, message) => {
              await send(key, message);
              clock.advance(30);
            },
          });
        },
      })),
    );
    const streamId = log.newStreamId([1]);
    const first = await log.store(streamId, notification('a'));
    await log.store(streamId, notification('b'));
    await log.store(streamId, notification('c'));
    seen.splice(0);
    await log.replay(first!, streamId, { take: async () => clock.advance(9_000) });
    expect(seen).toEqual([['replayEventsAfter', 'ok', 260]]);
  });

  test('a client that disconnects during a replay is no error of the store', async () => {
    const log = logOf(storeWith(() => ({})));
    const streamId = log.newStreamId([1]);
    const first = await log.store(streamId, notification('a'));
    await log.store(streamId, notification('b'));
    seen.splice(0);
    const gone = new Error('gone');
    await expect(log.replay(first!, streamId, { take: () => Promise.reject(gone) })).rejects.toBe(gone);
    expect(seen).toEqual([['replayEventsAfter', 'ok', 0]]);
  });

  test('an event that is refused as another node owns the session is no error of the store', async () => {
    const log = logOf(storeWith(() => ({ storeEvent: () => Promise.reject(new Fenced('another node')) })));
    await log.store(log.newStreamId([1]), notification('a'));
    expect(seen).toEqual([['storeEvent', 'ok', 0]]);
  });
});
