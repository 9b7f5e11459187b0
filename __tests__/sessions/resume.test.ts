import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import fc from 'fast-check';
import type { McpRouterOptions, ServerContext } from '../../src/index.js';
import { memoryEventStore, type SessionEventStore } from '../../src/stores/index.js';
import { sessionHash } from '../../src/stores/session-event-store.js';
import { SessionEventLog } from '../../src/transport/session-events.js';
import { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { messagesOf } from '../support/harness.js';
import { RawSession } from '../support/raw-session.js';
import { Restartable } from '../support/restartable.js';
import { Deferred, soon, until } from '../support/waiting.js';

let endpoint: Restartable;
let events: SessionEventStore;
/** What the calls wait for, by name. */
const gates = new Map<string, Deferred>();
const servers: McpServer[] = [];

/** Its tool `wait` reports progress, then waits for the test; each of its servers can say something at any time. */
function waitingServer(_context: ServerContext): McpServer {
  const server = new McpServer({ name: 'waiting', version: '1.0.0' }, { capabilities: { logging: {} } });
  server.registerTool('wait', {}, async ({ _meta, requestId, sendNotification }) => {
    const gate = new Deferred();
    gates.set(String(requestId), gate);
    if (_meta?.progressToken !== undefined) {
      await sendNotification({
        method: 'notifications/progress',
        params: { progressToken: _meta.progressToken, progress: 1 },
      });
    }
    await gate.promise;
    return { content: [{ type: 'text', text: `done ${String(requestId)}` }] };
  });
  servers.push(server);
  return server;
}

async function begin(options: Partial<McpRouterOptions> = {}): Promise<RawSession> {
  gates.clear();
  servers.length = 0;
  events = memoryEventStore();
  endpoint = await Restartable.start(waitingServer, { eventStore: events, ...options });
  return RawSession.open(endpoint.url);
}

afterEach(() => endpoint.stop());

const call = (session: RawSession, id: string | number, signal?: AbortSignal): Promise<Response> =>
  session.request(id, 'tools/call', { name: 'wait', arguments: {}, _meta: { progressToken: 'p' } }, signal);

/** Calls `wait`, reads the first event, and hangs up. Gives its event ID. */
async function callAndLose(session: RawSession, id: string | number): Promise<string> {
  const running = gates.size;
  const hangUp = new AbortController();
  const stream = new EventStream(await call(session, id, hangUp.signal));
  const first = await stream.block();
  // Not by its ID: the server knows some by another.
  await until('it runs', () => gates.size > running);
  hangUp.abort();
  return first!.id!;
}

const say = (text: string): Promise<void> => servers.at(-1)!.sendLoggingMessage({ level: 'info', data: text });
const messages = async (response: Response): Promise<unknown[]> => messagesOf(await response.text());
const UNKNOWN = {
  code: -32000,
  message: 'The server was lost while the request ran: its outcome is unknown',
};

describe('a stream that is resumed after a restart (spec 2025-11-25, "Resumability and Redelivery")', () => {
  test('a call that was answered while its client was away: what it missed, its answer, the end', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    gates.get('7')!.resolve();
    await until('it is settled', () => endpoint.router.sessions.get(session.id)?.requests === 0);
    endpoint.crash();
    const resumed = await messages(await session.get(lastEventId));
    expect(resumed).toMatchObject([
      { method: 'notifications/progress' },
      { id: 7, result: { content: [{ text: 'done 7' }] } },
    ]);
    expect(resumed).toHaveLength(2);
  });

  test.each([7, 0, 'seven', ''])(
    'a call that ran when the process died gets its missed events, then the error that its outcome is unknown: ID %j',
    async (id) => {
      const session = await begin();
      const lastEventId = await callAndLose(session, id);
      endpoint.crash();
      const resumed = await messages(await session.get(lastEventId));
      expect(resumed).toMatchObject([{ method: 'notifications/progress' }, { id, error: UNKNOWN }]);
      expect(resumed).toHaveLength(2);
    },
  );

  test('a second resume, and one in a later epoch, get the same error', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    for (let life = 0; life < 2; life += 1) {
      endpoint.crash();
      for (let again = 0; again < 2; again += 1) {
        expect((await messages(await session.get(lastEventId))).at(-1)).toMatchObject({ id: 7, error: UNKNOWN });
      }
    }
  });

  test('in a batch, only those that were not answered', async () => {
    await begin();
    const old = await RawSession.open(endpoint.url, { version: '2025-03-26' });
    const hangUp = new AbortController();
    const params = { name: 'wait', arguments: {}, _meta: { progressToken: 'p' } };
    const stream = new EventStream(
      await old.post(
        ['a', 'b', 'c'].map((id) => ({ jsonrpc: '2.0', id, method: 'tools/call', params })),
        hangUp.signal,
      ),
    );
    const { id: lastEventId } = await stream.event();
    await until('all run', () => gates.size === 3);
    hangUp.abort();
    gates.get('b')!.resolve();
    await until('one is settled', () => endpoint.router.sessions.get(old.id)?.requests === 2);
    endpoint.crash();
    const resumed = (await messages(await old.get(lastEventId))) as { id?: string; error?: unknown }[];
    const answers = resumed.filter(({ id }) => id !== undefined);
    expect(answers).toMatchObject([
      { id: 'b', result: {} },
      { id: 'a', error: UNKNOWN },
      { id: 'c', error: UNKNOWN },
    ]);
  });

  test('the standalone stream sends the missed events, then those of the new epoch, in order and once', async () => {
    const session = await begin();
    const stream = await session.stream();
    await say('one');
    const { id: lastEventId } = await stream.event();
    await say('two');
    endpoint.crash();
    await session.call('ping', 'ping');
    await say('three');
    const resumed = await session.stream(lastEventId);
    await say('four');
    const said: string[] = [];
    for (let n = 0; n < 3; n += 1) said.push((await resumed.event()).message.params.data);
    expect(said).toEqual(['two', 'three', 'four']);
  });

  test('a GET with Last-Event-ID restores the session by itself', async () => {
    const session = await begin();
    const stream = await session.stream();
    await say('one');
    const { id } = await stream.event();
    endpoint.crash();
    const resumed = await session.stream(id);
    await until('it is restored', () => servers.length === 2);
    await say('after');
    expect((await resumed.event()).message.params.data).toBe('after');
  });

  test('the events of another session cannot be read', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    const other = await RawSession.open(endpoint.url);
    endpoint.crash();
    expect((await other.get(lastEventId)).status).toBe(400);
  });

  test('the outcome of a call of the same epoch is never unknown: its stream is open, or was answered', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    const resumed = session.get(lastEventId);
    gates.get('7')!.resolve();
    const [, answer] = await messages(await resumed);
    expect(answer).toMatchObject({ id: 7, result: {} });
    const again = await session.get(lastEventId);
    expect((await messages(again)).at(-1)).toMatchObject({ id: 7, result: {} });
  });

  test('streams that begin after the restart have other IDs than those before', async () => {
    const session = await begin();
    const before = await callAndLose(session, 7);
    endpoint.crash();
    const after = await callAndLose(session, 8);
    expect(after).not.toBe(before);
    const resumed = session.get(after);
    gates.get('8')!.resolve();
    expect((await messages(await resumed)).at(-1)).toMatchObject({ id: 8, result: {} });
    expect((await messages(await session.get(before))).at(-1)).toMatchObject({ id: 7, error: UNKNOWN });
  });
});

