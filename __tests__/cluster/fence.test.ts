import { setTimeout as sleep } from 'node:timers/promises';
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { pino } from 'pino';
import { memoryEventStore } from '../../src/index.js';
import { redisEventStore } from '../../src/stores/redis.js';
import { Fenced, type FencedEventStore, sessionHash } from '../../src/stores/session-event-store.js';
import { notification, replay } from '../support/event-stores.js';
import { EventStream } from '../support/event-stream.js';
import { FakeClock } from '../support/fake-clock.js';
import { expectRow } from '../support/rows.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, type InProcessNode, type Tool } from './in-process.js';
import { settled } from './in-process-fake-redis.js';

const cluster = InProcessCluster.ofSuite();

describe('the fence of the event store (docs/scaling.md: appends check (owner, epoch) in a Redis script)', () => {
  const KEY = 'a record';
  const FENCE = { key: KEY, owner: 'me', epoch: 3 };
  const store = (): FencedEventStore => redisEventStore({ sendCommand: cluster.ask, prefix: cluster.prefix });
  const owned = (owner: string, epoch: number) => cluster.ask('HSET', KEY, 'd', '{}', 'e', String(epoch), 'o', owner);
  afterEach(() => cluster.ask('DEL', KEY));

  test('lets the owner of this epoch append, and is not asked where there is none', async () => {
    await owned('me', 3);
    const id = await store().storeEvent('a-1', notification('1'), FENCE);
    await store().storeEvent('a-1', notification('2'), FENCE);
    await store().storeEvent('a-1', notification('3'));
    expect((await replay(store(), id)).events.map(({ message }) => message)).toEqual(['2', '3'].map(notification));
  });

  test.each([
    ['another node', 'other', 3],
    ['another node, in the next epoch', 'other', 4],
    ['this node, in a later epoch', 'me', 4],
    ['this node, in an earlier epoch', 'me', 2],
    ['no node', '', 3],
  ])('refuses as Fenced, and appends nothing, when the session is owned by %s', async (_who, owner, epoch) => {
    await owned('me', 3);
    const id = await store().storeEvent('a-1', notification('1'), FENCE);
    await owned(owner, epoch);
    await expect(store().storeEvent('a-1', notification('2'), FENCE)).rejects.toThrow(Fenced);
    expect((await replay(store(), id)).events).toEqual([]);
  });

  test('fails like any store when there is no record, as no other node is known to own the session', async () => {
    const failing = store().storeEvent('a-1', notification('1'), FENCE);
    await expect(failing).rejects.toThrow('NORECORD');
    await expect(failing).rejects.not.toThrow(Fenced);
    await owned('me', 3);
    await expect(store().storeEvent('a-1', notification('1'), FENCE)).resolves.toMatch(/^a-1_/);
  });
});

/** What the tool `tell` waits for before it tells anything. */
let gate: Deferred;
let began: Deferred<AbortSignal>;
beforeEach(() => {
  gate = new Deferred();
  began = new Deferred();
});

const tools: Readonly<Record<string, Tool>> = {
  async tell({ extra, context, server }) {
    const progressToken = extra._meta!.progressToken!;
    const tell = (progress: number) =>
      extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress } });
    await tell(1);
    began.resolve(context.signal);
    await gate.promise;
    await tell(2).catch(() => undefined);
    await server.sendLoggingMessage({ level: 'info', data: 'late' }, context.sessionId).catch(() => undefined);
    return { late: true };
  },
};

/** What still comes of a stream to its end, however it ends. */
async function rest(stream: EventStream): Promise<string[]> {
  const texts: string[] = [];
  try {
    for (let block = await stream.block(); block !== undefined; block = await stream.block()) texts.push(block.data);
  } catch {
    // Broken off, it is over all the same.
  }
  return texts.filter((text) => text !== '');
}

async function telling(node: InProcessNode) {
  const session = await AnyNodeSession.open(node.url);
  const standalone = new EventStream(await session.get(node.url));
  const call = await session.stream(node.url, 'tell');
  await call.message();
  return { session, standalone, call, signal: await began.promise };
}

