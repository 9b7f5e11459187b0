import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { SessionEventLog, type StoredEvent } from '../../src/transport/session-events.js';
import { storeWith } from '../support/event-stores.js';
import { FakeClock } from '../support/fake-clock.js';

const message = (data: string): JSONRPCMessage => ({
  jsonrpc: '2.0',
  method: 'notifications/message',
  params: { data },
});
const viewOf = (store: EventStore, sessionId: string, epoch = 0) =>
  new SessionEventLog(store, sessionId, epoch, new FakeClock(), (what, error) => {
    throw new Error(what, { cause: error });
  });

const skip = () => Promise.resolve();

/** The events that a view replays. Undefined when the event is unknown. */
async function eventsAfter(
  view: SessionEventLog,
  eventId: string,
  streamId: string,
): Promise<StoredEvent[] | undefined> {
  const events: StoredEvent[] = [];
  const known = await view.replay(eventId, streamId, { take: async (event) => void events.push(event) });
  return known ? events : undefined;
}

describe('a session’s view of a store that many sessions share', () => {
  test('knows its own events and the events after each of them, and none of another session', async () => {
    const said = fc.record({ session: fc.nat(3), stream: fc.nat(2), data: fc.string() });
    await fc.assert(
      fc.asyncProperty(fc.array(said, { maxLength: 30 }), fc.boolean(), async (events, withLookup) => {
        const store = storeWith(() => ({}));
        if (!withLookup) delete store.getStreamIdForEventId;
        const views = [0, 1, 2, 3].map((session) => viewOf(store, `session-${session}`));
        const streams = views.map((view) => [view.standaloneId, view.newStreamId([1]), view.newStreamId([1])]);
        const stored: { session: number; streamId: string; id: string; data: string }[] = [];
        for (const { session, stream, data } of events) {
          const streamId = streams[session]![stream]!;
          const id = await views[session]!.store(streamId, message(data));
          stored.push({ session, streamId, id: id!, data });
        }
        for (const [at, { session, streamId, id }] of stored.entries()) {
          const later = stored.slice(at + 1).filter((event) => event.streamId === streamId);
          for (const [other, view] of views.entries()) {
            expect(await view.streamOf(id, { skip })).toBe(other === session ? streamId : undefined);
          }
          expect(await eventsAfter(views[session]!, id, streamId)).toEqual(
            later.map((event) => ({ id: event.id, key: event.id, json: JSON.stringify(message(event.data)) })),
          );
        }
      }),
      { numRuns: 50 },
    );
  });

  test('does not know an event if the store reads another stream for it', async () => {
    const store = storeWith(() => ({ replayEventsAfter: () => Promise.resolve('another') }));
    const view = viewOf(store, 'session');
    const id = await view.store(view.standaloneId, message('mine'));
    expect(await view.streamOf(id!, { skip })).toBe(view.standaloneId);
    expect(await eventsAfter(view, id!, view.standaloneId)).toBeUndefined();
  });

  test('fails if the store names another stream only after it has sent events', async () => {
    const store = storeWith(() => ({
      replayEventsAfter: async (_lastEventId, { send }) => {
        await send('1', message('another one’s'));
        return 'another';
      },
    }));
    const view = viewOf(store, 'session');
    const id = await view.store(view.standaloneId, message('mine'));
    await expect(eventsAfter(view, id!, view.standaloneId)).rejects.toThrow('read another stream');
  });

  test('sends no event that a store without getStreamIdForEventId reads to find the stream', async () => {
    const store = storeWith(() => ({}));
    delete store.getStreamIdForEventId;
    const [mine, theirs] = [viewOf(store, 'mine'), viewOf(store, 'theirs')];
    const first = await theirs.store(theirs.standaloneId, message('one'));
    for (const data of ['two', 'three']) await theirs.store(theirs.standaloneId, message(data));
    let skipped = 0;
    const sink = { skip: async () => void (skipped += 1) };
    expect(await mine.streamOf(first!, sink)).toBeUndefined();
    expect(skipped).toBe(2);
    expect(await theirs.streamOf(first!, sink)).toBe(theirs.standaloneId);
  });

  test.each([undefined, null, 5, {}, ''])(
    'treats an event as unknown if the store names an invalid stream ID: %j',
    async (streamId) => {
      const getStreamIdForEventId = () => Promise.resolve(streamId as never);
      const view = viewOf(
        storeWith(() => ({ getStreamIdForEventId })),
        'session',
      );
      expect(await view.streamOf('1', { skip })).toBeUndefined();
    },
  );

  test('treats an event as unknown if the lookup returns no promise', async () => {
    const getStreamIdForEventId = () => undefined as never;
    const view = viewOf(
      storeWith(() => ({ getStreamIdForEventId })),
      'session',
    );
    expect(await view.streamOf('1', { skip })).toBeUndefined();
  });

  test('holds no refused answers if the router keeps none', () => {
    const view = viewOf(
      storeWith(() => ({})),
      'session',
    );
    expect(view.refusedAnswers(view.newStreamId([1]))).toEqual([]);
  });

  test('does not replay priming events: they have no message', async () => {
    const view = viewOf(
      storeWith(() => ({})),
      'session',
    );
    const first = await view.store(view.standaloneId);
    await view.store(view.standaloneId, message('one'));
    await view.store(view.standaloneId);
    expect(await eventsAfter(view, first!, view.standaloneId)).toMatchObject([
      { json: JSON.stringify(message('one')) },
    ]);
  });

  test('gives streams of two epochs different names, except the standalone stream, which continues', () => {
    const store = storeWith(() => ({}));
    const [first, second] = [viewOf(store, 'session', 0), viewOf(store, 'session', 1)];
    const names = [first, second].flatMap((view) => [view.newStreamId([1]), view.newStreamId([1])]);
    expect(new Set(names).size).toBe(4);
    expect(first.standaloneId).toBe(second.standaloneId);
    expect(names).not.toContain(first.standaloneId);
  });
});