test('the outcome of an answered call is not unknown when its session has hibernated', async () => {
  const session = await begin({ hibernateAfter: 60_000 });
  const lastEventId = await callAndLose(session, 7);
  gates.get('7')!.resolve();
  await until('it is settled', () => endpoint.router.sessions.get(session.id)?.requests === 0);
  const answered = new EventStream(await session.get(lastEventId));
  const events = [await answered.event(), await answered.event()];
  await until('nothing holds it', () => {
    endpoint.clock.advance(1);
    return endpoint.router.sessions.get(session.id)?.idleMs !== 0;
  });
  endpoint.clock.advance(120_000);
  await until('it hibernates', () => endpoint.router.sessions.get(session.id)?.state === 'hibernated');
  const again = await session.get(events[1]!.id);
  expect([again.status, await again.text()]).toEqual([204, '']);
});

describe('the events of a session', () => {
  test.each(['DELETE', 'the app'])('are purged with a stored session: %s', async (how) => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    endpoint.crash();
    if (how === 'DELETE') await session.terminate();
    else await endpoint.router.sessions.close(session.id);
    expect(await events.getStreamIdForEventId?.(lastEventId)).toBeUndefined();
    expect(endpoint.contexts).toHaveLength(1);
  });

  test.each(['DELETE', 'expiry', 'the app'])('are purged with it: %s', async (how) => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    const other = await RawSession.open(endpoint.url);
    const others = await callAndLose(other, 8);
    gates.get('7')!.resolve();
    await until('it is settled', () => endpoint.router.sessions.get(session.id)?.requests === 0);
    if (how === 'DELETE') await session.terminate();
    else if (how === 'the app') await endpoint.router.sessions.close(session.id);
    else endpoint.clock.advance(1_800_000);
    await until('they are gone', async () => (await events.getStreamIdForEventId?.(lastEventId)) === undefined);
    if (how !== 'expiry') expect(await events.getStreamIdForEventId?.(others)).toContain(sessionHash(other.id));
  });

  test('are kept for the next process when the router closes', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    await soon('the end', endpoint.router.close());
    endpoint.crash();
    const resumed = (await messages(await session.get(lastEventId))) as { id?: number }[];
    expect(resumed.at(-1)).toMatchObject({ id: 7, error: UNKNOWN });
  });
});

