import fc from 'fast-check';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import {
  redisEventStore,
  type RedisEventStoreOptions,
  type RedisOptions,
  type SendCommand,
} from '../../src/stores/redis.js';
import type { FencedEventStore, SessionEventStore } from '../../src/stores/session-event-store.js';
import { REDIS_CLIENTS, connectCluster, connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { FakeClock } from '../support/fake-clock.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { eventStoreContract } from '../support/event-store-contract.js';
import { notification, replay } from '../support/event-stores.js';
import { runs } from '../support/runs.js';

type Store = Required<SessionEventStore>;

/** The entry of an event in its Redis Stream, and when that was, by Redis' clock. */
const entryOf = (eventId: string): string => eventId.slice(eventId.lastIndexOf('_') + 1);
const timeOf = (eventId: string): number => Number(entryOf(eventId).split('-')[0]);

let server: RedisServer;
let redis: ConnectedRedis;
let other: ConnectedRedis;
// Downloads Debian's package where no redis-server is there yet.
beforeAll(async () => {
  server = await RedisServer.start();
  [redis, other] = [await connectRedis(server.url), await connectRedis(server.url)];
}, 300_000);
afterAll(async () => {
  redis.close();
  other.close();
  await server.stop();
});

/** The bytes that the bounds count for an event. */
const bytesOf = (message: JSONRPCMessage): number => Buffer.byteLength(JSON.stringify(message)) + 200;

let prefixes = 0;
/** Data of the test's own. */
const ownPrefix = (): string => `${(prefixes += 1)}:`;

const openStore = (options: Omit<RedisEventStoreOptions, keyof RedisOptions> & { prefix?: string } = {}): Store =>
  redisEventStore({ prefix: ownPrefix(), ...options, ...redis.access });

/** The clock of Redis, in ms. */
async function redisTime(): Promise<number> {
  const [seconds, microseconds] = (await redis.ask('TIME')) as [string, string];
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}

describe('against a model that never forgets', () => {
  // Stream IDs may be anything: with the separators of event IDs in them, empty, or a name that objects have.
  const STREAMS = ['a-get', 'a-0.1', 'a-', 'a', 'a-0.1_1-1', 'b-get', '', '-', '__proto__', 'a}b-1', 'é\0*?[a]-😀'];
  const sessionOf = (streamId: string): string => streamId.split('-')[0]!;

  type Deed =
    | { readonly deed: 'append'; readonly streamId: string; readonly text: string }
    | { readonly deed: 'purge'; readonly session: string };

  interface Stored {
    readonly id: string;
    readonly streamId: string;
    readonly message: JSONRPCMessage;
  }

  const text = fc.oneof(
    { arbitrary: fc.string({ unit: 'binary', maxLength: 20 }), weight: 3 },
    fc.nat(500).map((length) => 'é'.repeat(length)),
  );
  const deed: fc.Arbitrary<Deed> = fc.oneof(
    {
      arbitrary: fc.record({ deed: fc.constant('append' as const), streamId: fc.constantFrom(...STREAMS), text }),
      weight: 8,
    },
    {
      arbitrary: fc.record({
        deed: fc.constant('append' as const),
        streamId: fc.constantFrom(...STREAMS.slice(0, 2)),
        text,
      }),
      weight: 16,
    },
    {
      arbitrary: fc.record({ deed: fc.constant('purge' as const), session: fc.constantFrom('a', 'b', '', 'a}b', 'c') }),
      weight: 1,
    },
  );

  test('after any event, a replay gives exactly the later events of its stream, in order, or the event is unknown (property)', async () => {
    const outcomes = { unknown: 0, nothing: 0, events: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 300, max: 4_000 }),
        fc.array(deed, { minLength: 10, maxLength: 60, size: 'max' }),
        async (maxEvents, maxBytesPerSession, deeds) => {
          const options = { prefix: ownPrefix(), maxEvents, maxBytesPerSession };
          const stores = [
            redisEventStore({ ...options, ...redis.access }),
            redisEventStore({ ...options, ...other.access }),
          ];
          const all: Stored[] = [];
          /** By session, oldest first. */
          const held = new Map<string, Stored[]>();
          for (const [n, each] of deeds.entries()) {
            const store = stores[n % 2]!;
            if (each.deed === 'purge') {
              await store.purge(each.session);
              held.delete(each.session);
              continue;
            }
            const { streamId } = each;
            const params: { text: string } = { text: each.text };
            const message: JSONRPCMessage = { jsonrpc: '2.0', method: 'notifications/message', params };
            const storing = store.storeEvent(streamId, message);
            params.text = 'changed by the app later';
            const stored = notification(each.text);
            if (bytesOf(stored) > maxBytesPerSession) {
              await expect(storing).rejects.toThrow('more than a session may hold');
              continue;
            }
            const event = { id: await storing, streamId, message: stored };
            all.push(event);
            const ofSession = [...(held.get(sessionOf(streamId)) ?? []), event].slice(-maxEvents);
            while (ofSession.reduce((sum, { message: one }) => sum + bytesOf(one), 0) > maxBytesPerSession)
              ofSession.shift();
            held.set(sessionOf(streamId), ofSession);
          }

          expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
          for (const [n, event] of all.entries()) {
            const store = stores[n % 2]!;
            const ofSession = held.get(sessionOf(event.streamId)) ?? [];
            const known = ofSession.includes(event);
            const missed = known
              ? ofSession.slice(ofSession.indexOf(event) + 1).filter(({ streamId }) => streamId === event.streamId)
              : [];
            outcomes[known ? (missed.length > 0 ? 'events' : 'nothing') : 'unknown'] += 1;
            expect(await store.getStreamIdForEventId(event.id)).toBe(known ? event.streamId : undefined);
            expect(await replay(store, event.id)).toEqual({
              streamId: known ? event.streamId : '',
              events: missed.map(({ id, message }) => ({ id, message })),
            });
          }
        },
      ),
      { numRuns: runs(60) },
    );
    // Or the property would say little.
    expect(Math.min(...Object.values(outcomes))).toBeGreaterThan(100);
  });
});

