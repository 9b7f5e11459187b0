import fc from 'fast-check';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import {
  memoryEventStore,
  type MemoryEventStore,
  type MemoryEventStoreOptions,
} from '../../src/stores/memory-event-store.js';
import { sessionOf } from '../../src/stores/session-event-store.js';
import { FakeClock } from '../support/fake-clock.js';
import { eventStoreContract } from '../support/event-store-contract.js';
import { notification, replay } from '../support/event-stores.js';
import { runs } from '../support/runs.js';

/** What `maxBytes` counts for an event beside its JSON text. */
const OVERHEAD = 656;

const bytesOf = (message: JSONRPCMessage): number => Buffer.byteLength(JSON.stringify(message)) + OVERHEAD;

// Stream IDs may be anything: with the separator of event IDs in them, empty, or a name that objects have.
const STREAMS = ['a', 'a_1', '', '_', '__proto__', '0f3e-0.1', '0f3e-0.2', '-', 'a-b-c'];

/** Of these streams, and of others that begin alike. */
const SESSIONS = ['0f3e', 'a', '', 'a-b', '0f', '__proto__'];

describe('against a model that never forgets', () => {
  interface Stored {
    readonly id: string;
    readonly streamId: string;
    readonly json: string;
    readonly bytes: number;
    readonly dueAt: number;
    /** How often the stream had been forgotten before. */
    readonly life: number;
    held: boolean;
  }

  /** Every event there ever was, in order, and which of them are held by the rules of the options. */
  class Model {
    readonly all: Stored[] = [];
    readonly #lives = new Map<string, number>();

    life(streamId: string): number {
      return this.#lives.get(streamId) ?? 0;
    }

    held(streamId?: string): Stored[] {
      return this.all.filter((event) => event.held && (streamId === undefined || event.streamId === streamId));
    }

    ofSession(streamId: string): Stored[] {
      return this.held().filter((event) => sessionOf(event.streamId) === sessionOf(streamId));
    }

    drop(event: Stored): void {
      event.held = false;
      if (this.held(event.streamId).length === 0) this.forget(event.streamId);
    }

    forget(streamId: string): void {
      for (const event of this.held(streamId)) event.held = false;
      this.#lives.set(streamId, this.life(streamId) + 1);
    }

    /** What a client that saw the event has missed; undefined where that cannot be known any more. */
    after(event: Stored): Stored[] | undefined {
      const stream = this.all.filter(({ streamId }) => streamId === event.streamId);
      const later = stream.slice(stream.indexOf(event) + 1);
      return event.life === this.life(event.streamId) && later.every(({ held }) => held) ? later : undefined;
    }
  }

  const sum = (events: readonly Stored[]): number => events.reduce((bytes, event) => bytes + event.bytes, 0);

  interface Real {
    readonly store: MemoryEventStore;
    readonly clock: FakeClock;
    readonly options: Readonly<Record<'maxEventsPerStream' | 'maxBytesPerSession' | 'maxBytes' | 'maxAge', number>>;
  }

  type Command = fc.AsyncCommand<Model, Real>;

  async function check(model: Model, { store, clock, options }: Real): Promise<void> {
    const held = model.held();
    expect(store.size).toBe(held.length);
    expect(store.streams).toBe(new Set(held.map(({ streamId }) => streamId)).size);
    expect(store.bytes).toBe(held.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(store.bytes).toBeLessThanOrEqual(options.maxBytes);
    for (const streamId of STREAMS) {
      expect(model.held(streamId).length).toBeLessThanOrEqual(options.maxEventsPerStream);
    }
    expect(clock.pending).toBe(held.length > 0 ? 1 : 0);
  }

  /** A command that checks the bounds and the timer after it. */
  const command = (name: string, act: (model: Model, real: Real) => Promise<void> | void): Command => ({
    check: () => true,
    toString: () => name,
    async run(model, real) {
      await act(model, real);
      await check(model, real);
    },
  });

  const append = (streamId: string, content: string): Command =>
    command(`append(${JSON.stringify(streamId)}, ${content.length} characters)`, async (model, real) => {
      const { store, clock, options } = real;
      const params = { text: content };
      const message: JSONRPCMessage = { jsonrpc: '2.0', method: 'notifications/message', params };
      const json = JSON.stringify(message);
      const bytes = bytesOf(message);
      const storing = store.storeEvent(streamId, message);
      params.text = 'changed by the app later';
      const most = Math.min(options.maxBytes, options.maxBytesPerSession);
      if (bytes > most) return expect(storing).rejects.toThrow('more than a session may hold');

      const id = await storing;
      const event = { id, streamId, json, bytes, dueAt: clock.now() + options.maxAge, life: model.life(streamId) };
      model.all.push({ ...event, held: true });
      if (model.held(streamId).length > options.maxEventsPerStream) model.drop(model.held(streamId)[0]!);
      while (sum(model.ofSession(streamId)) > most) model.drop(model.ofSession(streamId)[0]!);
      while (sum(model.held()) > options.maxBytes) model.drop(model.held()[0]!);
    });

  const resume = (which: number): Command => ({
    ...command(`resume(${which})`, async (model, { store }) => {
      const event = model.all[which % model.all.length]!;
      const missed = model.after(event);
      expect(await store.getStreamIdForEventId(event.id)).toBe(missed && event.streamId);
      expect(await replay(store, event.id)).toEqual({
        streamId: missed === undefined ? '' : event.streamId,
        events: (missed ?? []).map(({ id, json }) => ({ id, message: JSON.parse(json) })),
      });
    }),
    check: (model) => model.all.length > 0,
  });

  const purge = (session: string): Command =>
    command(`purge(${JSON.stringify(session)})`, async (model, { store }) => {
      await store.purge(session);
      for (const streamId of STREAMS) if (streamId.startsWith(`${session}-`)) model.forget(streamId);
    });

  const advance = (ms: number): Command =>
    command(`advance(${ms})`, (model, { clock }) => {
      clock.advance(ms);
      for (const event of model.held()) if (event.dueAt <= clock.now()) model.drop(event);
    });

  const text = fc.oneof(
    { arbitrary: fc.string({ unit: 'binary', maxLength: 20 }), weight: 3 },
    fc.nat(3_000).map((length) => 'é'.repeat(length)),
  );
  const commands = fc.commands(
    [
      fc.tuple(fc.constantFrom(...STREAMS), text).map(([streamId, content]) => append(streamId, content)),
      fc.constantFrom(...STREAMS.slice(0, 2)).map((streamId) => append(streamId, '')),
      fc.constantFrom('a', '0f3e-0.1').map((streamId) => append(streamId, '')),
      fc.constantFrom('0f3e-0.1', '0f3e-0.2').map((streamId) => append(streamId, '')),
      fc.nat().map(resume),
      fc.nat(12).map(advance),
      fc.constantFrom(...SESSIONS).map(purge),
    ],
    { maxCommands: 60 },
  );
  const options = fc.record({
    maxEventsPerStream: fc.integer({ min: 1, max: 6 }),
    maxBytes: fc.integer({ min: OVERHEAD, max: 8_000 }),
    maxBytesPerSession: fc.integer({ min: OVERHEAD, max: 12_000 }),
    maxAge: fc.integer({ min: 1, max: 40 }),
  });

  test('a resume gives all later events of its stream or none, within the bounds, and leaves no timer (property)', async () => {
    let tooOld = 0;
    let resumed = 0;
    await fc.assert(
      fc.asyncProperty(options, commands, async (bounds, run) => {
        const clock = new FakeClock();
        const real = { store: memoryEventStore({ ...bounds, clock }), clock, options: bounds };
        const model = new Model();
        await fc.asyncModelRun(() => ({ model, real }), run);
        for (let which = 0; which < model.all.length; which += 1) {
          const missed = model.after(model.all[which]!);
          if (missed === undefined) tooOld += 1;
          else if (missed.length > 0) resumed += 1;
          await resume(which).run(model, real);
        }
        await advance(bounds.maxAge).run(model, real);
        expect([real.store.size, real.store.streams, real.store.bytes, clock.pending]).toEqual([0, 0, 0, 0]);
      }),
      { numRuns: runs(300) },
    );
    // Or the property would say little.
    expect(tooOld).toBeGreaterThan(30);
    expect(resumed).toBeGreaterThan(30);
  });
});

describe('the contract of an event store (docs/transport.md, "Resumability")', () =>
  eventStoreContract(() => memoryEventStore({ clock: new FakeClock() })));

describe('event IDs', () => {
  test('are <stream ID>_<sequence>, and the sequence grows over all streams in the order of the calls', async () => {
    const store = memoryEventStore({ clock: new FakeClock() });
    const streams = ['a', 'b', 'a_b', '', 'a'];
    const storing = streams.map((streamId) => store.storeEvent(streamId, notification('x')));
    // Stored before the call returns, so that calls that are not awaited keep their order.
    expect(store.size).toBe(streams.length);
    const ids = await Promise.all(storing);
    const sequences = ids.map((id) => Number(id.slice(id.lastIndexOf('_') + 1)));
    expect(ids).toEqual(streams.map((streamId, index) => `${streamId}_${sequences[index]!}`));
    expect(sequences).toEqual(sequences.map((_, index) => sequences[0]! + index));
  });

  test('that were not issued are unknown, however alike they look, and never throw', async () => {
    const store = memoryEventStore({ clock: new FakeClock() });
    const id = await store.storeEvent('a', notification('1'));
    const other = await store.storeEvent('b', notification('2'));
    const sequence = Number(id.slice(2));
    const forged = [
      `b_${sequence}`,
      `a_${other.slice(2)}`,
      `a_${sequence - 1}`,
      `a_${sequence + 2}`,
      `a_0${sequence}`,
      `a_${sequence}.0`,
      `a_0x${sequence.toString(16)}`,
      `a_ ${sequence}`,
      `a_${sequence} `,
      `a_+${sequence}`,
      `a_${sequence}_`,
      `a${sequence}`,
      `A_${sequence}`,
      ...[
        '',
        '_',
        'a',
        'a_',
        '_1',
        'a_NaN',
        'a_Infinity',
        'a_-0',
        'a_undefined',
        'a_1e3',
        '__proto___1',
        'constructor',
      ],
    ];
    for (const forgery of forged) {
      expect([forgery, await store.getStreamIdForEventId(forgery)]).toEqual([forgery, undefined]);
      expect([forgery, await replay(store, forgery)]).toEqual([forgery, { streamId: '', events: [] }]);
    }
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string().map((text) => `a_${text}`),
        ),
        async (garbage) => {
          fc.pre(garbage !== id);
          expect(await store.getStreamIdForEventId(garbage)).toBeUndefined();
          expect(await replay(store, garbage)).toEqual({ streamId: '', events: [] });
        },
      ),
      { numRuns: runs(100) },
    );
    expect(await store.getStreamIdForEventId(id)).toBe('a');
  });
});

