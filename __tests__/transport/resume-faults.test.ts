import type { ServerResponse } from 'node:http';
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { notification, storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { answerOf, type RawSession } from '../support/raw-session.js';
import { startScripted, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// What may become of a resume while the event store is asked (spec 2025-11-25, basic/transports, "Resumability and Redelivery").

let harness: Scripted;
afterEach(() => harness.close());

/** Each GET's reply, as the router has it. */
let replies: ServerResponse[];

async function begin(options: Partial<McpRouterOptions>, methods: Readonly<Record<string, Method>> = {}) {
  replies = [];
  harness = await startScripted(methods, options, undefined, (app, router) => {
    app.use('/mcp', (req, res, next) => {
      if (req.method === 'GET') replies.push(res);
      next();
    });
    app.use('/mcp', router);
  });
  return harness.session();
}

/** The ID of the first event of a finished request's stream. */
async function firstEventOf(session: RawSession): Promise<string> {
  const blocks = await new EventStream(await session.request(1, 'ping')).blocks();
  return blocks[0]!.id!;
}

/** Sends a GET and hangs up once `reached` is so. */
async function hangUpWhen(session: RawSession, lastEventId: string, reached: Promise<unknown>): Promise<void> {
  const hangUp = new AbortController();
  const failed = session.get(lastEventId, hangUp.signal).catch(() => undefined);
  await reached;
  const reply = replies.at(-1)!;
  hangUp.abort();
  await failed;
  await until('the router knows that the client has gone', () => reply.destroyed);
}

describe('a resume whose client hangs up while the store', () => {
  let asked: Deferred;
  let gate: Deferred;
  beforeEach(() => {
    asked = new Deferred();
    gate = new Deferred();
  });
  const held = async (): Promise<void> => {
    asked.resolve();
    await gate.promise;
  };
  const nothingFailed = async (session: RawSession): Promise<void> => {
    gate.resolve();
    expect(await session.call('after', 'ping')).toMatchObject({ id: 'after', result: {} });
    expect(harness.log.text).toBe('');
  };

  test('looks for the stream does not end the newer resume of the same stream', async () => {
    let lookups = 0;
    const eventStore = storeWith((inner) => ({
      async getStreamIdForEventId(eventId) {
        if ((lookups += 1) === 1) await held();
        return inner.getStreamIdForEventId(eventId);
      },
    }));
    const session = await begin({ eventStore });
    const lastEventId = (await harness.openAndLose(session))!;
    await hangUpWhen(session, lastEventId, asked.promise);
    const newer = await session.stream(lastEventId);
    await nothingFailed(session);
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'to the newer one' });
    expect(await newer.message()).toMatchObject({ params: { data: 'to the newer one' } });
  });

  test('looks for an unknown event ends, and nothing is logged', async () => {
    const eventStore = storeWith(() => ({
      async getStreamIdForEventId() {
        await held();
        return undefined;
      },
    }));
    const session = await begin({ eventStore });
    const lastEventId = await firstEventOf(session);
    await hangUpWhen(session, lastEventId, asked.promise);
    await nothingFailed(session);
  });

  test('reads a finished stream ends, and nothing is logged', async () => {
    const eventStore = storeWith(() => ({
      async replayEventsAfter() {
        await held();
        throw new Error('gone');
      },
    }));
    const session = await begin({ eventStore });
    const lastEventId = await firstEventOf(session);
    await hangUpWhen(session, lastEventId, asked.promise);
    await nothingFailed(session);
  });

  test('has read all of a finished stream ends, and nothing is logged', async () => {
    const eventStore = storeWith((inner) => ({
      async replayEventsAfter(lastEventId) {
        await held();
        return (await inner.getStreamIdForEventId(lastEventId)) ?? '';
      },
    }));
    const session = await begin({ eventStore });
    const lastEventId = await firstEventOf(session);
    await hangUpWhen(session, lastEventId, asked.promise);
    await nothingFailed(session);
  });
});

describe('a store that', () => {
  test('fails in the middle of a replay breaks the reply off, so that its client resumes for the rest', async () => {
    const gate = new Deferred();
    const eventStore = storeWith(() => ({
      async replayEventsAfter(_lastEventId, { send }) {
        await send('read', notification('one'));
        await gate.promise;
        throw new Error('lost the disk');
      },
    }));
    const session = await begin({ eventStore });
    const lastEventId = await firstEventOf(session);
    const stream = await session.stream(lastEventId);
    expect(await stream.message()).toMatchObject({ params: { text: 'one' } });
    gate.resolve();
    await expect(stream.blocks()).rejects.toThrow();
    expect(harness.log.text).toContain('a replay could not go on');
    expect(harness.log.text).toContain('lost the disk');
  });

  test('forgets the events of a finished stream between naming it and reading it gives 400', async () => {
    const eventStore = storeWith(() => ({ replayEventsAfter: () => Promise.resolve('') }));
    const session = await begin({ eventStore });
    const lastEventId = await firstEventOf(session);
    const response = await session.get(lastEventId);
    expect([response.status, await response.json()]).toMatchObject([400, { error: { code: -32000 } }]);
  });

  test('sends an event after its time-out gets a rejection', async () => {
    const gate = new Deferred();
    let late: Promise<unknown> | undefined;
    const eventStore: EventStore = storeWith(() => ({
      replayEventsAfter: (_lastEventId, { send }) =>
        gate.promise.then(() => (late = send('late', notification('too late'))).then(() => '')),
    }));
    const session = await begin({ eventStore });
    const lastEventId = await firstEventOf(session);
    const response = session.get(lastEventId);
    await until('the store is given up', () => {
      harness.clock.advance(1_000);
      return harness.log.text.includes('did not answer in time');
    });
    expect((await soon('the answer', response)).status).toBe(503);
    gate.resolve();
    await until('the event is sent', () => late !== undefined);
    await expect(late).rejects.toThrow('did not answer in time');
  });
});

test('the stream of a request can be resumed after a quiet time longer than events are kept', async () => {
  const clock = new FakeClock();
  const gate = new Deferred();
  const wait: Method = async (_params, extra) => {
    extra.closeSSEStream?.();
    await gate.promise;
    return { waited: true };
  };
  const session = await begin({ eventStore: memoryEventStore({ maxAge: 1_000, clock }) }, { wait });
  const other = new EventStream(await session.request(1, 'wait'));
  await other.blocks();
  const [primed] = await new EventStream(await session.request(2, 'wait')).blocks();
  clock.advance(60_000);
  const resumed = session.get(primed!.id);
  await until('the router has the resume', () => replies.length === 1);
  gate.resolve();
  expect(await answerOf(await resumed)).toMatchObject({ id: 2, result: { waited: true } });
});

test('events that the store refuses during a replay, and that are too many to keep, break the replay off', async () => {
  const gate = new Deferred();
  const reading = new Deferred();
  let refuses = false;
  const eventStore = storeWith((inner) => ({
    storeEvent: (streamId, message) =>
      refuses ? Promise.reject(new Error('full')) : inner.storeEvent(streamId, message),
    async replayEventsAfter(lastEventId, { send }) {
      await send('read', notification('one'));
      reading.resolve();
      await gate.promise;
      return (await inner.getStreamIdForEventId(lastEventId)) ?? '';
    },
  }));
  const session = await begin({ eventStore, maxStreamBuffer: 10_000 });
  const lastEventId = (await harness.openAndLose(session))!;
  const stream = await session.stream(lastEventId);
  await reading.promise;
  refuses = true;
  await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'x'.repeat(6_000) });
  gate.resolve();
  await expect(stream.blocks()).rejects.toThrow();
});