describe.each([...REDIS_CLIENTS, ['a cluster of redis 6', connectCluster] as const])('with %s', (name, connect) => {
  let node: RedisServer | undefined;
  let own: ConnectedRedis;
  beforeAll(async () => {
    if (connect === connectCluster) node = await RedisServer.start({ cluster: true });
    own = await connect((node ?? server).url);
  });
  afterAll(async () => {
    own.close();
    await node?.stop();
  });

  test('stores, replays and purges events by stream', async () => {
    const store = redisEventStore({ ...own.access, prefix: `${name}:` });
    const first = await store.storeEvent('a-1', {} as JSONRPCMessage);
    await store.storeEvent('a-2', notification('of the other'));
    const second = await store.storeEvent('a-1', notification('äöü ✓ 😀 \u0000 \ud800'));
    expect(await store.getStreamIdForEventId(first)).toBe('a-1');
    expect(await replay(store, first)).toEqual({
      streamId: 'a-1',
      events: [{ id: second, message: notification('äöü ✓ 😀 \u0000 \ud800') }],
    });
    await store.purge('a');
    expect(await store.getStreamIdForEventId(first)).toBeUndefined();
    expect(await replay(store, second)).toEqual({ streamId: '', events: [] });
  });

  test('rejects once its connection is closed, as it cannot know whether an event is unknown', async () => {
    const closed = await connect((node ?? server).url);
    const store = redisEventStore(closed.access);
    const id = await store.storeEvent('a-1', notification('1'));
    await closed.close();
    await expect(store.getStreamIdForEventId(id)).rejects.toThrow();
    await expect(replay(store, id)).rejects.toThrow();
    await expect(store.storeEvent('a-1', notification('2'))).rejects.toThrow();
    await expect(store.purge('a')).rejects.toThrow();
  });
});

describe('the contract of an event store (docs/transport.md, "Resumability")', () => eventStoreContract(openStore));

