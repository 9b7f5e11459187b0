import fc from 'fast-check';
import { InspectedClusterNodes } from '../../src/cluster/inspected-nodes.js';
import { NoAnswer } from '../../src/cluster/port/ask-node.js';
import { Refusal } from '../../src/errors.js';
import type { CoreEvents, SessionInfo } from '../../src/events.js';
import { Inspection } from '../../src/inspection/inspection.js';
import { LocalInspection } from '../../src/inspection/local-inspection.js';
import { Recorder } from '../../src/inspection/recorder.js';
import { ORDERS, type InspectedNodes, type ListQuery } from '../../src/inspection/views.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { FakeClock } from '../support/fake-clock.js';
import { NO_PARTY, sessionInfo } from '../support/session-info.js';

const clock = new FakeClock();
const newEvents = () => new Emitter<CoreEvents>(() => undefined);
const ALL: ListQuery = { state: undefined, search: '', order: 'age', descending: false, offset: 0, limit: 50 };

/** The sessions of one node, without the sessions themselves. */
function localOf(infos: readonly SessionInfo[], secret = 'secret'): LocalInspection {
  const sessions = infos.map((info) => ({ ...info, membership: info.node && { id: info.node }, info: () => info }));
  const stats = () => ({ initializing: 0, active: infos.length, orphaned: 0, hibernated: 0 });
  const registry = { all: () => sessions, get: (id: string) => sessions.find((session) => session.id === id), stats };
  return new LocalInspection(registry as never, new Recorder(newEvents(), clock), secret);
}

function inspectionWith(local: LocalInspection, others: InspectedNodes): Inspection {
  const cluster = { nodeId: () => 'here', others };
  const report = () => undefined;
  return new Inspection({ local, recorder: { isListening: true }, cluster, clock, report, isHostAllowed: () => true });
}

/** The node that an operator asks, with others. */
function inspectionOf(here: LocalInspection, ...others: LocalInspection[]): Inspection {
  const nodes: InspectedNodes = {
    // As JSON, which has no undefined.
    ask: async (request) =>
      others.map((other, n) => ({
        node: `other ${n}`,
        answer: JSON.parse(JSON.stringify(other.answer(request))),
        error: undefined,
      })),
  };
  return inspectionWith(here, nodes);
}

