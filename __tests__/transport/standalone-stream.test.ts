import type { ServerResponse } from 'node:http';
import { memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { RawSocket, requestBytes } from '../support/raw-http.js';
import { startScripted, type Extra, type Scripted } from '../support/scripted.js';
import { Deferred, never, soon, until } from '../support/waiting.js';

// Spec 2025-11-25, basic/transports, "Listening for Messages from the Server".

let harness: Scripted;
afterEach(() => harness.close());

const STORES: [name: string, options: () => object][] = [
  ['without an event store', () => ({})],
  ['with an event store', () => ({ eventStore: memoryEventStore() })],
];

const say = (data: string) => harness.servers[0]!.sendLoggingMessage({ level: 'info', data });
const said = (data: string) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });

describe('notifications of the server that wait for an event store which hangs (docs/transport.md, "Resumability")', () => {
  const storeEvent = jest.fn<Promise<string>, []>();
  const begin = async (options: object = {}) => {
    storeEvent.mockReset().mockResolvedValueOnce('1').mockImplementation(never);
    harness = await startScripted({}, { eventStore: { storeEvent, replayEventsAfter: never }, ...options });
    return (await harness.session()).stream();
  };
  const dropped = () => harness.log.all.filter(({ what }) => what === 'a notification').length;
  /** The store has been asked for one event after the priming event, and hangs. */
  const asked = () => until('the store is asked', () => storeEvent.mock.calls.length === 2);
  const giveUp = () => harness.clock.advance(10_000);

  test.each([
    ['1,000 of them', {}, Array.from({ length: 1_000 }, (_, n) => String(n))],
    ['maxStreamBuffer characters', { maxStreamBuffer: 1_000 }, ['x'.repeat(1_000)]],
  ])('do not hold their server up, but %s make the next one wait for the store', async (_, options, words) => {
    const stream = await begin(options);
    for (const word of words) await say(word);
    const stored = jest.fn();
    const next = say('next').then(stored);
    await asked();
    expect(stored).not.toHaveBeenCalled();
    giveUp();
    await soon('it is stored', next);
    for (const word of [...words, 'next']) expect(await stream.message()).toEqual(said(word));
  });

  test('are dropped beyond 10,000, and a log line says so', async () => {
    const stream = await begin();
    for (let n = 0; n < 10_001; n += 1) void say(String(n));
    await until('one is dropped', () => dropped() === 1);
    giveUp();
    expect(await stream.message()).toEqual(said('0'));
    await say('later');
    expect(dropped()).toBe(1);
  });

  test('are dropped beyond ten times maxStreamBuffer characters', async () => {
    const stream = await begin({ maxStreamBuffer: 1_000 });
    for (const letter of 'abcdefghijk') void say(letter.repeat(1_000));
    await until('two are dropped', () => dropped() === 2);
    giveUp();
    for (const letter of 'abcdefghi') expect(await stream.message()).toEqual(said(letter.repeat(1_000)));
  });

  test('leave room for those of the app (docs/notify.md, "Order and bounds")', async () => {
    await begin();
    for (let n = 0; n < 40; n += 1) await say(String(n));
    const outcome = harness.router.notify.send({
      method: 'notifications/message',
      params: { level: 'info', data: 'app' },
    });
    await asked();
    giveUp();
    expect(await outcome).toEqual({ delivered: 1, stored: 0, dropped: 0 });
  });
});

test.each([
  [3_000, 1],
  [40, 100_000],
])('%d awaited notifications of a server, %d characters each, all reach a client that reads', async (count, length) => {
  harness = await startScripted({}, { eventStore: memoryEventStore() });
  const stream = await (await harness.session()).stream();
  for (let n = 0; n < count; n += 1) await say('x'.repeat(length));
  await say('the last');
  for (let n = 0; n < count; n += 1) expect((await stream.message()).params.data).toHaveLength(length);
  expect(await stream.message()).toEqual(said('the last'));
});

