import { memoryEventStore } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { echoServer, start, type Harness } from '../support/harness.js';
import { RawSession } from '../support/raw-session.js';

let harness: Harness;
afterEach(() => harness.close());

function openStream(session: RawSession, lastEventId?: string): Promise<Response> {
  return fetch(session.url, {
    headers: {
      accept: 'text/event-stream',
      'mcp-session-id': session.id,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    },
  });
}

test('a standalone stream can be resumed after a quiet time longer than events are kept, as no event was missed', async () => {
  const clock = new FakeClock();
  const server = echoServer();
  harness = await start({ serverFactory: () => server, eventStore: memoryEventStore({ maxAge: 1_000, clock }) });
  const session = await RawSession.open(harness.url);
  const stream = new EventStream(await openStream(session));
  const primed = await stream.block();
  clock.advance(60_000);

  const resumed = new EventStream(await openStream(session, primed?.id));
  await server.server.sendLoggingMessage({ level: 'info', data: 'still there' });
  expect(await resumed.message()).toMatchObject({ params: { data: 'still there' } });
});

test('a standalone stream with a missed event that is no longer kept cannot be resumed: 400 rather than a hole', async () => {
  const clock = new FakeClock();
  const server = echoServer();
  harness = await start({ serverFactory: () => server, eventStore: memoryEventStore({ maxAge: 1_000, clock }) });
  const session = await RawSession.open(harness.url);
  const stream = new EventStream(await openStream(session));
  const primed = await stream.block();
  await server.server.sendLoggingMessage({ level: 'info', data: 'missed' });
  clock.advance(60_000);

  expect((await openStream(session, primed?.id)).status).toBe(400);
});

test('a store that loses the event between naming its stream and reading it gives 400 rather than a hole', async () => {
  const store = memoryEventStore();
  const server = echoServer();
  harness = await start({
    serverFactory: () => server,
    eventStore: {
      storeEvent: (streamId, message) => store.storeEvent(streamId, message),
      getStreamIdForEventId: (eventId) => store.getStreamIdForEventId(eventId),
      replayEventsAfter: () => Promise.resolve(''),
    },
  });
  const session = await RawSession.open(harness.url);
  const stream = new EventStream(await openStream(session));
  const primed = await stream.block();
  await server.server.sendLoggingMessage({ level: 'info', data: 'missed' });

  expect((await openStream(session, primed?.id)).status).toBe(400);
});