describe('event IDs', () => {
  test('are <stream ID>_<entry ID>, and have the order of the calls', async () => {
    const store = openStore();
    const streams = ['a-1', 'a-2', 'a-1', 'a-1'];
    const ids = await Promise.all(streams.map((streamId) => store.storeEvent(streamId, notification('x'))));
    expect(ids).toEqual(streams.map((streamId) => expect.stringMatching(new RegExp(`^${streamId}_\\d+-\\d+$`))));
    expect((await replay(store, ids[0]!)).events.map(({ id }) => id)).toEqual(ids.slice(2));
  });

  test('have the order of the calls also when Redis has lost its scripts and another process loads them again', async () => {
    const elsewhere = redisEventStore({ ...other.access, prefix: ownPrefix() });
    let turn: Promise<unknown> = other.ask('SCRIPT', 'FLUSH');
    // One command at a time, and after each the other process has its turn.
    const sendCommand: SendCommand = (...args) => {
      const reply = turn.then(() => redis.ask(...args));
      const next = () => elsewhere.storeEvent('b-1', notification('x'));
      turn = reply.then(next, next);
      return reply;
    };
    const store = redisEventStore({ sendCommand, prefix: ownPrefix() });
    const storing = ['0', '1', '2', '3'].map((text) => store.storeEvent('a-1', notification(text)));
    const ids = await Promise.all(storing);
    expect((await replay(store, ids[0]!)).events.map(({ id }) => id)).toEqual(ids.slice(1));
  });

  test('that were not issued are unknown, however alike they look, and never reach the parser of Redis', async () => {
    const store = openStore();
    const id = await store.storeEvent('a-1', notification('1'));
    const later = await store.storeEvent('a-1', notification('2'));
    const sibling = await store.storeEvent('a-2', notification('3'));
    const stranger = await store.storeEvent('b-1', notification('4'));
    const [ms, sequence] = entryOf(id).split('-') as [string, string];
    const entries = [
      ...[
        '-',
        '+',
        '$',
        '*',
        '0',
        '0-0',
        '0-1',
        '(0-0',
        '1-',
        '-1',
        '--',
        '0-*',
        `${ms}-*`,
        ms,
        `${ms}-`,
        `-${sequence}`,
      ],
      ...[`(${ms}-${sequence}`, `0${ms}-${sequence}`, `${ms}-0${sequence}`, ` ${ms}-${sequence}`, `${ms}-${sequence} `],
      ...[
        `+${ms}-${sequence}`,
        `${ms}.0-${sequence}`,
        `${ms}-${sequence}\n`,
        `${ms}-${sequence}\0`,
        `${ms}-${sequence}_`,
      ],
      ...['18446744073709551615-18446744073709551615', '18446744073709551616-0', '0-18446744073709551616'],
      ...[`${ms}-9007199254740993`, `${ms}-${Number(sequence) + 1}`, `${Number(ms) - 1}-${sequence}`, '9'.repeat(400)],
    ];
    const forged = [
      ...entries.map((entry) => `a-1_${entry}`).filter((forgery) => forgery !== later && forgery !== id),
      ...['a-2', 'b-1', 'a', 'a-', 'a-1_', 'A-1', '', '-1', '}', '*'].map((streamId) => `${streamId}_${entryOf(id)}`),
      ...[
        `a-1_${entryOf(sibling)}x`,
        `a-2_${entryOf(later)}`,
        `b-1_${entryOf(sibling)}`,
        entryOf(id),
        `a-1${entryOf(id)}`,
      ],
      ...['', '_', '-', 'a-1', 'a-1_', '__proto__', 'constructor', '__proto___0-0', stranger.replace('b', 'a')],
    ].filter((forgery) => ![id, later, sibling, stranger].includes(forgery));
    for (const forgery of forged) {
      expect([forgery, await store.getStreamIdForEventId(forgery)]).toEqual([forgery, undefined]);
      expect([forgery, await replay(store, forgery)]).toEqual([forgery, { streamId: '', events: [] }]);
    }
    const garbage = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string().map((end) => `a-1_${end}`),
      fc.stringMatching(/^[-+(*$0-9]{1,45}$/).map((end) => `a-1_${end}`),
    );
    await fc.assert(
      fc.asyncProperty(garbage, async (forgery) => {
        fc.pre(forgery !== id && forgery !== later);
        expect(await store.getStreamIdForEventId(forgery)).toBeUndefined();
        expect(await replay(store, forgery)).toEqual({ streamId: '', events: [] });
      }),
      { numRuns: runs(200) },
    );
    expect(await store.getStreamIdForEventId(id)).toBe('a-1');
  });
});

