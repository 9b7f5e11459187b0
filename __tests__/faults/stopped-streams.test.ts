import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { memoryEventStore } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import type { RawSession } from '../support/raw-session.js';
import { startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { StalledReader } from '../support/stalled-reader.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

type Question = 'getStreamIdForEventId' | 'replayEventsAfter';

/** A store that takes its time over one of the two questions that a resume asks it. */
function lateStore(question: Question) {
  const asked = new Deferred();
  const gate = new Deferred();
  const late = async <T>(answer: () => Promise<T>): Promise<T> => {
    asked.resolve();
    await gate.promise;
    return answer();
  };
  const eventStore = storeWith((inner): Partial<EventStore> => {
    if (question === 'replayEventsAfter') {
      return { replayEventsAfter: (eventId, to) => late(() => inner.replayEventsAfter(eventId, to)) };
    }
    return { getStreamIdForEventId: (eventId) => late(() => inner.getStreamIdForEventId(eventId)) };
  });
  return { asked, gate, eventStore };
}

const say = (data: string, server = harness.servers[0]!) => server.sendLoggingMessage({ level: 'info', data });

/** Resolves with the reason when a session is closed. */
const closing = () =>
  new Promise((resolve) => void harness.router.sessions.once('closed', (_info, reason) => resolve(reason)));

describe('the standalone stream of a session that is past maxLifetime', () => {
  test('cannot be resumed: 404, and the session ends when its last call settles', async () => {
    const release = new Deferred<object>();
    harness = await startScripted(
      { work: () => release.promise },
      { eventStore: memoryEventStore(), maxLifetime: 60_000 },
    );
    const closed = closing();
    const session = await harness.session();
    const stream = await session.stream();
    const { id } = (await stream.block())!;
    const call = session.call(1, 'work');
    await until('it runs', () => harness.router.sessions.get(session.id)?.requests === 1);
    harness.clock.advance(60_000);
    await soon('the stream has ended', stream.blocks());

    expect((await session.get(id)).status).toBe(404);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(1);
    release.resolve({ done: true });
    expect(await call).toMatchObject({ result: { done: true } });
    expect(await soon('the session has ended', closed)).toBe('lifetime');
  });

  test('cannot be resumed by a client while the store looks up its event at maxLifetime', async () => {
    const { asked, gate, eventStore } = lateStore('getStreamIdForEventId');
    harness = await startScripted({}, { eventStore, maxLifetime: 60_000 });
    const closed = closing();
    const session = await harness.session();
    const lastEventId = await harness.openAndLose(session);
    // Nearly there, as a store that does not answer is given up after 10 s.
    harness.clock.advance(59_000);
    const resumed = session.get(lastEventId);
    await asked.promise;
    harness.clock.advance(1_000);
    gate.resolve();
    expect((await soon('the reply', resumed)).status).toBe(404);
    expect(await soon('the session has ended', closed)).toBe('lifetime');
  });

  test('is sent to its end to a client while the store reads its events at maxLifetime', async () => {
    const { asked, gate, eventStore } = lateStore('replayEventsAfter');
    harness = await startScripted({}, { eventStore, maxLifetime: 60_000 });
    const closed = closing();
    const session = await harness.session();
    const lastEventId = await harness.openAndLose(session);
    await say('missed');
    harness.clock.advance(59_000);
    const resumed = session.stream(lastEventId);
    await asked.promise;
    harness.clock.advance(1_000);
    gate.resolve();
    const messages = await soon(
      'the stream has ended',
      resumed.then((stream) => stream.messages()),
    );
    expect(messages).toMatchObject([{ params: { data: 'missed' } }]);
    expect(await soon('the session has ended', closed)).toBe('lifetime');
  });

  test('ends without the stream of a call, which its client may still resume', async () => {
    const release = new Deferred<object>();
    harness = await startScripted(
      { work: () => release.promise },
      { eventStore: memoryEventStore(), maxLifetime: 60_000 },
    );
    const session = await harness.session();
    const hangUp = new AbortController();
    const first = new EventStream(await session.request(1, 'work', {}, hangUp.signal));
    const { id } = (await first.block())!;
    hangUp.abort();
    harness.clock.advance(60_000);
    const resumed = await session.stream(id);
    release.resolve({ done: true });
    expect(await soon('the stream has ended', resumed.messages())).toMatchObject([{ id: 1, result: { done: true } }]);
  });
});

describe('drain', () => {
  test('opens and ends the stream of a client while the store looks up its event', async () => {
    const { asked, gate, eventStore } = lateStore('getStreamIdForEventId');
    harness = await startScripted({}, { eventStore });
    const session = await harness.session();
    const lastEventId = await harness.openAndLose(session);
    const resumed = session.get(lastEventId);
    await asked.promise;
    const drained = harness.router.drain(60_000);
    gate.resolve();
    const response = await soon('the reply', resumed);
    expect(response.status).toBe(200);
    await soon('the end of the stream', response.text());
    await soon('all is closed, and the clock has stood still', drained);
  });

  test('ends the stream of a client after the events that the store is reading', async () => {
    const { asked, gate, eventStore } = lateStore('replayEventsAfter');
    harness = await startScripted({}, { eventStore });
    const session = await harness.session();
    const lastEventId = await harness.openAndLose(session);
    await say('missed');
    const resumed = session.stream(lastEventId);
    await asked.promise;
    const drained = harness.router.drain(60_000);
    gate.resolve();
    const messages = await soon(
      'the stream has ended',
      resumed.then((stream) => stream.messages()),
    );
    expect(messages).toMatchObject([{ params: { data: 'missed' } }]);
    await soon('all is closed, and the clock has stood still', drained);
  });
});

test('a standalone stream is pinged also if its resume took longer than pingInterval', async () => {
  const { asked, gate, eventStore } = lateStore('replayEventsAfter');
  harness = await startScripted({}, { eventStore, pingInterval: 1_000 });
  const session = await harness.session();
  const lastEventId = await harness.openAndLose(session);
  const resumed = session.stream(lastEventId);
  await asked.promise;
  harness.clock.advance(2_000);
  gate.resolve();
  const stream = await soon('the stream is open', resumed);
  for (let round = 0; round < 2; round += 1) {
    harness.clock.advance(1_000);
    const { id, method } = await soon('a ping', stream.message());
    expect(method).toBe('ping');
    await session.answer(id, {});
  }
});

describe('why a session counts as orphaned', () => {
  const orphanCauseOf = async (session: RawSession) => {
    await harness.unattached(session);
    harness.clock.advance(60_000);
    return harness.router.sessions.get(session.id)?.orphanCause;
  };

  const REFUSALS: [status: number, replayEventsAfter: EventStore['replayEventsAfter']][] = [
    [400, () => Promise.resolve('the stream of another')],
    [503, () => Promise.reject(new Error('the disk is full'))],
  ];

  test.each(REFUSALS)(
    'a client that lost its stream has lost it still when its resume was refused with %i',
    async (status, replayEventsAfter) => {
      harness = await startScripted({}, { eventStore: storeWith(() => ({ replayEventsAfter })) });
      const session = await harness.session();
      const lastEventId = await harness.openAndLose(session);
      await say('missed');
      const response = await session.get(lastEventId);
      await response.text();
      expect(response.status).toBe(status);
      expect(await orphanCauseOf(session)).toBe('stream_lost');
    },
  );

  test('a client that hung up on a JSON reply has lost no stream: it is idle', async () => {
    const started = new Deferred();
    const release = new Deferred<object>();
    harness = await startScripted({ work: () => (started.resolve(), release.promise) }, { enableJsonResponse: true });
    const session = await harness.session();
    const gone = harness.socketsGone();
    const hangUp = new AbortController();
    const call = session.request(1, 'work', {}, hangUp.signal);
    await started.promise;
    hangUp.abort();
    await expect(call).rejects.toThrow('abort');
    await until('the router knows', () => harness.socketsGone() > gone);
    release.resolve({ done: true });
    expect(await orphanCauseOf(session)).toBe('idle');
  });
});

describe('a client that resumes and does not read', () => {
  const MISSED = 20;
  const TEXT = 'x'.repeat(100_000);

  test('delays no awaited notification and no broadcast, and loses no event', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const other = await (await harness.session()).stream();
    const lastEventId = await harness.openAndLose(session);
    for (let n = 0; n < MISSED; n += 1) await say(TEXT);
    const reader = await StalledReader.open(harness.http, session, undefined, lastEventId);
    await reader.full();

    for (const server of harness.servers) await soon('it is sent', say('to all', server));
    expect(await soon('the other has it', other.message())).toMatchObject({ params: { data: 'to all' } });
    expect(reader.res.writableNeedDrain).toBe(true);
    reader.readAll();
    await until('the stalled one has all, and that too', () => reader.notifications === MISSED + 1);
  });

  test('gets all missed events when its request is cancelled meanwhile, and then the end', async () => {
    const extra = new Deferred<Extra>();
    harness = await startScripted(
      { hang: (_params, given) => (extra.resolve(given), never()) },
      { eventStore: memoryEventStore() },
    );
    const session = await harness.session();
    const gone = harness.socketsGone();
    const hangUp = new AbortController();
    const first = new EventStream(await session.request(1, 'hang', {}, hangUp.signal));
    const { id } = (await first.block())!;
    hangUp.abort();
    await until('the router knows', () => harness.socketsGone() > gone);
    const { sendNotification } = await extra.promise;
    for (let n = 0; n < MISSED; n += 1) {
      await sendNotification({ method: 'notifications/message', params: { level: 'info', data: TEXT } });
    }
    const reader = await StalledReader.open(harness.http, session, undefined, id);
    await reader.full();
    await session.cancel(1);
    reader.readAll();
    await until('the reply has ended', () => reader.tail.endsWith('0\r\n\r\n'));
    expect(reader.notifications).toBe(MISSED);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
  });
});
