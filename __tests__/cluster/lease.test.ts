import fc from 'fast-check';
import { decodeLease, leaseKey, nodesKey } from '../../src/cluster/membership/lease.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { settled } from './in-process-fake-redis.js';
import { FakeNode, PREFIX, realNode, TIMES } from './in-process-lease.js';
import { runs } from '../support/runs.js';

const { lease: LEASE, renewInterval: RENEW, fenceAfter: FENCE } = TIMES;
/** The delay before a second try, and the time limit of one answer of Redis: a third of the time for a second try. */
const RETRY = 250;
const ANSWER = (FENCE - RENEW) / 3;

describe('the lease of a node (docs/scaling.md: one per node, only Redis’s expiry and local monotonic time are trusted)', () => {
  test('is taken with SET NX PX, told with where its listener is, and renewed with SET XX PX under another challenge', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { id } = node.membership;
    expect(node.membership.isValid).toBe(true);
    expect(node.joined).toEqual([id]);
    await node.pass(RENEW);
    const [join, add, renewal] = node.redis.commands;
    expect(join).toEqual(['SET', leaseKey(PREFIX, id), expect.any(String), 'PX', String(LEASE), 'NX']);
    expect(add).toEqual(['SADD', nodesKey(PREFIX), id]);
    expect(renewal).toEqual(['SET', leaseKey(PREFIX, id), expect.any(String), 'PX', String(LEASE), 'XX']);
    const [first, second] = [decodeLease(join![2]!), decodeLease(renewal![2]!)];
    expect(first).toMatchObject({ id, host: '127.0.0.1', port: 7_000 });
    expect(second).toEqual({ ...first, challenge: expect.any(String) });
    expect(second.challenge).not.toBe(first.challenge);
    await node.pass(100 * RENEW);
    expect([node.membership.id, node.membership.isValid, node.fenced]).toEqual([id, true, []]);
  });

  test('keeps its challenge when a renewal failed, as Redis may have it all the same; all that it may have are good', async () => {
    const node = new FakeNode();
    await node.pass(0);
    node.redis.mode = 'late';
    await node.pass(RENEW + ANSWER);
    node.redis.mode = 'up';
    await node.pass(RETRY);
    const [first, failed, again] = node.challenges;
    expect(again).toBe(failed);
    const check = (challenge: string, nonce = 'a', to = node.membership.id) =>
      node.node.check({ to, challenge, nonce, kind: 'list' }, true);
    expect(check(first!)).toBe('fresh');
    expect(check(again!)).toBe('fresh');
    expect(check(again!)).toBe('replayed');
    expect(check('another')).toBe('stale');
    expect(check(again!, 'b', 'another node')).toBe('notThis');
  });

  test('is given up when Redis acknowledged it only after fenceAfter, and the node joins under another ID', async () => {
    const node = new FakeNode({ mode: 'hang' });
    await node.pass(0);
    const { membership } = node;
    node.redis.answer();
    await node.pass(0);
    // The process stands still, and Redis has answered by the time that it goes on.
    node.block(FENCE);
    node.redis.answer();
    node.redis.mode = 'up';
    await settled();
    expect(membership.isValid).toBe(false);
    await node.pass(3 * RETRY);
    expect(node.failures).toEqual(['cluster: no lease']);
    expect(node.membership.id).not.toBe(membership.id);
    expect([node.membership.isValid, node.joined]).toEqual([true, [node.membership.id]]);
    expect(node.has(membership.id)).toBe(false);
  });

  test('one that was not renewed for fenceAfter fences its node: at that time, and not a millisecond before', async () => {
    const node = new FakeNode();
    await node.pass(0);
    node.redis.mode = 'down';
    const { membership } = node;
    await node.pass(FENCE - 1);
    expect([membership.isValid, node.fenced]).toEqual([true, []]);
    await node.pass(1);
    expect([membership.isValid, node.fenced]).toEqual([false, [membership.id]]);
  });

  test('counts from before the renewal was sent, however late its answer is', async () => {
    const node = new FakeNode();
    await node.pass(0);
    node.redis.mode = 'late';
    await node.pass(RENEW + ANSWER - 1);
    node.redis.answer();
    node.redis.mode = 'down';
    const { membership } = node;
    await node.pass(FENCE - ANSWER);
    expect(membership.isValid).toBe(true);
    expect(node.node.leaseAge).toBe(FENCE - 1);
    await node.pass(1);
    expect([membership.isValid, node.fenced]).toEqual([false, [membership.id]]);
  });

  test('does not hold past its time, also where the process was stopped and no timer could fire', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    node.clock.block(FENCE - 1);
    expect(membership.isValid).toBe(true);
    node.clock.block(1);
    expect([membership.isValid, node.fenced]).toEqual([false, []]);
    await expect(node.node.checkMember()).rejects.toMatchObject({ reason: 'storeUnavailable' });
    await node.pass(1);
    expect(node.fenced).toEqual([membership.id]);
  });

  test('one that Redis lost fences at the next renewal; the node joins again under a new ID, and never the old one', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    await node.pass(RENEW / 2);
    node.redis.lose();
    await node.pass(RENEW / 2);
    expect([membership.isValid, node.fenced]).toEqual([false, [membership.id]]);
    await node.pass(2 * RETRY);
    expect(node.membership.isValid).toBe(true);
    expect(node.membership.id).not.toBe(membership.id);
    expect(node.joined).toEqual([membership.id, node.membership.id]);
    expect([node.has(membership.id), node.has(node.membership.id)]).toEqual([false, true]);
    expect(node.redis.members(nodesKey(PREFIX))).toEqual([node.membership.id]);
  });

  test('a fenced node takes a new ID at once, joins when Redis is back, and gives up the old lease first', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const old = node.membership.id;
    node.redis.mode = 'down';
    await node.pass(FENCE + 1);
    expect(node.membership.id).not.toBe(old);
    expect([node.membership.isValid, node.has(old), node.node.leaseAge]).toEqual([false, true, Infinity]);
    await expect(node.node.checkMember()).rejects.toMatchObject({ reason: 'storeUnavailable' });
    node.redis.mode = 'up';
    await node.pass(2 * RETRY);
    expect([node.membership.isValid, node.has(old), node.has(node.membership.id)]).toEqual([true, false, true]);
    await node.node.checkMember();
  });

  test('a late answer to a renewal that was sent before the fence came down does not revive the old membership', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const old = node.membership;
    node.redis.mode = 'hang';
    await node.pass(FENCE + 1);
    expect(old.isValid).toBe(false);
    node.redis.mode = 'up';
    node.redis.answer();
    await node.pass(RETRY);
    expect(old.isValid).toBe(false);
    await node.pass(LEASE);
    expect([old.isValid, node.membership.isValid, node.has(old.id)]).toEqual([false, true, false]);
  });

  test('a node whose join reply was lost joins as soon as Redis answers, without waiting for a lease to end', async () => {
    const node = new FakeNode({ mode: 'late' });
    await node.pass(ANSWER + 1);
    node.redis.mode = 'up';
    await node.pass(2 * RETRY + ANSWER);
    expect(node.membership.isValid).toBe(true);
  });
});