describe('the bounds', () => {
  test('by number hold for a session, whichever its streams, and cost no other session its events', async () => {
    const store = openStore({ maxEvents: 3 });
    const stranger = await store.storeEvent('b-1', notification('x'));
    const ids: string[] = [];
    for (const streamId of ['a-1', 'a-2', 'a-1', 'a-2', 'a-2'])
      ids.push(await store.storeEvent(streamId, notification('x')));
    const known = await Promise.all(ids.map((id) => store.getStreamIdForEventId(id)));
    expect(known).toEqual([undefined, undefined, 'a-1', 'a-2', 'a-2']);
    expect(await store.getStreamIdForEventId(stranger)).toBe('b-1');
  });

  test('by age remove the events of a quiet session, and its key', async () => {
    const prefix = ownPrefix();
    const store = openStore({ prefix, maxAge: 50 });
    const id = await store.storeEvent('a-1', notification('x'));
    await until('the event is unknown', async () => (await store.getStreamIdForEventId(id)) === undefined);
    expect(await redisTime()).toBeGreaterThanOrEqual(timeOf(id) + 50);
    expect(await redis.ask('EXISTS', `${prefix}{a}:events`)).toBe(0);
  });

  test('by age remove the old events of a busy session, and no young one', async () => {
    const maxAge = 100;
    const store = openStore({ maxAge });
    const old = await store.storeEvent('a-1', notification('old'));
    const ids = [old];
    await until('the old event is unknown', async () => {
      ids.push(await store.storeEvent('a-2', notification('young')));
      const known = (await store.getStreamIdForEventId(old)) !== undefined;
      const age = timeOf(ids.at(-1)!) - timeOf(old);
      if (known) expect(age).toBeLessThanOrEqual(maxAge);
      else expect(await redisTime()).toBeGreaterThanOrEqual(timeOf(old) + maxAge);
      return !known;
    });
    const last = await store.storeEvent('a-2', notification('last'));
    const young = ids.filter((id) => timeOf(last) - timeOf(id) < maxAge / 2);
    const known = await Promise.all(young.map((id) => store.getStreamIdForEventId(id)));
    const now = await redisTime();
    // Unless this test itself was held up for so long.
    if (now - timeOf(last) < maxAge / 2) expect(known).toEqual(young.map(() => 'a-2'));
  });

  test('default to 1,000 events a session and 5 minutes, which every append begins anew', async () => {
    const prefix = ownPrefix();
    const store = openStore({ prefix });
    for (let n = 0; n < 11; n += 1) {
      await Promise.all(Array.from({ length: 100 }, () => store.storeEvent(`a-${n}`, notification('x'))));
      await redis.ask('PEXPIRE', `${prefix}{a}:events`, '60000');
    }
    expect(await redis.ask('XLEN', `${prefix}{a}:events`)).toBe(1_000);
    await store.storeEvent('a-1', notification('x'));
    const left = Number(await redis.ask('PTTL', `${prefix}{a}:events`));
    expect(left).toBeGreaterThan(240_000);
    expect(left).toBeLessThanOrEqual(300_000);
  });
});

