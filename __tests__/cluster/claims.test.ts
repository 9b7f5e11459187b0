import { LEFT, nodesKey } from '../../src/cluster/membership/lease.js';
import { RecordStore } from '../../src/sessions/records/record-store.js';
import { redisEventStore, redisStore, type SendCommand } from '../../src/stores/redis.js';
import { recordKey } from '../../src/stores/redis-store.js';
import { Fenced, sessionHash, type FencedEventStore } from '../../src/stores/session-event-store.js';
import { notification } from '../support/event-stores.js';
import { FakeClock } from '../support/fake-clock.js';
import { Deferred, soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster } from './in-process.js';
import { ModelRedis } from './model-redis.js';

const HOUR = 3_600_000;

/** Only a lost lease fences a node with these times, and not a busy machine. */
const LONG = { times: { lease: 12_000, fenceAfter: 9_000, claimTimeout: 30_000 } };

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'client', version: '1' } },
};

/** Whether a command touches a record: of all scripts on one, only that takes four arguments. */
const isTouch = ([, , , key, ...args]: readonly string[]): boolean =>
  key?.endsWith(':session') === true && args.length === 4;

/** Whether a command claims a record: of all scripts on one, only that takes an epoch and two owners. */
const isClaim = ([, , , key, epoch, ...owners]: readonly string[]): boolean =>
  key?.endsWith(':session') === true && /^\d+$/.test(epoch!) && owners.length === 2;

describe('a claim that Redis has lost (docs/scaling.md, "What Redis must be")', () => {
  test('changes nothing any more, although the same node claims the session again in the same epoch', async () => {
    const clock = new FakeClock();
    const redis = new ModelRedis(() => clock.now());
    const sendCommand: SendCommand = (command, ...args) => Promise.resolve().then(() => redis.do(command, ...args));
    const records = new RecordStore({ store: redisStore({ sendCommand }), clock, node: () => 'node', lifetime: HOUR });
    await records.create('id', '{}', undefined);
    const before = redis.snapshot();
    const unowned = (await records.find('id'))!;
    const [lost, kept] = [records.newOwner(), records.newOwner()].map((owner) => ({ owner, epoch: 1 }));
    expect(await records.claim('id', unowned, lost!.owner)).toBe(true);
    // A fail-over to a replica that had not received the claim.
    redis.restore(before);
    expect(await records.claim('id', unowned, kept!.owner)).toBe(true);

    expect(await records.update('id', lost!, '{"lost":true}')).toBe(false);
    expect(await records.touch('id', lost!, () => '{}')).toBe(false);
    expect(await records.destroy('id', lost)).toBe(false);
    expect(await records.claim('id', lost!, records.newOwner())).toBe(false);
    await records.release('id', lost!);
    const events = redisEventStore({ sendCommand, clock }) as FencedEventStore;
    const event = (claim: { owner: string; epoch: number }) =>
      events.storeEvent(`${sessionHash('id')}-get`, notification('said'), { key: recordKey('mcp:', 'id'), ...claim });
    await expect(event(lost!)).rejects.toThrow(Fenced);
    expect(await records.find('id')).toEqual({ data: '{}', ...kept });

    await event(kept!);
    expect(await records.update('id', kept!, '{"kept":true}')).toBe(true);
    expect(await records.destroy('id', kept)).toBe(true);
  });
});

describe('a claim that a fail-over of Redis has lost, and no renewal of its node (docs/scaling.md, "What Redis must be")', () => {
  const cluster = InProcessCluster.ofSuite();

  test.each([5, 15, 30])(
    'is found out %i s after the claim, if it was lost in the 5 s before: the node gives the session up',
    async (seconds) => {
      const clock = new FakeClock();
      let touches = 0;
      const tap =
        (send: SendCommand): SendCommand =>
        async (...command) => {
          const reply = await send(...command);
          touches += Number(isTouch(command));
          return reply;
        };
      const times = { lease: 60_000, renewInterval: 10_000, fenceAfter: 40_000, claimTimeout: 90_000 };
      const [a, b] = await cluster.nodes(2, { times });
      const c = await cluster.node({ name: 'c', times, clock, tap });
      const session = await AnyNodeSession.open(a!.url);
      await session.call(a!.url, 'add');
      await a!.close();
      const { key } = await cluster.record();
      const before = (await cluster.ask('HGETALL', key)) as Record<string, string>;
      expect(await session.call(c.url, 'echo')).toMatchObject({ node: 'c', epoch: 1 });
      for (let passed = 5; passed < seconds; passed += 5) {
        clock.advance(5_000);
        await until(`the record is touched ${passed} s after the claim`, () => touches === 1 + passed / 5);
      }
      await cluster.ask('HSET', key, ...Object.entries(before).flat());
      expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
      clock.advance(5_000);
      await until('one node owns it', () => c.router.sessions.list().length === 0);
      expect(await session.call(c.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 3 });
    },
  );
});