describe('a store that hangs', () => {
  const asked: (() => void)[] = [];
  const hanging = (): EventStore => ({
    storeEvent: () => new Promise((resolve) => asked.push(() => resolve('late'))),
    replayEventsAfter: () => Promise.resolve(''),
  });
  const clock = new FakeClock();
  const failures: string[] = [];
  const view = new SessionEventLog(hanging(), 'session', 0, clock, (what) => failures.push(what));
  const store = () => view.store(view.standaloneId, message('x'));

  test('delays one event for ten seconds and none for the next minute; then it is tried again', async () => {
    const first = store();
    clock.advance(10_000);
    expect(await first).toBeUndefined();
    expect(failures).toHaveLength(1);

    clock.advance(59_999);
    expect(await store()).toBeUndefined();
    expect(asked).toHaveLength(1);

    clock.advance(1);
    const again = store();
    expect(asked).toHaveLength(2);
    clock.advance(10_000);
    expect(await again).toBeUndefined();
  });

  test('has its time-out while the store reads, and not while the reader takes an event', async () => {
    const store: EventStore = {
      storeEvent: () => Promise.resolve('1'),
      replayEventsAfter: async (_lastEventId, { send }) => {
        await send('2', message('x'));
        return new Promise(() => undefined);
      },
    };
    const patient = new SessionEventLog(store, 'session', 0, clock, () => undefined);
    let take = (): void => undefined;
    const replaying = patient.replay('1', patient.standaloneId, {
      take: () => new Promise((resolve) => (take = resolve)),
    });
    clock.advance(3_600_000);
    take();
    await new Promise(setImmediate);
    let over = false;
    const failed = replaying.catch((error: unknown) => ((over = true), String(error)));
    for (let second = 0; second < 9; second += 1) clock.advance(1_000);
    await new Promise(setImmediate);
    expect(over).toBe(false);
    for (let second = 0; second < 11; second += 1) clock.advance(1_000);
    expect(await failed).toContain('did not answer in time');
  });

  test('is used again as soon as it has answered', async () => {
    asked[1]!();
    await new Promise(setImmediate);
    const next = store();
    asked[2]!();
    expect(await next).toBe('late');
    expect(clock.pending).toBe(0);
  });
});