describe('the list of sessions of several nodes', () => {
  const anInfo = fc.record({
    node: fc.constantFrom('a', 'b'),
    principal: fc.option(fc.constantFrom('alice', 'Bob', 'carol'), { nil: undefined }),
    ageMs: fc.integer({ min: 0, max: 9 }),
    idleMs: fc.integer({ min: 0, max: 9 }),
    requests: fc.integer({ min: 0, max: 2 }),
    state: fc.constantFrom('active', 'orphaned', 'hibernated' as const),
    clientInfo: fc.option(fc.constant({ name: 'client', version: '1' }), { nil: undefined }),
  });
  const aQuery = fc.record({
    state: fc.constantFrom(undefined, 'active' as const, 'orphaned' as const),
    search: fc.constantFrom('', 'ALI', 'o', 'client'),
    order: fc.constantFrom(...ORDERS),
    descending: fc.boolean(),
  });

  test('has each session that the query finds on exactly one page, in the order of the query', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anInfo, { maxLength: 20 }),
        aQuery,
        fc.integer({ min: 1, max: 7 }),
        async (made, asked, limit) => {
          const infos = made.map((info, i) => sessionInfo({ ...info, id: `${i}-and-the-rest-of-an-id`, openedAt: i }));
          const own = (node: string) => localOf(infos.filter((info) => info.node === node));
          const inspection = inspectionOf(own('a'), own('b'));
          const found = infos.filter(
            ({ state, principal = '', clientInfo }) =>
              (asked.state === undefined || state === asked.state) &&
              `${principal}|${clientInfo?.name ?? ''}`.toLowerCase().includes(asked.search.toLowerCase()),
          );
          const shown: number[] = [];
          for (let offset = 0; offset <= found.length; offset += limit) {
            const page = await inspection.list({ ...asked, offset, limit });
            expect(page.found).toBe(found.length);
            expect(page.rows.length).toBeLessThanOrEqual(limit);
            shown.push(...page.rows.map(({ openedAt }) => openedAt));
          }
          expect([...shown].sort((x, y) => x - y)).toEqual(found.map(({ openedAt }) => openedAt));
          if (asked.order === 'age' || asked.order === 'idle') {
            const field = asked.order === 'age' ? 'ageMs' : 'idleMs';
            const values = shown.map((i) => infos[i]![field]);
            expect(values).toEqual([...values].sort((x, y) => (asked.descending ? y - x : x - y)));
          }
        },
      ),
    );
  });

  test('has the same key for a session on every node, and others with another secret', async () => {
    const info = sessionInfo();
    const keyOf = async (secret: string) => (await inspectionOf(localOf([info], secret)).list(ALL)).rows[0]!.key;
    expect(await keyOf('one')).toBe(await keyOf('one'));
    expect(await keyOf('one')).not.toBe(await keyOf('two'));
    const elsewhere = inspectionOf(localOf([]), localOf([info]));
    const [{ key } = { key: '' }] = (await elsewhere.list(ALL)).rows;
    expect(await elsewhere.find(key)).toBe(info.id);
    expect(await elsewhere.find('0'.repeat(32))).toBeUndefined();
  });

  test('names nodes that do not answer, and counts the others', async () => {
    const unanswered = (why: string) => ({
      status: 'rejected' as const,
      reason: new Refusal('ownerUnreachable', { cause: new NoAnswer(why) }),
    });
    const results = [
      unanswered('does not answer'),
      unanswered('is of a version that does not know the request inspect'),
      { status: 'rejected' as const, reason: 'odd' },
    ];
    const broadcast = async () => results.map((result, n) => ({ node: { id: `n${n}` }, result }));
    const nodes = new InspectedClusterNodes({ broadcast } as never);
    const page = await inspectionWith(localOf([sessionInfo()]), nodes).list(ALL);
    expect(page.found).toBe(1);
    expect(page.nodes.map(({ node, error }) => [node, error])).toEqual([
      ['here', undefined],
      ['n0', 'does not answer'],
      ['n1', 'is of a version that does not know the request inspect'],
      ['n2', 'does not answer'],
    ]);
    const cut = { ask: () => Promise.reject(new Error('Redis is gone')) };
    expect((await inspectionWith(localOf([]), cut).list(ALL)).nodes).toMatchObject([
      { node: 'here' },
      { error: 'The list of nodes cannot be read' },
    ]);
  });
});

describe('a node of another version, in a rolling upgrade (docs/admin.md)', () => {
  const asked = (value: unknown): Inspection => {
    const result = { status: 'fulfilled' as const, value };
    const broadcast = async () => [{ node: { id: 'other' }, result }];
    return inspectionWith(localOf([sessionInfo()]), new InspectedClusterNodes({ broadcast } as never));
  };
  const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

  /** The value with one of its parts replaced by null, for each part. */
  function* damaged(value: unknown): Generator {
    yield null;
    if (typeof value !== 'object' || value === null) return;
    for (const [name, part] of Object.entries(value)) {
      for (const other of damaged(part)) yield Object.assign(structuredClone(value), { [name]: other });
    }
  }

  test('is named when any part of its list cannot be read, and the others are shown', async () => {
    const other = asJson(localOf([sessionInfo({ principal: 'alice' })]).answer({ kind: 'list', query: ALL }));
    const readable = await asked(other).list(ALL);
    expect(readable).toMatchObject({ found: 2, nodes: [{ node: 'here' }, { node: 'other', error: undefined }] });
    for (const answer of [{}, [], 'text', ...damaged(other)]) {
      const page = await asked(answer).list(ALL);
      expect([answer, page]).toMatchObject([
        answer,
        { found: 1, nodes: [{}, { node: 'other', error: 'is of a version whose answer cannot be read' }] },
      ]);
    }
  });

  test('counts as one without the session when its other answers cannot be read', async () => {
    const entry = { number: 1, at: 2, event: 'settled', facts: { ms: 1 } };
    const [session] = (await asked(null).list(ALL)).rows;
    const other = asJson({ session, timeline: [entry] });
    expect(await asked(other).detail('0'.repeat(32))).toEqual(other);
    for (const answer of [{}, [], 'text', ...damaged(other)]) {
      expect(await asked(answer).detail('0'.repeat(32))).toBeUndefined();
    }
    for (const answer of [{}, [], 1, null]) expect(await asked(answer).find('0'.repeat(32))).toBeUndefined();
  });

  test('gets no answer to a question that this one does not know', () => {
    expect(() => localOf([sessionInfo()]).answer({ kind: 'newer', query: '' } as never)).toThrow(TypeError);
  });
});

