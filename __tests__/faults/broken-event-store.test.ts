import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

const log = (extra: Extra, data: string) =>
  extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } });

/** Says something, then answers. */
const talk = async (_params: unknown, extra: Extra) => {
  await log(extra, 'begun');
  return { done: true };
};

const fail = (): never => {
  throw new Error('the disk is full');
};

/** Event IDs that cannot be sent: empty, none, or with a byte that would begin another field (HTML, 9.2.6). */
const BAD_IDS: unknown[] = ['', undefined, null, 7, 'a\nb', 'a\rb', 'a\r\ndata: {"forged":true}', 'a\0b'];

describe('an event store that cannot store', () => {
  const STORES: [how: string, storeEvent: EventStore['storeEvent'], cause: string][] = [
    ['throws', fail, 'the disk is full'],
    ['rejects', () => Promise.reject(new Error('the disk is full')), 'the disk is full'],
    ...BAD_IDS.map((id): [string, EventStore['storeEvent'], string] => [
      `gives ${JSON.stringify(id)}`,
      () => Promise.resolve(id as string),
      'empty or has a line break',
    ]),
  ];

  test.each(STORES)(
    'as it %s: everything is delivered, without event IDs, and the log says why',
    async (_how, storeEvent, cause) => {
      harness = await startScripted({ talk }, { eventStore: storeWith(() => ({ storeEvent })) });
      const session = await harness.session();
      const standalone = await session.stream();
      expect(await standalone.block()).toMatchObject({ id: undefined, retry: 1_000 });
      const blocks = await new EventStream(await session.request(1, 'talk')).blocks();
      expect(blocks.map(({ id }) => id)).toEqual([undefined, undefined, undefined]);
      expect(blocks.filter(({ data }) => data !== '').map(({ data }) => JSON.parse(data))).toMatchObject([
        { params: { data: 'begun' } },
        { id: 1, result: { done: true } },
      ]);
      await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'outside' });
      expect(await standalone.message()).toMatchObject({ params: { data: 'outside' } });
      expect(harness.log.text).toContain(cause);
    },
  );

  test('as it never settles: the first event waits 10 s for it, the others no more, and all go out without IDs', async () => {
    harness = await startScripted({ talk }, { eventStore: storeWith(() => ({ storeEvent: never })) });
    const session = await harness.session();
    const idle = harness.clock.pending;
    const reply = session.request(1, 'talk');
    await until('it waits for the store', () => harness.clock.pending > idle + 1);
    harness.clock.advance(10_000);
    const messages = await soon(
      'the stream has ended',
      reply.then((response) => new EventStream(response).messages()),
    );
    expect(messages).toMatchObject([{ params: { data: 'begun' } }, { id: 1, result: { done: true } }]);
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
    expect(harness.log.text).toContain('did not answer in time');
  });

  test('as it is slow for once: events have IDs again when it has answered after all', async () => {
    const slow = new Deferred();
    let first = true;
    const eventStore = storeWith((inner) => ({
      storeEvent: async (streamId, message) => {
        if (first) {
          first = false;
          await slow.promise;
        }
        return inner.storeEvent(streamId, message);
      },
    }));
    harness = await startScripted({ talk }, { eventStore });
    const session = await harness.session();
    const idle = harness.clock.pending;
    const reply = session.request(1, 'talk');
    await until('it waits for the store', () => harness.clock.pending > idle + 1);
    harness.clock.advance(10_000);
    const late = await new EventStream(await reply).blocks();
    expect(late.map(({ id }) => id)).toEqual([undefined, undefined, undefined]);
    slow.resolve();
    const again = await new EventStream(await session.request(2, 'talk')).blocks();
    expect(again.map(({ id }) => typeof id)).toEqual(['string', 'string', 'string']);
  });
});

describe('an event store that cannot replay', () => {
  const startAndMiss = async (own: Parameters<typeof storeWith>[0]) => {
    harness = await startScripted({ talk }, { eventStore: storeWith(own) });
    const session = await harness.session();
    const primed = await new EventStream(await session.request(1, 'talk')).block();
    return { session, lastEventId: primed!.id! };
  };
  const STORES: [how: string, own: Partial<EventStore>][] = [
    ['throws when asked for the stream', { getStreamIdForEventId: fail }],
    [
      'rejects when asked for the stream',
      { getStreamIdForEventId: () => Promise.reject(new Error('the disk is full')) },
    ],
    ['throws when asked for the events', { replayEventsAfter: fail }],
    ['rejects when asked for the events', { replayEventsAfter: () => Promise.reject(new Error('the disk is full')) }],
  ];

  test.each(STORES)('as it %s: 503 with Retry-After, the cause to the log', async (_how, own) => {
    const { session, lastEventId } = await startAndMiss(() => own);
    const response = await session.get(lastEventId);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await response.json()).toMatchObject({ error: { code: -32000 } });
    expect(harness.log.text).toContain('the disk is full');
    expect(await session.call(2, 'ping')).toMatchObject({ result: {} });
  });

  test.each(['getStreamIdForEventId', 'replayEventsAfter'])(
    'as its %s never settles: 503 after 10 s, and it does not hold the session for ever',
    async (method) => {
      let asked = false;
      const hang = () => ((asked = true), never());
      const { session, lastEventId } = await startAndMiss(() => ({ [method]: hang }));
      const reply = session.get(lastEventId);
      await until('it is asked', () => asked);
      harness.clock.advance(10_000);
      expect((await soon('the reply', reply)).status).toBe(503);
      await harness.unattached(session);
      harness.clock.advance(30 * 60_000);
      expect(harness.router.sessions.list()).toEqual([]);
    },
  );

  test.each(BAD_IDS.filter((id) => typeof id === 'string'))(
    'as it names the events %j then: they are replayed without ID, and nothing can be forged',
    async (badId) => {
      const { session, lastEventId } = await startAndMiss((inner) => ({
        replayEventsAfter: (eventId, { send }) =>
          inner.replayEventsAfter(eventId, { send: (_id, message) => send(badId, message) }),
      }));
      const blocks = await (await session.stream(lastEventId)).blocks();
      expect(blocks.map(({ id }) => id)).toEqual([undefined, undefined]);
      expect(blocks.map(({ data }) => JSON.parse(data))).toMatchObject([{ params: { data: 'begun' } }, { id: 1 }]);
    },
  );

  test('as it sends what is no message: 503, and no byte of it', async () => {
    const { session, lastEventId } = await startAndMiss((inner) => ({
      replayEventsAfter: async (eventId, { send }) => {
        await send('1', null as never);
        return inner.replayEventsAfter(eventId, { send });
      },
    }));
    expect((await session.get(lastEventId)).status).toBe(503);
  });

  test('as it fails when the stream still runs: the stream that is open stays as it is', async () => {
    const eventStore = storeWith(() => ({ replayEventsAfter: fail }));
    harness = await startScripted({ hang: never }, { eventStore });
    const session = await harness.session();
    const standalone = await session.stream();
    const { id } = (await standalone.block())!;
    expect((await session.get(id)).status).toBe(503);
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'still here' });
    expect(await standalone.message()).toMatchObject({ params: { data: 'still here' } });
  });
});