describe.each(STORES)('the standalone stream (%s)', (_, options) => {
  test('carries messages that the server sends outside a request, in order', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const stream = await session.stream();
    for (const word of ['one', 'two', 'three']) void say(word);
    for (const word of ['one', 'two', 'three']) expect(await stream.message()).toEqual(said(word));
  });

  test('is the only one of its session: a second GET gets 409, and the first stays open', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const stream = await session.stream();
    const second = await session.getBeside(stream);
    expect(second.status).toBe(409);
    expect(await second.json()).toMatchObject({ id: null, error: { code: -32000 } });
    await say('still here');
    expect(await stream.message()).toEqual(said('still here'));
  });

  test('belongs to one session', async () => {
    harness = await startScripted({}, options());
    const [first, second] = [await harness.session(), await harness.session()];
    const streams = [await first.stream(), await second.stream()];
    await Promise.all(
      harness.servers.map((server, n) => server.sendLoggingMessage({ level: 'info', data: `to ${n}` })),
    );
    expect(await streams[0]!.message()).toEqual(said('to 0'));
    expect(await streams[1]!.message()).toEqual(said('to 1'));
  });

  test('can be opened again once its socket has died: no 409, and nothing is left of the first', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    await harness.openAndLose(session);
    const stream = await session.stream();
    await say('to the second');
    expect(await stream.message()).toEqual(said('to the second'));
  });

  test('can be opened again in the turn of the event loop in which its socket dies', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    let first: ServerResponse | undefined;
    harness.http.prependListener('request', (req, res) => {
      if (req.method !== 'GET') return;
      if (first === undefined) first = res;
      else first.socket?.destroy();
    });
    await session.stream();
    expect((await session.get()).status).toBe(200);
  });

  test('carries notifications that a handler sends after its answer, but no progress (spec, basic/utilities/progress)', async () => {
    const answered = new Deferred<Extra>();
    harness = await startScripted({ work: (_params, extra) => (answered.resolve(extra), {}) }, options());
    const session = await harness.session();
    const stream = await session.stream();
    await session.call(1, 'work');
    const { sendNotification } = await answered.promise;
    await sendNotification({ method: 'notifications/progress', params: { progressToken: 1, progress: 1 } });
    await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'late' } });
    expect(await stream.message()).toEqual(said('late'));
  });

  test('drops notifications that find no stream open, as JSON-RPC allows', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    await say('to nobody');
    const stream = await session.stream();
    await say('to somebody');
    expect(await stream.message()).toEqual(said('to somebody'));
  });
});

describe('the standalone stream with an event store', () => {
  test('is resumed by Last-Event-ID: missed events come first, then new ones, with their IDs', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const lastEventId = await harness.openAndLose(session);
    await say('missed');
    const resumed = await session.stream(lastEventId);
    const missed = await resumed.event();
    expect(missed.message).toEqual(said('missed'));
    await say('new');
    expect(await resumed.message()).toEqual(said('new'));
    // From in between it is the same again.
    const again = await session.stream(missed.id);
    expect(await again.message()).toEqual(said('new'));
  });

  test('is resumed by a GET with its Last-Event-ID, and the open stream ends', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const first = await session.stream();
    const { id } = (await first.block())!;
    const second = await session.stream(id);
    expect(await soon('the first has ended', first.blocks())).toEqual([]);
    await say('to the second');
    expect(await second.message()).toEqual(said('to the second'));
    expect((await session.getBeside(second)).status).toBe(409);
  });

  test('is resumed by the last of many GETs', async () => {
    harness = await startScripted({}, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const { id } = (await (await session.stream()).block())!;
    const all = await Promise.all(Array.from({ length: 10 }, () => session.stream(id)));
    await say('to one of them');
    const heard: unknown[] = [];
    for (const stream of all) void stream.messages().then((messages) => heard.push(messages));
    await until('all but one have ended', () => heard.length === 9);
    await session.terminate();
    await until('the last has ended', () => heard.length === 10);
    expect(heard.at(-1)).toEqual([said('to one of them')]);
  });

  test('stays open when the stream of a request is resumed', async () => {
    harness = await startScripted({ work: () => ({}) }, { eventStore: memoryEventStore() });
    const session = await harness.session();
    const standalone = await session.stream();
    const primed = await new EventStream(await session.request(1, 'work')).block();
    await (await session.get(primed!.id)).text();
    await say('still here');
    expect(await standalone.message()).toEqual(said('still here'));
  });
});