describe('maxBytes and maxBytesPerSession', () => {
  test('events of exactly maxBytes are kept, and one more drops the oldest event of any stream', async () => {
    const store = memoryEventStore({ maxBytes: 2 * bytesOf(notification('x')), clock: new FakeClock() });
    const [first, second] = [
      await store.storeEvent('a', notification('x')),
      await store.storeEvent('b', notification('x')),
    ];
    expect([store.size, store.bytes]).toEqual([2, 2 * bytesOf(notification('x'))]);
    const third = await store.storeEvent('b', notification('x'));
    expect(await Promise.all([first, second, third].map((id) => store.getStreamIdForEventId(id)))).toEqual([
      undefined,
      'b',
      'b',
    ]);
  });
});

describe('a replay during other operations', () => {
  type Deed =
    { readonly deed: 'append'; readonly streamId: string } | { readonly deed: 'advance'; readonly ms: number };

  const deed: fc.Arbitrary<Deed> = fc.oneof(
    fc.record({ deed: fc.constant('append' as const), streamId: fc.constantFrom('a', 'a', 'b') }),
    fc.record({ deed: fc.constant('advance' as const), ms: fc.nat(4) }),
  );

  test('sends each event once, in order, without a hole, or rejects where a hole would come', async () => {
    const outcomes = { whole: 0, holed: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          maxEventsPerStream: fc.integer({ min: 2, max: 8 }),
          maxBytes: fc.integer({ min: 1_000, max: 6_000 }),
          maxAge: fc.integer({ min: 5, max: 30 }),
        }),
        fc.array(deed, { minLength: 1, maxLength: 12 }),
        fc.nat(),
        fc.array(fc.tuple(fc.boolean(), fc.array(deed, { maxLength: 3 })), { maxLength: 20 }),
        async (bounds, before, from, during) => {
          const clock = new FakeClock();
          const store = memoryEventStore({ ...bounds, clock });
          const issued: string[] = [];
          const perform = async (each: Deed): Promise<void> => {
            if (each.deed === 'advance') return clock.advance(each.ms);
            const id = await store.storeEvent(each.streamId, notification(`${issued.length}`));
            if (each.streamId === 'a') issued.push(id);
          };
          for (const each of before) await perform(each);
          fc.pre(issued.length > 0);
          const start = from % issued.length;
          fc.pre((await store.getStreamIdForEventId(issued[start]!)) === 'a');

          const stored = issued.length;
          const sent: string[] = [];
          const happening = [...during];
          const result = await store
            .replayEventsAfter(issued[start]!, {
              send: async (id) => {
                sent.push(id);
                const [waits, deeds] = happening.shift() ?? [false, []];
                if (waits) await new Promise(setImmediate);
                for (const each of deeds) await perform(each);
              },
            })
            .catch((error: unknown) => error);

          expect(sent).toEqual(issued.slice(start + 1, start + 1 + sent.length));
          if (result === 'a') {
            outcomes.whole += 1;
            expect(start + 1 + sent.length).toBeGreaterThanOrEqual(stored);
            return;
          }
          outcomes.holed += 1;
          expect(String(result)).toMatch(/dropped before it could be replayed/);
          expect(await store.getStreamIdForEventId(sent.at(-1)!)).toBeUndefined();
        },
      ),
      { numRuns: runs(600) },
    );
    expect(outcomes.whole).toBeGreaterThan(50);
    expect(outcomes.holed).toBeGreaterThan(2);
  });

  test('gives each replay its own copy of the messages', async () => {
    const store = memoryEventStore({ clock: new FakeClock() });
    const first = await store.storeEvent('a', notification('1'));
    await store.storeEvent('a', notification('2'));
    const once = (await replay(store, first)).events[0]!.message;
    Object.assign(once, { method: 'changed' });
    expect((await replay(store, first)).events[0]!.message).toEqual(notification('2'));
  });
});