describe('the recorder', () => {
  const settle = (events: Emitter<CoreEvents>, sessionId: string, tool = 'echo') =>
    events.emit('requestSettled', { id: 1, method: 'tools/call', tool }, 'ok', 1.26, { ...NO_PARTY, sessionId });

  test('keeps the newest 200 entries of a session, and cuts long texts', () => {
    const events = newEvents();
    const recorder = new Recorder(events, new FakeClock());
    recorder.timelineOf('a');
    for (let n = 0; n < 300; n += 1) settle(events, 'a', `${n}${'x'.repeat(500)}`);
    settle(events, 'b');
    const entries = recorder.timelineOf('a');
    expect(entries.map(({ number }) => number)).toEqual(Array.from({ length: 200 }, (_, i) => i + 101));
    expect(String(entries[0]!.facts.tool)).toHaveLength(128);
    expect(entries[0]!.facts).toMatchObject({ outcome: 'ok', ms: 1.3 });
  });

  test('keeps the timelines of the 32 sessions that were looked at last', () => {
    const recorder = new Recorder(newEvents(), new FakeClock());
    for (let n = 0; n < 40; n += 1) recorder.timelineOf(String(n));
    recorder.timelineOf('8');
    recorder.timelineOf('new');
    const watched = [...recorder.watched()];
    expect(watched).toHaveLength(32);
    expect(watched.slice(-2)).toEqual(['8', 'new']);
    expect(watched).not.toContain('9');
  });

  test('forgets a session that no operator looks at any more, while others are looked at', () => {
    const own = new FakeClock();
    const recorder = new Recorder(newEvents(), own);
    recorder.timelineOf('a');
    for (let n = 0; n < 3; n += 1) {
      own.advance(10_000);
      recorder.timelineOf('b');
    }
    expect([...recorder.watched()]).toEqual(['b']);
  });

  test('gives the rates of the last ten seconds', () => {
    const own = new FakeClock();
    const events = newEvents();
    const recorder = new Recorder(events, own);
    recorder.look();
    for (let n = 0; n < 10; n += 1) {
      settle(events, 'a');
      events.emit('requestSettled', { id: 1, method: 'ping' }, 'timeout', 1, NO_PARTY);
      own.advance(1_000);
      recorder.look();
    }
    events.emit('rejected', 'atCapacity', NO_PARTY);
    expect(recorder.rates()).toMatchObject({ settled: 2, failed: 1, rejected: 0.1 });
    own.advance(15_000);
    expect(recorder.rates()).toMatchObject({ settled: 0, failed: 0, rejected: 0 });
  });

  test('gives a constant rate as it is, from the first second on and at any instant', () => {
    const own = new FakeClock();
    const events = newEvents();
    const recorder = new Recorder(events, own);
    own.advance(300);
    recorder.look();
    for (let n = 1; n <= 250; n += 1) {
      own.advance(100);
      settle(events, 'a');
      recorder.look();
      // The window may begin on an event, so that it has one more.
      if (n >= 10) expect(Math.abs(recorder.rates().settled - 10)).toBeLessThanOrEqual(n < 100 ? 1 : 0.1);
    }
  });
});
