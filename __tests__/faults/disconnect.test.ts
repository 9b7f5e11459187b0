import { setImmediate } from 'node:timers/promises';
import { memoryEventStore } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { REPLIES, startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Spec 2025-11-25, basic/transports, "Sending Messages to the Server": "Disconnection MAY occur at any time. Disconnection
// SHOULD NOT be interpreted as the client cancelling its request."

let harness: Scripted;
afterEach(() => harness.close());

/** A call that reports that it runs. The test decides when it goes on and when it is done. */
const scene = () => {
  const started = new Deferred<Extra>();
  const goOn = new Deferred();
  const release = new Deferred<object>();
  const log = (extra: Extra, data: string) =>
    extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
  const work = async (_params: unknown, extra: Extra) => {
    started.resolve(extra);
    await goOn.promise;
    await log(extra, 'meanwhile');
    return release.promise;
  };
  return { started, goOn, release, work };
};

describe.each(REPLIES)('a client that disconnects during a call (%s)', (_, options) => {
  test('does not cancel it: the handler runs on, and its session is not ended under it', async () => {
    const { started, goOn, release, work } = scene();
    harness = await startScripted({ work }, { ttl: 10_000, orphanAfter: 1_000, ...options() });
    const session = await harness.session();
    const hangUp = new AbortController();
    const reply = session.request(1, 'work', {}, hangUp.signal).then((response) => response.text());
    const { signal } = await started.promise;
    hangUp.abort();
    await expect(reply).rejects.toThrow('abort');
    harness.clock.advance(1_000_000);

    expect(harness.router.sessions.get(session.id)).toMatchObject({ state: 'active', requests: 1 });
    goOn.resolve();
    expect(await session.call(2, 'ping')).toMatchObject({ id: 2, result: {} });
    expect(signal.aborted).toBe(false);

    release.resolve({});
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    await harness.unattached(session);
    harness.clock.advance(10_000);
    expect(harness.router.sessions.list()).toEqual([]);
    expect(harness.log.all).toEqual([]);
  });

  test('can cancel it by name afterwards', async () => {
    const { started, work } = scene();
    harness = await startScripted({ work }, options());
    const session = await harness.session();
    const hangUp = new AbortController();
    const reply = session.request(1, 'work', {}, hangUp.signal);
    const { signal } = await started.promise;
    hangUp.abort();
    await reply.catch(() => undefined);
    await session.cancel(1);
    await until('the signal has aborted', () => signal.aborted);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
  });
});

describe('the events that a client missed after it disconnected during a call (spec 2025-11-25, "Resumability and Redelivery")', () => {
  const startCall = async () => {
    const { goOn, release, work } = scene();
    harness = await startScripted({ work }, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const hangUp = new AbortController();
    const stream = new EventStream(await session.request(1, 'work', {}, hangUp.signal));
    const primed = (await stream.block())!;
    hangUp.abort();
    await expect(stream.block()).rejects.toThrow('abort');
    return { session, lastEventId: primed.id!, goOn, release };
  };
  const MEANWHILE = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'meanwhile' } };
  const ANSWER = { jsonrpc: '2.0', id: 1, result: { done: true } };

  test('are replayed by GET with Last-Event-ID when the call is done, and the reply ends', async () => {
    const { session, lastEventId, goOn, release } = await startCall();
    goOn.resolve();
    release.resolve({ done: true });
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    const missed = await soon('the replay has ended', (await session.stream(lastEventId)).messages());
    expect(missed).toEqual([MEANWHILE, ANSWER]);
  });

  test('are replayed while the call still runs, before later events, the answer and the end of the reply', async () => {
    const { session, lastEventId, goOn, release } = await startCall();
    goOn.resolve();
    const resumed = await session.stream(lastEventId);
    expect(await resumed.message()).toEqual(MEANWHILE);
    release.resolve({ done: true });
    expect(await soon('the stream has ended', resumed.messages())).toEqual([ANSWER]);
  });

  test('are replayed at each GET, after any event ID; when none is left, 204', async () => {
    const { session, lastEventId, goOn, release } = await startCall();
    goOn.resolve();
    release.resolve({ done: true });
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    const first = await session.stream(lastEventId);
    const meanwhile = await first.event();
    const answer = await first.event();
    expect(await (await session.stream(meanwhile.id)).messages()).toEqual([ANSWER]);
    expect(await (await session.stream(lastEventId)).messages()).toHaveLength(2);
    const end = await session.get(answer.id);
    expect([end.status, await end.text()]).toEqual([204, '']);
  });

  test('are replayed without a hole when the client resumes while the answer is being stored', async () => {
    const storing = new Deferred();
    const gate = new Deferred();
    const asked = new Deferred();
    const eventStore = storeWith((inner) => ({
      storeEvent: async (streamId, message) => {
        if ('result' in message) {
          storing.resolve();
          await gate.promise;
        }
        return inner.storeEvent(streamId, message);
      },
      getStreamIdForEventId: (eventId) => {
        asked.resolve();
        return inner.getStreamIdForEventId(eventId);
      },
    }));
    harness = await startScripted({ work: () => ({ done: true }) }, { eventStore });
    const session = await harness.session();
    const stream = new EventStream(await session.request(1, 'work'));
    const primed = (await stream.block())!;
    await storing.promise;
    const resumed = session.stream(primed.id);
    await asked.promise;
    await setImmediate();
    gate.resolve();
    expect(await soon('the stream has ended', stream.messages())).toEqual([ANSWER]);
    const replayed = resumed.then((it) => it.messages());
    expect(await soon('the resumed stream has ended', replayed)).toEqual([ANSWER]);
  });

  test('stay on the open stream when a resume of it is abandoned', async () => {
    const gate = new Deferred();
    const asked = new Deferred();
    const eventStore = storeWith((inner) => ({
      replayEventsAfter: async (lastEventId, to) => {
        asked.resolve();
        await gate.promise;
        return inner.replayEventsAfter(lastEventId, to);
      },
    }));
    const { goOn, release, work } = scene();
    harness = await startScripted({ work }, { eventStore });
    const session = await harness.session();
    const stream = new EventStream(await session.request(1, 'work'));
    const primed = (await stream.block())!;
    const giveUp = new AbortController();
    const gone = harness.socketsGone();
    const resumed = session.get(primed.id, giveUp.signal);
    await asked.promise;
    giveUp.abort();
    await expect(resumed).rejects.toThrow('abort');
    await until('the router knows', () => harness.socketsGone() > gone);
    gate.resolve();
    goOn.resolve();
    release.resolve({ done: true });
    expect(await soon('the stream has ended', stream.messages())).toEqual([MEANWHILE, ANSWER]);
  });
});