describe('a purge', () => {
  test('costs as much as its own session holds, not all sessions', async () => {
    const store = memoryEventStore({ maxBytes: 2 ** 40, clock: new FakeClock() });
    const sessions = Array.from({ length: 30_000 }, (_, n) => n.toString(16).padStart(32, '0'));
    for (const session of sessions) await store.storeEvent(`${session}-get`, notification('x'));
    const began = process.cpuUsage();
    for (const session of sessions) await store.purge(session);
    expect(store.size).toBe(0);
    const { user, system } = process.cpuUsage(began);
    // Takes some 50 ms of CPU time. It would take 10 s and more if each event searched all streams.
    expect((user + system) / 1_000).toBeLessThan(3_000);
  });
});

test('its timer fires once for each due event, also where time has fractions', async () => {
  const clock = new FakeClock(0.25);
  const armed = jest.spyOn(clock, 'setTimeout');
  const store = memoryEventStore({ maxAge: 10, clock });
  await store.storeEvent('a', notification('due at 10.25'));
  clock.advance(1.5);
  await store.storeEvent('a', notification('due at 11.75'));
  const sizes = [8, 0.5, 1.5, 0.5].map((ms) => {
    clock.advance(ms);
    return [clock.now(), store.size];
  });
  // The last a fraction late: timers count whole milliseconds, and never early.
  expect(sizes).toEqual([
    [9.75, 2],
    [10.25, 1],
    [11.75, 1],
    [12.25, 0],
  ]);
  expect(armed).toHaveBeenCalledTimes(2);
});

