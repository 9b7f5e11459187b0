import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { EmptyResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { ERRORS } from '../../src/errors.js';
import { memoryEventStore } from '../../src/index.js';
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
      const blocks = await new EventStream(await session.request(1, 'talk')).blocks();
      expect(blocks.map(({ id }) => id)).toEqual([undefined, undefined]);
      expect(blocks.filter(({ data }) => data !== '').map(({ data }) => JSON.parse(data))).toMatchObject([
        { params: { data: 'begun' } },
        { id: 1, result: { done: true } },
      ]);
      await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'outside' });
      expect(await standalone.message()).toMatchObject({ params: { data: 'outside' } });
      expect(harness.log.text).toContain(cause);
    },
  );

  test('as it never settles: the first event waits 10 s, later ones do not wait, and all are sent without IDs', async () => {
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

  test('as it is slow once: events have IDs again after its answer', async () => {
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

  test('as it sends a value that is no message: 503, without a byte of it', async () => {
    const { session, lastEventId } = await startAndMiss((inner) => ({
      replayEventsAfter: async (eventId, { send }) => {
        await send('1', null as never);
        return inner.replayEventsAfter(eventId, { send });
      },
    }));
    expect((await session.get(lastEventId)).status).toBe(503);
  });

  test('as it fails while the stream is open: the open stream goes on', async () => {
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

describe('an event store that refuses an answer while its client is away (docs/transport.md, "Resumability")', () => {
  const isAnswer = (message: object): boolean => 'result' in message || 'error' in message;
  const REFUSES: [how: string, storeEvent: (inner: EventStore['storeEvent']) => EventStore['storeEvent']][] = [
    [
      'rejects',
      (inner) => (id, message) => (isAnswer(message) ? Promise.reject(new Error('full')) : inner(id, message)),
    ],
    ['throws', (inner) => (id, message) => (isAnswer(message) ? fail() : inner(id, message))],
    ['gives no ID for', (inner) => (id, message) => (isAnswer(message) ? Promise.resolve('') : inner(id, message))],
  ];
  const refusing = (storeEvent = REFUSES[0]![1]) =>
    storeWith((inner) => ({ storeEvent: storeEvent((id, message) => inner.storeEvent(id, message)) }));

  /** Calls `work`, which sends an event and waits, and hangs up before the answer. */
  const callAndLose = async (options: Parameters<typeof startScripted>[1], id: string | number = 1) => {
    const answer = new Deferred<object>();
    const work = async (_params: unknown, extra: Extra) => (await log(extra, 'begun'), answer.promise);
    harness = await startScripted({ work, talk }, options);
    const session = await harness.session();
    const gone = harness.socketsGone();
    const hangUp = new AbortController();
    const { id: lastEventId } = (await new EventStream(await session.request(id, 'work', {}, hangUp.signal)).block())!;
    hangUp.abort();
    await until('the router knows', () => harness.socketsGone() > gone);
    const settle = async (result: object): Promise<void> => {
      answer.resolve(result);
      await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    };
    return { session, lastEventId: lastEventId!, settle };
  };
  const NOT_STORED = { error: { code: ERRORS.answerNotStored.code, message: ERRORS.answerNotStored.message } };

  test.each(REFUSES)('and %s it: a resume gets the answer, early or late', async (_how, storeEvent) => {
    const { session, lastEventId, settle } = await callAndLose({ eventStore: refusing(storeEvent) });
    await settle({ done: true });
    for (let time = 0; time < 2; time += 1) {
      expect(await (await session.stream(lastEventId)).messages()).toMatchObject([
        { params: { data: 'begun' } },
        { id: 1, result: { done: true } },
      ]);
    }
  });

  test('by hanging: a resume gets the answer when the store works again', async () => {
    const hanging = { now: false };
    const eventStore = storeWith((inner) => ({
      storeEvent: (id, message) => (hanging.now ? never() : inner.storeEvent(id, message)),
    }));
    const { session, lastEventId, settle } = await callAndLose({ eventStore });
    hanging.now = true;
    const settled = settle({ done: true });
    await until('it is settled', () => {
      harness.clock.advance(1_000);
      return harness.router.sessions.get(session.id)?.requests === 0;
    });
    await settled;
    expect((await (await session.stream(lastEventId)).messages()).at(-1)).toMatchObject({ result: { done: true } });
  });

  test('and whose session hibernates meanwhile: a resume gets the answer', async () => {
    const { session, lastEventId, settle } = await callAndLose({ eventStore: refusing(), hibernateAfter: 60_000 });
    await settle({ done: true });
    await harness.unattached(session);
    harness.clock.advance(120_000);
    await until('it hibernates', () => harness.router.sessions.get(session.id)?.state === 'hibernated');
    expect((await (await session.stream(lastEventId)).messages()).at(-1)).toMatchObject({ result: { done: true } });
  });

  test.each<[why: string, result: object, wait: number]>([
    ['is older than five minutes', { done: true }, 300_000],
    ['is larger than what may be kept of a session', { text: 'x'.repeat(5 * 1024 * 1024) }, 0],
  ])('and the answer %s: a resume gets -32000 "the outcome of the request is unknown"', async (_why, result, wait) => {
    const { session, lastEventId, settle } = await callAndLose({ eventStore: refusing() });
    await settle(result);
    harness.clock.advance(wait);
    expect(await (await session.stream(lastEventId)).messages()).toMatchObject([
      { params: { data: 'begun' } },
      { id: 1, ...NOT_STORED },
    ]);
  });

  test.each<[outcome: string, maxBytesPerSession: number | undefined, length: number, end: object]>([
    ['the answer, where the router keeps it', 100_000, 200_000, { result: { text: 'x'.repeat(200_000) } }],
    ['-32000, where it is too large to be kept', undefined, 9 * 1024 * 1024, NOT_STORED],
  ])(
    'as memoryEventStore does, when it exceeds maxBytesPerSession: a resume gets %s',
    async (_outcome, maxBytesPerSession, length, end) => {
      const { session, lastEventId, settle } = await callAndLose({
        eventStore: memoryEventStore({ maxBytesPerSession }),
      });
      await settle({ text: 'x'.repeat(length) });
      expect(await (await session.stream(lastEventId)).messages()).toMatchObject([
        { params: { data: 'begun' } },
        { id: 1, ...end },
      ]);
    },
  );

  test('and the ID of the request is not known: a resume gets 400, and never 204', async () => {
    const { session, lastEventId, settle } = await callAndLose({ eventStore: refusing() }, 'x'.repeat(1_000));
    await settle({ text: 'x'.repeat(5 * 1024 * 1024) });
    const stream = await session.stream(lastEventId);
    const { id } = await stream.event();
    expect((await session.get(id)).status).toBe(400);
  });

  test('and has dropped the event of Last-Event-ID: a resume gets the answer', async () => {
    const known = new Set<string>();
    const eventStore = storeWith((inner) => ({
      storeEvent: async (id, message) => (isAnswer(message) ? fail() : inner.storeEvent(id, message)),
      getStreamIdForEventId: (id) =>
        known.has('forgotten') ? Promise.resolve(undefined) : inner.getStreamIdForEventId(id),
    }));
    const { session, lastEventId, settle } = await callAndLose({ eventStore });
    await settle({ done: true });
    known.add('forgotten');
    expect(await (await session.stream(lastEventId)).messages()).toMatchObject([{ id: 1, result: { done: true } }]);
  });

  test('in a batch that still runs: a resume gets the answer, and the later events', async () => {
    const gates = new Map(['a', 'b'].map((id) => [id, new Deferred<object>()]));
    const work = async (_params: unknown, extra: Extra) => {
      await log(extra, 'begun');
      return gates.get(String(extra.requestId))!.promise;
    };
    harness = await startScripted({ work }, { eventStore: refusing() });
    const session = await harness.session({ version: '2025-03-26' });
    const gone = harness.socketsGone();
    const hangUp = new AbortController();
    const batch = [...gates.keys()].map((id) => ({ jsonrpc: '2.0', id, method: 'work' }));
    const stream = new EventStream(await session.post(batch, hangUp.signal));
    await stream.event();
    const { id: lastEventId } = await stream.event();
    hangUp.abort();
    await until('the router knows', () => harness.socketsGone() > gone);
    gates.get('a')!.resolve({ first: true });
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 1);
    const resumed = await session.stream(lastEventId);
    expect(await resumed.message()).toMatchObject({ id: 'a', result: { first: true } });
    gates.get('b')!.resolve({ second: true });
    expect(await resumed.messages()).toMatchObject([{ id: 'b', result: { second: true } }]);
  });

  test('and whose session ends: the answer is dropped with the session', async () => {
    const { session, settle } = await callAndLose({ eventStore: refusing() });
    await settle({ done: true });
    await session.terminate();
    await harness.router.close();
    expect(harness.clock.pending).toBe(0);
  });

  test('and a request of the server: its handler fails at once, as neither client nor store has it', async () => {
    const told = new Deferred<unknown>();
    const release = new Deferred();
    const eventStore = storeWith((inner) => ({
      storeEvent: async (id, message) =>
        'method' in message && 'id' in message ? fail() : inner.storeEvent(id, message),
    }));
    const ask = async (_params: unknown, extra: Extra) => {
      await release.promise;
      await extra.sendRequest({ method: 'ping' }, EmptyResultSchema).catch((error: unknown) => told.resolve(error));
      return {};
    };
    harness = await startScripted({ ask }, { eventStore });
    const session = await harness.session();
    const gone = harness.socketsGone();
    const hangUp = new AbortController();
    await new EventStream(await session.request(1, 'ask', {}, hangUp.signal)).block();
    hangUp.abort();
    await until('the router knows', () => harness.socketsGone() > gone);
    release.resolve();
    expect(String(await soon('it is told', told.promise))).toContain('The client has gone');
  });
});