describe('a session that another node has taken', () => {
  const withEvents = () => redisEventStore({ sendCommand: cluster.ask, prefix: cluster.prefix });

  test('ends here as moved at the first refused event, and its client gets no more bytes', async () => {
    const [a] = await cluster.nodes(1, { tools, eventStore: withEvents() });
    const { session, standalone, call, signal } = await telling(a!);
    const { key } = await cluster.record();
    await cluster.ask('HSET', key, 'o', 'another node', 'e', '1');
    const before = await cluster.ask('XLEN', `${cluster.prefix}{${sessionHash(session.id)}}:events`);
    gate.resolve();
    expect(await soon('both streams end', Promise.all([rest(call), rest(standalone)]))).toEqual([[], []]);
    expect(signal.aborted).toBe(true);
    expect(a!.lines('session closed')).toMatchObject([{ reason: 'moved' }]);
    expect(a!.router.sessions.list()).toEqual([]);
    // Record and events are the new owner's.
    expect(await cluster.record()).toMatchObject({ owner: 'another node', epoch: 1 });
    expect(await cluster.ask('XLEN', `${cluster.prefix}{${sessionHash(session.id)}}:events`)).toBe(before);
  });

  test('goes on when only its record is lost: events are sent without IDs', async () => {
    const [a] = await cluster.nodes(1, { tools, eventStore: withEvents() });
    const { call, signal } = await telling(a!);
    await cluster.ask('DEL', (await cluster.record()).key);
    gate.resolve();
    const texts = await soon('the call is answered', rest(call));
    expect(texts.map((text) => JSON.parse(text) as object)).toMatchObject([
      { params: { progress: 2 } },
      { result: {} },
    ]);
    expect(signal.aborted).toBe(false);
    expect(a!.lines('session closed')).toEqual([]);
  });
});