describe('leaving (docs/scaling.md: released on SIGTERM, so that others take over at once)', () => {
  test('gives up the lease, and the place among the nodes; nothing is renewed after that', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    await node.node.leave();
    expect([membership.isValid, node.has(membership.id), node.redis.members(nodesKey(PREFIX))]).toEqual([
      false,
      false,
      [],
    ]);
    expect([node.clock.pending, node.fenced, node.failures]).toEqual([0, [], []]);
  });

  test.each(['down', 'hang', 'late'] as const)('never rejects, and is over soon, while Redis is %s', async (mode) => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    node.redis.mode = mode;
    let left = false;
    const leaving = node.node.leave().then(() => (left = true));
    await node.pass(3 * ANSWER);
    expect([left, membership.isValid]).toEqual([true, false]);
    await leaving;
    await node.pass(LEASE);
    expect(node.has(membership.id)).toBe(false);
    expect(node.clock.pending).toBe(0);
  });

  test('gives up also the lease of a membership that was fenced before, which others would wait for', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const old = node.membership.id;
    node.redis.mode = 'down';
    await node.pass(FENCE);
    node.redis.mode = 'up';
    expect(node.has(old)).toBe(true);
    await node.node.leave();
    expect(node.has(old)).toBe(false);
  });
});

describe('against a model of time', () => {
  const deed = fc.oneof(
    { arbitrary: fc.record({ deed: fc.constant('pass' as const), ms: fc.nat(2_500) }), weight: 6 },
    { arbitrary: fc.record({ deed: fc.constant('block' as const), ms: fc.nat(6_000) }), weight: 1 },
    { arbitrary: fc.record({ deed: fc.constantFrom('up', 'down', 'hang', 'late') }), weight: 4 },
    { arbitrary: fc.record({ deed: fc.constant('answer' as const) }), weight: 2 },
    { arbitrary: fc.record({ deed: fc.constant('lose' as const) }), weight: 1 },
  );

  test('a membership holds only while its lease in Redis cannot have expired, whatever happens; one that is over stays over', async () => {
    const seen = { held: 0, fenced: 0, lost: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 5, maxLength: 40, size: 'max' }), async (deeds) => {
        const node = new FakeNode();
        node.checkAlways();
        for (const each of deeds) {
          if (each.deed === 'pass') await node.pass(each.ms);
          else if (each.deed === 'block') node.block(each.ms);
          else if (each.deed === 'answer') node.redis.answer();
          else if (each.deed === 'lose') node.redis.lose();
          else node.redis.mode = each.deed;
          seen.lost += Number(each.deed === 'lose');
          node.check();
          seen.held += Number(node.membership.isValid);
        }
        seen.fenced += node.fenced.length;
        node.redis.mode = 'up';
        node.redis.answer();
        await node.pass(LEASE + FENCE);
        expect(node.membership.isValid).toBe(true);
      }),
      { numRuns: runs(150) },
    );
    // Or the property would say little.
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(100);
  });
});

