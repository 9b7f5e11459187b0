import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { InMemoryEventStore } from '@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { storeWith } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import type { RawSession } from '../support/raw-session.js';
import { startScripted, type Method, type Scripted } from '../support/scripted.js';

// Spec 2025-11-25, basic/transports, "Resumability and Redelivery": "The server MUST NOT replay messages that would have
// been delivered on a different stream." The SDK's transport names every session's GET stream alike (`_GET_stream`), so
// that one store for all sessions gives each of them the events of the others.

let harness: Scripted;
afterEach(() => harness.close());

/** Tells the client's secret on the request's own stream, then on the standalone one. */
const tell: Method = async ({ secret }, extra, server) => {
  await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: secret } });
  await server.sendLoggingMessage({ level: 'info', data: secret });
  return { secret };
};

interface Told {
  readonly session: RawSession;
  readonly secret: string;
  /** Event IDs that this session was given, of both of its streams. */
  readonly eventIds: readonly string[];
}

/** A client that got its secret, and the IDs of its events. */
async function toldClient(name: number): Promise<Told> {
  const session = await harness.session();
  const secret = `secret-of-${name}`;
  const hangUp = new AbortController();
  const standalone = await session.stream(undefined, hangUp.signal);
  const primed = await standalone.block();
  const blocks = await new EventStream(await session.request(1, 'tell', { secret })).blocks();
  const outside = await standalone.event();
  hangUp.abort();
  const [requestPrimed, ...rest] = blocks.map(({ id }) => id!);
  return { session, secret, eventIds: [primed!.id!, requestPrimed!, outside.id!, ...rest] };
}

async function tellAll(sessions: number, options: Partial<McpRouterOptions>): Promise<Told[]> {
  harness = await startScripted({ tell }, options);
  return Promise.all(Array.from({ length: sessions }, (_, name) => toldClient(name)));
}

/** Has every session ask for every event of every other one; gives the answers that are not as they should be. */
async function cross(told: readonly Told[]): Promise<string[]> {
  const wrong: string[] = [];
  await Promise.all(
    told.map(async ({ session, secret }) => {
      for (const other of told.filter((each) => each.session !== session)) {
        for (const eventId of other.eventIds) {
          const response = await session.get(eventId);
          const body = await response.text();
          const refused = response.status === 400 && body.includes('Last-Event-ID was not issued by this session');
          if (!refused || body.includes('secret-of'))
            wrong.push(`${secret} asked for ${eventId}: ${response.status} ${body}`);
        }
      }
    }),
  );
  return wrong;
}

const SHARING = 12;

describe(`one event store that ${SHARING} sessions share`, () => {
  test('gives no session a byte of another: a resume after an event of another session gets 400', async () => {
    const told = await tellAll(SHARING, { eventStore: memoryEventStore() });
    expect(new Set(told.flatMap(({ eventIds }) => eventIds)).size).toBe(SHARING * 5);
    expect(await cross(told)).toEqual([]);
  });

  test('gives each session its own events', async () => {
    const told = await tellAll(5, { eventStore: memoryEventStore() });
    for (const { session, secret, eventIds } of told) {
      const [, primed] = eventIds;
      expect(await (await session.stream(primed)).messages()).toMatchObject([
        { params: { data: secret } },
        { result: { secret } },
      ]);
    }
  });
});

describe('a faulty store gives no session a byte of another', () => {
  const STORES: [what: string, store: () => EventStore][] = [
    ['cannot tell the stream of an event (`getStreamIdForEventId` is optional)', withoutLookup],
    ["puts stream IDs into event IDs, as the SDK's example does", () => new InMemoryEventStore()],
    ['gives every session the events of all streams, under the name of the last', replaysEverything],
  ];

  test.each(STORES)('as it %s', async (_what, store) => {
    const told = await tellAll(8, { eventStore: store() });
    expect(await cross(told)).toEqual([]);
  });

  test('as two routers share it', async () => {
    const eventStore = memoryEventStore();
    const [first] = await tellAll(1, { eventStore });
    const firstHarness = harness;
    const [second] = await tellAll(1, { eventStore });
    expect(await cross([first!, second!])).toEqual([]);
    await firstHarness.close();
  });

  test('as session IDs are known and one begins with another', async () => {
    const ids = ['a', 'ab', 'a-get', 'a-0.1'];
    const told = await tellAll(ids.length, { eventStore: memoryEventStore(), sessionIdGenerator: () => ids.shift()! });
    expect(await cross(told)).toEqual([]);
  });

  test('and the store never gets a session ID', async () => {
    const streamIds = new Set<string>();
    const eventStore = storeWith((inner) => ({
      storeEvent: (streamId, message) => (streamIds.add(streamId), inner.storeEvent(streamId, message)),
    }));
    const told = await tellAll(3, { eventStore });
    expect(streamIds.size).toBe(6);
    for (const { session } of told) {
      for (const streamId of streamIds) expect(streamId).not.toContain(session.id.slice(0, 8));
    }
  });
});

test.each(['unknown', 'unknown_1', '../..', '_', '__proto__', '%00', 'x'.repeat(4_000)])(
  'a Last-Event-ID that was never issued gets 400: %.20s',
  async (eventId) => {
    const [told] = await tellAll(1, { eventStore: memoryEventStore() });
    const response = await told!.session.get(eventId);
    expect([response.status, await response.json()]).toEqual([400, UNKNOWN]);
  },
);

test('a Last-Event-ID gets 400 where there is no event store', async () => {
  harness = await startScripted({});
  const session = await harness.session();
  const response = await session.get('any');
  expect([response.status, await response.json()]).toEqual([400, UNKNOWN]);
});

const UNKNOWN = {
  jsonrpc: '2.0',
  id: null,
  error: { code: -32000, message: 'Bad Request: Last-Event-ID was not issued by this session, or is no longer kept' },
};

function withoutLookup(): EventStore {
  const store = storeWith(() => ({}));
  delete store.getStreamIdForEventId;
  return store;
}

/** Keeps nothing apart: what it replays is everything, said to be of the stream of its last event. */
function replaysEverything(): EventStore {
  const events: { id: string; streamId: string; message: Parameters<EventStore['storeEvent']>[1] }[] = [];
  return {
    storeEvent: async (streamId, message) => {
      const id = String(events.length);
      events.push({ id, streamId, message });
      return id;
    },
    replayEventsAfter: async (lastEventId, { send }) => {
      for (const { id, message } of events) await send(id, message);
      return events.find(({ id }) => id === lastEventId)?.streamId ?? '';
    },
  };
}