// A proxy may keep the connection of a client that has gone. The router then still sees an open stream.
describe.each(STORES)('a second GET after the client lost its stream, which is still open (%s)', (_, options) => {
  /** The ID of the ping that a second GET causes on the open stream. */
  const pinged = async (stream: EventStream): Promise<string | number> => {
    const ping = await soon('a ping', stream.message());
    expect(ping).toMatchObject({ method: 'ping', id: expect.any(String) });
    return ping.id;
  };
  const broken = (stream: EventStream): Promise<void> =>
    expect(soon('the first is broken off', stream.block())).rejects.toThrow('terminated');

  test('replaces the stream after 2 s without an answer, and the first reply is broken off, not ended', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const first = await session.stream();
    const second = session.stream();
    await pinged(first);
    harness.clock.advance(1_999);
    await say('to the first');
    expect(await first.message()).toEqual(said('to the first'));
    harness.clock.advance(1);
    const opened = await soon('the second is open', second);
    await broken(first);
    await say('to the second');
    expect(await opened.message()).toEqual(said('to the second'));
    expect((await session.getBeside(opened)).status).toBe(409);
  });

  test('shares its ping with later GETs, and the newest GET whose client still waits wins', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const first = await session.stream();
    let asked = 0;
    harness.http.on('request', () => (asked += 1));
    const hangUp = new AbortController();
    const others = [session.get(), session.get()];
    await until('they wait', () => asked === 2);
    const newest = session.get();
    await until('it waits, too', () => asked === 3);
    const gone = session.get(undefined, hangUp.signal).catch(() => undefined);
    await until('the one that hangs up waits', () => asked === 4);
    await pinged(first);
    const lost = harness.socketsGone();
    hangUp.abort();
    await gone;
    await until('the router knows', () => harness.socketsGone() > lost);
    harness.clock.advance(2_000);
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual([409, 409]);
    const opened = new EventStream(await newest);
    await broken(first);
    await say('to the newest');
    expect(await opened.message()).toEqual(said('to the newest'));
  });

  test('opens the stream at once when the first one closes, and gets 404 when the session ends', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const hangUp = new AbortController();
    const first = await session.stream(undefined, hangUp.signal);
    const second = session.stream();
    await pinged(first);
    hangUp.abort();
    const opened = await soon('the second is open', second);
    const third = session.get();
    await pinged(opened);
    await session.terminate();
    expect((await soon('the third', third)).status).toBe(404);
  });

  test('causes a ping that is not stored, and whose late answer does not reach the server', async () => {
    harness = await startScripted({}, options());
    const session = await harness.session();
    const errors: Error[] = [];
    harness.servers[0]!.onerror = (error) => errors.push(error);
    const first = await session.stream();
    const second = session.stream();
    const id = await pinged(first);
    harness.clock.advance(2_000);
    const opened = await second;
    await session.answer(id, {});
    await say('the first that comes');
    expect(await opened.message()).toEqual(said('the first that comes'));
    expect(errors).toEqual([]);
    expect(harness.log.all).toEqual([]);
  });
});

describe('a probe and pingInterval', () => {
  test('each accept only the answer to their own ping', async () => {
    harness = await startScripted({}, { pingInterval: 10_000, keepAlive: 1_000_000, ttl: 2_000_000 });
    const session = await harness.session();
    const stream = await session.stream();
    harness.clock.advance(10_000);
    const regular = await stream.message();
    const second = session.get();
    const probe = await stream.message();
    expect(probe.id).not.toBe(regular.id);
    // The answer to the regular ping was sent before the probe, so it does not answer the probe.
    await session.answer(regular.id, {});
    harness.clock.advance(1_999);
    await session.answer(probe.id, {});
    expect((await second).status).toBe(409);
    harness.clock.advance(8_001);
    expect(await soon('the next regular ping', stream.message())).toMatchObject({ method: 'ping' });
    harness.clock.advance(10_000);
    await expect(soon('it is broken off, as that has no answer', stream.block())).rejects.toThrow('terminated');
  });

  test('a stream whose regular ping has no answer ends, and the waiting GET replaces it', async () => {
    harness = await startScripted({}, { pingInterval: 1_000, keepAlive: 1_000_000, ttl: 2_000_000 });
    const session = await harness.session();
    const stream = await session.stream();
    harness.clock.advance(1_000);
    await stream.message();
    const second = session.stream();
    await stream.message();
    harness.clock.advance(1_000);
    const opened = await soon('the second', second);
    await say('to the second');
    expect(await opened.message()).toEqual(said('to the second'));
  });
});

test('a client whose old connection a proxy keeps gets its stream back', async () => {
  harness = await startScripted({});
  const session = await harness.session();
  // The proxy reads nothing any more, and closes nothing.
  const dead = await RawSocket.open(harness.url.port);
  await dead.write(requestBytes('GET', '/mcp', Object.entries({ ...session.headers, accept: 'text/event-stream' })));
  expect((await dead.head()).status).toBe(200);
  const back = session.stream();
  await until('it is asked for', () => dead.unread.includes('"ping"'));
  harness.clock.advance(2_000);
  const stream = await soon('it is back', back);
  await say('heard');
  expect(await stream.message()).toEqual(said('heard'));
  dead.destroy();
});