describe('with a real Redis', () => {
  let server: RedisServer;
  let redis: ConnectedRedis;
  beforeAll(async () => {
    server = await RedisServer.start();
    redis = await connectRedis(server.url);
  }, 300_000);
  afterAll(async () => {
    redis.close();
    await server.stop();
  });

  const held = async (id: string): Promise<number> => Number(await redis.ask('PTTL', leaseKey(PREFIX, id)));

  test('joins, renews, fences itself when Redis lost the lease, joins again, and leaves', async () => {
    const { node, fenced } = realNode(redis.ask);
    await node.checkMember();
    const { id } = node.membership;
    expect(await held(id)).toBeGreaterThan(0);
    expect(await redis.ask('SMEMBERS', nodesKey(PREFIX))).toEqual([id]);
    const challenge = async (): Promise<string> =>
      decodeLease((await redis.ask('GET', leaseKey(PREFIX, id))) as string).challenge;
    const first = await challenge();
    await until('it is renewed', async () => (await challenge()) !== first);
    expect(node.membership).toMatchObject({ id, isValid: true });
    await redis.ask('DEL', leaseKey(PREFIX, id));
    await until('it fences itself', () => fenced.length === 1);
    await until('it is a member again', () => node.membership.isValid);
    expect(node.membership.id).not.toBe(id);
    await node.leave();
    expect(await redis.ask('KEYS', leaseKey(PREFIX, '*'))).toEqual([]);
  });

  test('two of the same ID are impossible: a lease that is there is not joined under', async () => {
    const { node, failures } = realNode((...args) =>
      args[0] === 'SET' ? redis.ask('SET', 'taken', ...args.slice(2)) : redis.ask(...args),
    );
    await redis.ask('SET', 'taken', 'by another', 'PX', '60000');
    await until('it has failed', () => failures.length > 0);
    expect(node.membership.isValid).toBe(false);
    await node.leave();
  });
});