test('a message that cannot be serialized rejects, and leaves nothing', async () => {
  const clock = new FakeClock();
  const store = memoryEventStore({ clock });
  const params: Record<string, unknown> = {};
  params.self = params;
  await expect(store.storeEvent('a', { jsonrpc: '2.0', method: 'x', params })).rejects.toThrow(TypeError);
  expect([store.size, store.streams, store.bytes, clock.pending]).toEqual([0, 0, 0, 0]);
});

describe('options', () => {
  test('default to 1,000 events a stream and 5 minutes', async () => {
    const clock = new FakeClock();
    const store = memoryEventStore({ clock, maxAge: undefined, maxBytes: undefined, maxEventsPerStream: undefined });
    for (let count = 0; count < 1_001; count += 1) await store.storeEvent('a', notification('x'));
    expect(store.size).toBe(1_000);
    clock.advance(300_000 - 1);
    expect(store.size).toBe(1_000);
    clock.advance(1);
    expect(store.size).toBe(0);
  });

  test('default to 8 MiB a session, so that no other session loses its events', async () => {
    const store = memoryEventStore({ clock: new FakeClock() });
    const other = await store.storeEvent('b-1', notification('x'));
    const message = notification('x'.repeat(1024 * 1024 - 1_000));
    for (let count = 0; count < 100; count += 1) await store.storeEvent(`a-${count % 3}`, message);
    expect(store.bytes).toBe(8 * bytesOf(message) + bytesOf(notification('x')));
    expect(store.bytes + bytesOf(message)).toBeGreaterThan(8 * 1024 * 1024);
    expect(await store.getStreamIdForEventId(other)).toBe('b-1');
  });

  test('default to 64 MiB', async () => {
    const store = memoryEventStore({ clock: new FakeClock() });
    const message = notification('x'.repeat(4 * 1024 * 1024 - 1_000));
    for (let count = 0; count < 20; count += 1) await store.storeEvent(`${count}-1`, message);
    expect(store.bytes).toBe(16 * bytesOf(message));
    expect(store.bytes + bytesOf(message)).toBeGreaterThan(64 * 1024 * 1024);
  });

  test('work without any, on a clock that does not keep the process alive', async () => {
    const store = memoryEventStore();
    const id = await store.storeEvent('a', notification('x'));
    expect(await store.getStreamIdForEventId(id)).toBe('a');
  });

  test.each<[options: unknown, message: string]>([
    [
      null,
      'memoryEventStore: options must be an object of maxEventsPerStream, maxBytes, maxBytesPerSession, maxAge, clock; got null',
    ],
    [
      'x',
      'memoryEventStore: options must be an object of maxEventsPerStream, maxBytes, maxBytesPerSession, maxAge, clock; got "x"',
    ],
    [
      { maxEvents: 1 },
      'memoryEventStore: unknown option maxEvents; known are maxEventsPerStream, maxBytes, maxBytesPerSession, maxAge, clock',
    ],
    [
      { maxEventsPerStream: 0 },
      'memoryEventStore: option maxEventsPerStream must be a whole number of 1 or more; got 0',
    ],
    [
      { maxEventsPerStream: 1.5 },
      'memoryEventStore: option maxEventsPerStream must be a whole number of 1 or more; got 1.5',
    ],
    [{ maxBytes: '64' }, 'memoryEventStore: option maxBytes must be a whole number of 1 or more; got "64"'],
    [
      { maxBytes: 2 ** 53 },
      'memoryEventStore: option maxBytes must be a whole number of 1 or more; got 9007199254740992',
    ],
    [
      { maxAge: 2 ** 31 },
      'memoryEventStore: option maxAge must be a whole number of milliseconds from 1 to 2147483647; got 2147483648',
    ],
    [
      { maxAge: [] },
      'memoryEventStore: option maxAge must be a whole number of milliseconds from 1 to 2147483647; got an empty array',
    ],
    [{ clock: Date }, 'memoryEventStore: option clock must be a Clock; got a function'],
    [{ clock: { now: () => 0 } }, 'memoryEventStore: option clock must be a Clock; got an object'],
    [{ clock: null }, 'memoryEventStore: option clock must be a Clock; got null'],
  ])('%j throws a TypeError that names the option, the value and the rule', (options, message) => {
    expect(() => memoryEventStore(options as MemoryEventStoreOptions)).toThrow(new TypeError(message));
  });
});