describe('the bound in bytes for all sessions of a prefix', () => {
  const KIB = 1024;
  const large = notification('x'.repeat(100 * KIB));

  /** The number of events that Redis holds of each session. */
  const held = (prefix: string, sessions: readonly string[]): Promise<number[]> =>
    Promise.all(sessions.map(async (session) => Number(await redis.ask('XLEN', `${prefix}{${session}}:events`))));

  test('drops the oldest events of all nodes first, and keeps the youngest', async () => {
    const prefix = ownPrefix();
    const bounds = { prefix, maxBytes: 2_000 * KIB };
    const stores = [redisEventStore({ ...bounds, ...redis.access }), redisEventStore({ ...bounds, ...other.access })];
    const sessions = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const [n, session] of sessions.entries()) {
      for (let count = 0; count < 8; count += 1) await stores[n % 2]!.storeEvent(`${session}-1`, large);
    }
    await until('the bound holds', async () => {
      const sum = (await held(prefix, sessions)).reduce((all, count) => all + count, 0);
      return sum * 100 * KIB <= bounds.maxBytes;
    });
    const [oldest, ...later] = await held(prefix, sessions);
    expect(oldest).toBe(0);
    expect(later.at(-1)).toBe(8);
    expect(later.reduce((all, count) => all + count, 0)).toBeGreaterThan(10);
  });

  test('holds when one session stores events after those of all others', async () => {
    const prefix = ownPrefix();
    const clock = new FakeClock();
    const store = redisEventStore({ prefix, maxBytes: 3 * bytesOf(notification('x')), clock, ...redis.access });
    for (let n = 0; n < 50; n += 1) await store.storeEvent(`${n}-1`, notification('x'));
    const sessions = Array.from({ length: 50 }, (_, n) => String(n));
    clock.advance(1_000);
    await until('the bound holds', async () => {
      const counts = await held(prefix, sessions);
      return counts.reduce((all, count) => all + count, 0) <= 3;
    });
    expect((await held(prefix, sessions)).at(-1)).toBe(1);
  });

  test('counts no event twice, and none that is purged, trimmed or too old', async () => {
    const prefix = ownPrefix();
    const clock = new FakeClock();
    const store = redisEventStore({ prefix, maxEvents: 3, maxAge: 60_000, clock, ...redis.access });
    const small = bytesOf(notification('x'));
    const sum = async () => Number(await redis.ask('GET', `${prefix}{events}:sum`));
    for (let n = 0; n < 5; n += 1) await store.storeEvent('a-1', notification('x'));
    await store.storeEvent('b-1', notification('x'));
    clock.advance(1_000);
    await until('it is counted', async () => (await sum()) === 4 * small);
    await store.purge('a');
    await until('it is counted', async () => (clock.advance(1_000), (await sum()) === small));
    // As when they expire.
    await redis.ask('DEL', `${prefix}{b}:events`, `${prefix}{b}:events:sizes`);
    await store.purge('c');
    await until('it is counted', async () => (clock.advance(1_000), (await sum()) === 0));
    expect(await redis.ask('EXISTS', `${prefix}{events}:held`, `${prefix}{events}:since`)).toBe(0);
  });

  test('drops the events of sessions whose record is gone, also when their node has died', async () => {
    const prefix = ownPrefix();
    const clock = new FakeClock();
    const gone: FencedEventStore = redisEventStore({ prefix, clock, ...other.access });
    const record = `${prefix}{a}:session`;
    await redis.ask('HSET', record, 'd', '{}', 'e', '0', 'o', 'gone');
    await gone.storeEvent('a-1', notification('x'), { key: record, owner: 'gone', epoch: 0 });
    clock.advance(1_000);
    await until('it is known to all', async () => (await redis.ask('EXISTS', `${prefix}{events}:held`)) === 1);
    const store = redisEventStore({ prefix, clock: new FakeClock(), ...redis.access });
    const own = new FakeClock();
    const living = redisEventStore({ prefix, clock: own, ...redis.access });
    await living.storeEvent('b-1', notification('x'));
    own.advance(1_000);
    await until('it is known to all', async () => (await redis.ask('HLEN', `${prefix}{events}:held`)) === 2);
    expect(await held(prefix, ['a', 'b'])).toEqual([1, 1]);
    await redis.ask('DEL', record);
    await store.purge('c');
    await living.purge('c');
    own.advance(1_000);
    await until('they are gone', async () => (await held(prefix, ['a']))[0] === 0);
    expect(await held(prefix, ['a', 'b'])).toEqual([0, 1]);
  });
});