describe('a record that its owner writes after another node has read it, and before that node claims the session', () => {
  const cluster = InProcessCluster.ofSuite();

  /** Opens a session at `a`, and sends a call to `b`, which reads the record and goes on when it is told to. */
  async function readAtOther() {
    let holds = false;
    let hasSeenEnd = false;
    let goOn: (() => void) | undefined;
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        const reply = await send(...command);
        if (command[0] === 'HGETALL') hasSeenEnd ||= Object.values(reply as object).includes(LEFT);
        if (command[0] !== 'HMGET' || !holds) return reply;
        holds = false;
        await new Promise<void>((resolve) => (goOn = resolve));
        return reply;
      };
    const a = await cluster.node({ ...LONG, name: 'a' });
    const b = await cluster.node({ ...LONG, name: 'b', tap });
    const session = await AnyNodeSession.open(a.url);
    holds = true;
    const asked = session.request(b.url, 'add').then(async (response) => {
      await response.text();
      return response.status;
    });
    await until('the other node has read the record', () => goOn !== undefined);
    const { owner } = await cluster.record();
    const fenceAndGoOn = async (): Promise<void> => {
      // Redis loses its lease. The node is fenced at its next renewal, and releases nothing.
      await cluster.ask('HDEL', nodesKey(cluster.prefix), owner);
      await until('the other node has read that this one left', () => hasSeenEnd);
      goOn?.();
    };
    return { a, b, session, asked, fenceAndGoOn };
  }

  test('is 404 if its owner had ended the session', async () => {
    const { a, session, asked, fenceAndGoOn } = await readAtOther();
    const { key } = await cluster.record();
    expect((await session.delete(a.url)).status).toBe(200);
    await fenceAndGoOn();
    expect(await asked).toBe(404);
    expect(await cluster.ask('EXISTS', key)).toBe(0);
  });

  test('is read again after the claim: no acknowledged write is lost', async () => {
    const { a, b, session, asked, fenceAndGoOn } = await readAtOther();
    await session.call(a.url, 'add');
    await fenceAndGoOn();
    expect(await asked).toBe(200);
    expect(await session.call(b.url, 'add')).toMatchObject({ node: 'b', count: 3 });
  });
});

describe('a session that this node and another one restore at the same time', () => {
  const cluster = InProcessCluster.ofSuite();

  test('is ended at the other node, if the app ends it here and the other node has claimed it', async () => {
    const mayClaim = new Deferred();
    let claims = 0;
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        claims += Number(isClaim(command));
        if (isClaim(command)) await mayClaim.promise;
        return send(...command);
      };
    const [a, c] = await cluster.nodes(2, LONG);
    const b = await cluster.node({ ...LONG, name: 'b', tap });
    const session = await AnyNodeSession.open(a!.url);
    await session.call(a!.url, 'add');
    await a!.close();
    const asked = session.request(b.url, 'echo').then(async (response) => response.text());
    await until('this node is about to claim the session', () => claims > 0);
    expect(await session.call(c!.url, 'echo')).toMatchObject({ node: 'b', epoch: 1 });
    const closing = b.router.sessions.close(session.id);
    mayClaim.resolve();
    expect(await soon('it has ended', closing)).toBe(true);
    expect(c!.router.sessions.list()).toEqual([]);
    expect(c!.lines('session closed')).toMatchObject([{ reason: 'deleted' }]);
    await asked;
  });
});

describe('a hibernated session whose node is fenced while it claims the session to wake it', () => {
  const cluster = InProcessCluster.ofSuite();

  test('gets no server: the node answers 503, as another node may own the session', async () => {
    const mayAnswer = new Deferred();
    let claims = 0;
    const tap =
      (send: SendCommand): SendCommand =>
      async (...command) => {
        const reply = await send(...command);
        claims += Number(isClaim(command));
        if (isClaim(command)) await mayAnswer.promise;
        return reply;
      };
    const a = await cluster.node({ ...LONG, orphanAfter: 1, hibernateAfter: 1, tap });
    const session = await AnyNodeSession.open(a.url);
    await until('it hibernates', () => a.router.sessions.stats().hibernated === 1);
    const { owner } = await cluster.record();
    const asked = session.request(a.url, 'echo');
    await until('it is claimed', () => claims > 0);
    const fenced = new Promise((resolve) => a.router.sessions.once('fenced', resolve));
    await cluster.ask('HDEL', nodesKey(cluster.prefix), owner);
    await soon('the node is fenced', fenced);
    mayAnswer.resolve();
    const { status } = await asked;
    expect(status).toBe(503);
    expect(a.contexts.map(({ epoch }) => epoch)).toEqual([0]);
  });
});