describe('the requests that a stream ID names', () => {
  const viewOf = (epoch: number): SessionEventLog =>
    new SessionEventLog(memoryEventStore(), 'session', epoch, new FakeClock(), () => undefined);

  test('are its own in every later epoch, and none in its own epoch', () => {
    const requestId = fc.oneof(fc.string(), fc.integer());
    fc.assert(
      fc.property(fc.array(requestId, { minLength: 1, maxLength: 20 }), fc.nat(5), fc.nat(5), (ids, a, b) => {
        const streamId = viewOf(a).newStreamId(ids);
        const told = streamId.length < 900 ? ids : viewOf(a + 1).lossOf(streamId)?.requests;
        expect(viewOf(b).lossOf(streamId)?.requests).toEqual(b > a ? told : undefined);
      }),
    );
  });

  test('are left out where they would make every event ID long', () => {
    const streamId = viewOf(0).newStreamId(['x'.repeat(2_000)]);
    expect(streamId.length).toBeLessThan(100);
    expect(viewOf(1).lossOf(streamId)?.requests).toEqual([]);
  });

  test('are none for the standalone stream', () => {
    expect(viewOf(1).lossOf(viewOf(0).standaloneId)).toBeUndefined();
  });
});

describe('a stream whose events were lost with the process that kept them, as those in memory are', () => {
  const crash = (): void => endpoint.crash({ eventStore: memoryEventStore() });

  test('is opened anew if it is the standalone stream, as the SDK’s client would open no other after a refusal', async () => {
    const session = await begin();
    const stream = await session.stream();
    await say('lost');
    const { id } = await stream.event();
    crash();
    const again = await session.stream(id);
    await until('it is restored', () => servers.length === 2);
    await say('heard');
    const heard = await again.event();
    expect(heard.message.params.data).toBe('heard');
    // And it takes the place of one that its client has lost without the router’s knowing.
    const third = await session.stream(id);
    await say('heard again');
    expect((await third.event()).message.params.data).toBe('heard again');
    expect((await session.getBeside(third)).status).toBe(409);
    expect((await session.get(heard.id)).status).toBe(200);
  });

  test('ends with the error that the outcome is unknown if it is the stream of a call', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    crash();
    expect(await messages(await session.get(lastEventId))).toMatchObject([{ id: 7, error: UNKNOWN }]);
  });

  test('is 400 if it is another session’s, or none', async () => {
    const session = await begin();
    const lastEventId = await callAndLose(session, 7);
    const stream = await session.stream();
    await say('lost');
    const { id } = await stream.event();
    const other = await RawSession.open(endpoint.url);
    crash();
    for (const foreign of [lastEventId, id!]) expect((await other.get(foreign)).status).toBe(400);
    const prefix = sessionHash(session.id);
    const hex = (text: string): string => `${prefix}-0.1-${Buffer.from(text).toString('hex')}_1`;
    const junk = [hex('zz'), hex('{'), hex('5'), hex('null'), hex('[{"a":1}]'), hex('[]')];
    for (const forged of [
      ...junk,
      `${prefix}-put_1`,
      `${prefix}-0.1-`,
      `${prefix}-7.1-5b375d_1`,
      `x${prefix}-get_1`,
      'x',
    ]) {
      expect((await session.get(forged)).status).toBe(400);
    }
  });

  test('is 400 in its own epoch, where its events were dropped', async () => {
    const session = await begin();
    expect((await session.get(`${sessionHash(session.id)}-get_1`)).status).toBe(400);
  });
});