describe('when Redis has a maxmemory and is nearly full', () => {
  const MIB = 1024 * 1024;
  let small: RedisServer;
  let full: ConnectedRedis;
  beforeAll(async () => {
    small = await RedisServer.start();
    full = await connectRedis(small.url);
    await full.ask('CONFIG', 'SET', 'maxmemory', '32mb', 'maxmemory-policy', 'noeviction');
  });
  afterAll(async () => {
    full.close();
    await small.stop();
  });
  const used = async () => Number(/used_memory:(\d+)/.exec((await full.ask('INFO', 'memory')) as string)![1]);

  test('the oldest events are dropped, no event is stored for a second, and other keys always have room', async () => {
    const clock = new FakeClock();
    const store = redisEventStore({ clock, ...full.access });
    const large = notification('x'.repeat(MIB / 2));
    let refused = 0;
    for (let n = 0; n < 100; n += 1) {
      await store.storeEvent(`${n % 10}-1`, large).catch(async (error: unknown) => {
        expect(String(error)).toMatch(/FULL|is full/);
        refused += 1;
        await until('it has room', async () => (await used()) < 0.85 * 32 * MIB);
        clock.advance(1_000);
        await new Promise(setImmediate);
      });
      expect(await used()).toBeLessThan(0.95 * 32 * MIB);
      expect(await full.ask('SET', 'lease', 'x')).toBe('OK');
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(30);
    await until('it stores again', async () => {
      clock.advance(1_000);
      return store.storeEvent('a-1', large).then(
        () => true,
        () => false,
      );
    });
  });

  test('the same holds when other keys have filled it to the last byte', async () => {
    await full.ask('FLUSHALL');
    const clock = new FakeClock();
    const store = redisEventStore({ clock, prefix: 'other:', ...full.access });
    const id = await store.storeEvent('a-1', notification('x'.repeat(MIB)));
    const fill = 'x'.repeat(MIB);
    for (let n = 0; ; n += 1) {
      if ((await full.ask('SET', `fill:${n}`, fill).catch(() => 'OOM')) === 'OOM') break;
    }
    await expect(store.storeEvent('a-1', notification(fill))).rejects.toThrow('FULL');
    await until('its own have made room', async () => (await store.getStreamIdForEventId(id)) === undefined);
    expect(await full.ask('SET', 'lease', 'x')).toBe('OK');
  });
});

describe('a replay', () => {
  /** A store that records its commands. */
  function noting(options: { maxEvents?: number } = {}): { store: Store; commands: string[][] } {
    const commands: string[][] = [];
    const sendCommand: SendCommand = (...args) => {
      commands.push(args);
      return redis.ask(...args);
    };
    return { store: redisEventStore({ sendCommand, prefix: ownPrefix(), ...options }), commands };
  }

  test('of more than a page is complete and in order, and reads a page at a time', async () => {
    const { store, commands } = noting({ maxEvents: 5_000 });
    const storing = Array.from({ length: 2_501 }, (_, n) =>
      store.storeEvent(n % 2 === 0 ? 'a-1' : 'a-2', notification(`${n}`)),
    );
    const ids = await Promise.all(storing);
    commands.length = 0;
    expect(await replay(store, ids[0]!)).toEqual({
      streamId: 'a-1',
      events: ids.flatMap((id, n) => (n > 0 && n % 2 === 0 ? [{ id, message: notification(`${n}`) }] : [])),
    });
    const limits = commands.map(([, , , , , limit]) => Number(limit));
    expect(limits.length).toBeLessThan(10);
    expect(Math.max(...limits)).toBeLessThan(1_000);
  });

  test.each<[string, (store: Store) => Promise<unknown>]>([
    [
      'are trimmed',
      (store) => Promise.all(Array.from({ length: 1_200 }, () => store.storeEvent('a-2', notification('new')))),
    ],
    ['are purged', (store) => store.purge('a')],
  ])(
    'rejects where events that it has not read yet %s while it waits: the client would have a hole',
    async (_what, lose) => {
      const store = openStore({ maxEvents: 1_200 });
      const ids = await Promise.all(Array.from({ length: 1_200 }, () => store.storeEvent('a-1', notification('old'))));
      const sent: string[] = [];
      const replaying = store.replayEventsAfter(ids[0]!, {
        send: async (id) => {
          if (sent.length === 0) await lose(store);
          sent.push(id);
        },
      });
      await expect(replaying).rejects.toThrow('redisEventStore: an event was trimmed before it could be replayed');
      expect(sent).toEqual(ids.slice(1, 1 + sent.length));
      expect(sent.length).toBeGreaterThan(0);
    },
  );
});

describe('a purge', () => {
  test('deletes the key of its session', async () => {
    const prefix = ownPrefix();
    const store = openStore({ prefix });
    await store.storeEvent('a-1', notification('x'));
    await store.purge('a');
    expect(await redis.ask('EXISTS', `${prefix}{a}:events`)).toBe(0);
  });

  test('makes its event IDs unknown for ever, also when the next event is stored within the same millisecond', async () => {
    const store = openStore();
    const ids: string[] = [];
    for (let n = 0; n < 50; n += 1) {
      ids.push(await store.storeEvent('a-1', notification('x')));
      await store.purge('a');
    }
    expect(new Set(ids).size).toBe(50);
  });
});

test('a message that cannot be serialized rejects, and leaves nothing', async () => {
  const prefix = ownPrefix();
  const store = openStore({ prefix });
  const params: Record<string, unknown> = {};
  params.self = params;
  await expect(store.storeEvent('a-1', { jsonrpc: '2.0', method: 'x', params })).rejects.toThrow(TypeError);
  expect(await redis.ask('EXISTS', `${prefix}{a}:events`)).toBe(0);
});

test('a reply of the wrong type rejects, as sendCommand may have lost the real one', async () => {
  for (const reply of [undefined, null, 'QUEUED', 1, {}]) {
    const store = redisEventStore({ sendCommand: () => Promise.resolve(reply) });
    await expect(store.getStreamIdForEventId('a-1_1-1')).rejects.toThrow('Redis cannot have answered that');
    await expect(replay(store, 'a-1_1-1')).rejects.toThrow('Redis cannot have answered that');
    await expect(store.storeEvent('a-1', notification('x'))).rejects.toThrow('Redis cannot have answered that');
  }
});

describe('options', () => {
  const sendCommand = () => Promise.resolve(null);

  test.each<[options: unknown, message: string]>([
    [{}, 'redisEventStore: exactly one of the options client and sendCommand is needed; got neither'],
    [{ sendCommand, maxEvents: 0 }, 'redisEventStore: option maxEvents must be a whole number of 1 or more; got 0'],
    [
      { sendCommand, maxAge: 0.5 },
      'redisEventStore: option maxAge must be a whole number of milliseconds from 1 to 2147483647; got 0.5',
    ],
    [{ sendCommand, maxBytes: 0 }, 'redisEventStore: option maxBytes must be a whole number of 1 or more; got 0'],
    [
      { sendCommand, maxBytesPerSession: '8' },
      'redisEventStore: option maxBytesPerSession must be a whole number of 1 or more; got "8"',
    ],
    [
      { sendCommand, maxEventsPerStream: 1 },
      'redisEventStore: unknown option maxEventsPerStream; known are client, sendCommand, prefix, maxEvents, ' +
        'maxBytesPerSession, maxBytes, maxAge, clock',
    ],
  ])('%j throws a TypeError that names the option, the value and the rule', (options, message) => {
    expect(() => redisEventStore(options as RedisEventStoreOptions)).toThrow(new TypeError(message));
  });
});