describe('the time to live of a record in a cluster (docs/scaling.md, "The times")', () => {
  const cluster = InProcessCluster.ofSuite();

  test('is a day longer than its session lives, so that a step of Redis’ clock removes no record of an owned session', async () => {
    const a = await cluster.node({ ttl: HOUR });
    await AnyNodeSession.open(a.url);
    const { key } = await cluster.record();
    const left = Number(await cluster.ask('PTTL', key));
    expect(left).toBeGreaterThan(25.25 * HOUR - 60_000);
    expect(left).toBeLessThanOrEqual(25.25 * HOUR);
  });

  test.each([
    ['not used for 1.25 × ttl', 24 * HOUR, 404],
    ['used since', 24 * HOUR + 60_000, 200],
  ])('a session that no node owns is %s: it has expired, or not', async (_what, left, status) => {
    const [a, b] = await cluster.nodes(2, { ttl: HOUR });
    const session = await AnyNodeSession.open(a!.url);
    await a!.close();
    const { key } = await cluster.record();
    await cluster.ask('PEXPIRE', key, String(left));
    const response = await session.request(b!.url, 'add');
    await response.text();
    expect(response.status).toBe(status);
    expect(await cluster.ask('EXISTS', key)).toBe(status === 404 ? 0 : 1);
  });

  /** Steps Redis' clock forward, as far as this record sees it. */
  async function step(ms: number): Promise<void> {
    const { key } = await cluster.record();
    await cluster.ask('PEXPIRE', key, String(Number(await cluster.ask('PTTL', key)) - ms));
  }

  test.each([
    ['in use', {}],
    ['that hibernates', { orphanAfter: 1, hibernateAfter: 1 }],
  ])('a session %s outlives a drain of its node after a step of Redis’ clock by 2 h', async (_what, delays) => {
    const [a, b] = await cluster.nodes(2, { ttl: HOUR, ...delays });
    const session = await AnyNodeSession.open(a!.url);
    await session.call(a!.url, 'add');
    await until(
      'it is as it should be',
      () => 'orphanAfter' in delays === (a!.router.sessions.stats().hibernated === 1),
    );
    await step(2 * HOUR);
    await a!.router.drain(5_000);
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', count: 2 });
  });

  test('a drain gives a session no more time than it had: its time to live is the rest by the owner’s clock', async () => {
    const clock = new FakeClock();
    const redis = new ModelRedis(() => clock.now());
    const sendCommand: SendCommand = (command, ...args) => Promise.resolve().then(() => redis.do(command, ...args));
    const store = redisStore({ sendCommand });
    const records = new RecordStore({ store, clock, node: () => 'node', lifetime: HOUR, keepsExpired: true });
    const claim = { owner: records.newOwner(), epoch: 0 };
    await records.create('id', '{}', claim.owner);
    const writtenAt = clock.now();
    const touches = jest.spyOn(store, 'touch');
    clock.advance(HOUR / 4);
    await records.release('id', { ...claim, epoch: 1 }, writtenAt);
    expect(await records.find('id')).toEqual({ data: '{}', ...claim });
    await records.release('id', claim, writtenAt);
    expect(await records.find('id')).toEqual({ data: '{}', epoch: 0, owner: undefined });
    expect(touches.mock.calls.map(([, , ttl]) => ttl)).toEqual([0.75 * HOUR, 0.75 * HOUR]);
  });

  test.each([
    ['that cannot read its record', async (key: string) => cluster.ask('HSET', key, 'd', '{"v":0}'), 200],
    [
      'for which it has expired, as Redis’ clock was stepped by 2 h',
      async (key: string) => cluster.ask('PEXPIRE', key, String(23 * HOUR)),
      400,
    ],
  ])(
    'an initialize with the ID of an owned session at another node %s leaves the session alone',
    async (_what, change, status) => {
      const [a, b] = await cluster.nodes(2, { ttl: HOUR });
      const session = await AnyNodeSession.open(a!.url);
      const { key } = await cluster.record();
      await change(key);
      const response = await session.post(b!.url, INITIALIZE);
      await response.text();
      expect(response.status).toBe(status);
      expect(await cluster.ask('EXISTS', key)).toBe(1);
      expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 1 });
    },
  );
});