describe('a reply after the fence deadline (docs/scaling.md: the local deadline is checked before a write begins)', () => {
  /** A node on a fake clock. Everything else is real. */
  async function stoppedNode(eventStore: EventStore = memoryEventStore()) {
    const clock = new FakeClock();
    const fenceAfter = 1_500;
    const [node] = await cluster.nodes(1, { tools, clock, eventStore });
    return { clock, fenceAfter, node: node! };
  }

  test('is destroyed, not written, although no timer has fired yet: the reply to a call, and the standalone stream', async () => {
    const { clock, fenceAfter, node } = await stoppedNode();
    const { call, standalone } = await telling(node);
    // As SIGSTOP and SIGCONT would: time has passed, and nothing has run.
    clock.block(fenceAfter);
    expect(node.lines('cluster node fenced: its sessions are let go of')).toEqual([]);
    gate.resolve();
    expect(await soon('both streams end', Promise.all([rest(call), rest(standalone)]))).toEqual([[], []]);
    expect(node.lines('cluster node fenced: its sessions are let go of')).toEqual([]);
  });

  test('is written a millisecond before', async () => {
    const { clock, fenceAfter, node } = await stoppedNode();
    const { call } = await telling(node);
    clock.block(fenceAfter - 1);
    gate.resolve();
    expect(await soon('the call is answered', rest(call))).toHaveLength(2);
  });

  test('is 503, never 404, for a request that comes then, and the session is not touched', async () => {
    const { clock, fenceAfter, node } = await stoppedNode();
    const session = await AnyNodeSession.open(node.url);
    const before = await cluster.record();
    clock.block(fenceAfter);
    const response = await session.request(node.url, 'add');
    expectRow({ status: response.status, body: await response.text() }, 'storeUnavailable');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await cluster.record()).toEqual(before);
    // Nor may it say of any other session that there is none.
    const unknown = { 'mcp-session-id': '11111111-1111-4111-8111-111111111111' };
    expect(await session.statuses(node.url, unknown)).toEqual([503, 503, 503]);
    expect(await node.ready()).toBe(503);
  });

  test('is 503 for a resumed stream, however late', async () => {
    const store = memoryEventStore();
    const read = new Deferred();
    const { clock, node } = await stoppedNode({
      storeEvent: (...event) => store.storeEvent(...event),
      getStreamIdForEventId: (eventId) => store.getStreamIdForEventId(eventId),
      async replayEventsAfter(...args) {
        read.resolve();
        await gate.promise;
        return store.replayEventsAfter(...args);
      },
    });
    const session = await AnyNodeSession.open(node.url);
    const standalone = new EventStream(await session.get(node.url));
    const { id } = (await standalone.block())!;
    const resumed = session.get(node.url, { 'last-event-id': id! });
    await soon('the store is asked', read.promise);
    // As good as the whole lease: another node may be answering by now.
    clock.block(1_999);
    gate.resolve();
    const response = await resumed;
    expectRow({ status: response.status, body: await response.text() }, 'storeUnavailable');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('at the fence deadline every handler’s signal aborts, every session ends as moved, and its record stays', async () => {
    const { clock, fenceAfter, node } = await stoppedNode();
    const { session, call, signal } = await telling(node);
    const before = await cluster.record();
    clock.block(fenceAfter);
    clock.advance(0);
    expect(signal.aborted).toBe(true);
    expect(await soon('the stream ends', rest(call))).toEqual([]);
    expect(node.lines('session closed')).toMatchObject([{ reason: 'moved', session: session.id.slice(0, 8) }]);
    expect(node.lines('cluster node fenced: its sessions are let go of')).toHaveLength(1);
    expect(await cluster.record()).toEqual(before);
    // Under another ID it takes the session back, in the next epoch, once it has given up its own old lease.
    await until('it is a member again', async () => {
      clock.advance(10);
      await settled();
      return (await node.ready()) === 200;
    });
    const again = session.call(node.url, 'add');
    await until('it is answered', async () => {
      clock.advance(10);
      await settled();
      return node.lines('session claimed').length === 1;
    });
    expect(await again).toMatchObject({ epoch: 1, count: 1 });
  });
});

describe('while Redis is away (docs/scaling.md)', () => {
  test('sessions that are owned here are served until the fence, and all else is 503, never 404', async () => {
    const [a, b] = await cluster.nodes(2, { logger: pino({ enabled: false }) });
    const mine = await AnyNodeSession.open(a!.url);
    const other = await AnyNodeSession.open(b!.url);
    const ids = [mine.id, other.id];
    await other.call(a!.url, 'echo');
    a!.redis.close();
    const from = performance.now();
    const seen = {
      mine: new Set<number>(),
      other: new Set<number>(),
      unknown: new Set<number>(),
      fresh: new Set<number>(),
    };
    const late = { other: new Set<number>(), unknown: new Set<number>() };
    const served: number[] = [];
    const refused: number[] = [];
    while (performance.now() - from < 2_000 || !seen.mine.has(503)) {
      const at = performance.now() - from;
      const response = await mine.request(a!.url, 'echo');
      await response.text();
      seen.mine.add(response.status);
      if (response.status === 200) served.push(at);
      else refused.push(performance.now() - from);
      for (const [name, id] of [
        ['other', ids[1]],
        ['unknown', '11111111-1111-4111-8111-111111111111'],
      ] as const) {
        const answer = await other.post(a!.url, other.body('echo'), { 'mcp-session-id': id! });
        await answer.text();
        seen[name].add(answer.status);
        if (at > 600) late[name].add(answer.status);
      }
      seen.fresh.add(
        await AnyNodeSession.open(a!.url).then(
          () => 200,
          (error: unknown) => Number(/\d{3}/.exec(String(error))),
        ),
      );
    }
    // A lease that was read lately is believed until it is to be read again.
    expect(seen).toEqual({
      mine: new Set([200, 503]),
      other: new Set([200, 503]),
      unknown: new Set([503]),
      fresh: new Set([503]),
    });
    expect(late).toEqual({ other: new Set([503]), unknown: new Set([503]) });
    // The last renewal was at most one interval before `from`. However long a round takes, the fence does not come before
    // the lease ends, and nothing that is asked after it is served.
    expect(refused[0]).toBeGreaterThan(300);
    expect(served.at(-1)).toBeLessThan(1_500);
    expect(await other.call(b!.url, 'echo')).toMatchObject({ node: 'b' });
  });

  test('also if it takes commands without an answer: 503 soon, and no request hangs', async () => {
    const [a, b] = await cluster.nodes(2);
    const session = await AnyNodeSession.open(a!.url);
    await session.call(b!.url, 'echo');
    cluster.redis.pause();
    try {
      const answers = [];
      for (let n = 0; n < 8; n += 1) {
        answers.push(session.request(b!.url, 'echo').then(({ status }) => status));
        await sleep(250);
      }
      const late = sleep(30_000, 'hangs', { ref: false });
      for (const answer of answers) expect([200, 503]).toContain(await Promise.race([answer, late]));
    } finally {
      cluster.redis.resume();
      await until('both are members again', async () => (await a!.ready()) + (await b!.ready()) === 400);
    }
  });
});
