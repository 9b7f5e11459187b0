import fc from 'fast-check';
import { DEAD, decodeLease, fieldsOf, LEFT, nodesKey, RENEW as RENEWAL } from '../../src/cluster/membership/lease.js';
import { connectRedis, type ConnectedRedis } from '../support/redis-clients.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';
import { PREFIX, settled } from './in-process-fake-redis.js';
import { FakeNode, realNode, TIMES } from './in-process-lease.js';
import { runs } from '../support/runs.js';

const { lease: LEASE, renewInterval: RENEW, fenceAfter: FENCE } = TIMES;
/** The delay before a second try, and the time limit of one answer of Redis: a third of the time for a second try. */
const RETRY = 250;
const ANSWER = (FENCE - RENEW) / 3;

describe('the lease of a node (docs/scaling.md, "The times")', () => {
  test('is a field of one hash: the address, a challenge that changes with each renewal, and a counter that grows with each try', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { id } = node.membership;
    expect(node.membership.isValid).toBe(true);
    expect(node.joined).toEqual([id]);
    await node.pass(RENEW);
    const [join, renewal] = node.redis.commands;
    expect(join).toEqual(['HSETNX', nodesKey(PREFIX), id, expect.stringMatching(/^1 \{/)]);
    const lease = expect.stringMatching(/^2 \{/) as string;
    expect(renewal).toEqual(['EVALSHA', RENEWAL.hash, '1', nodesKey(PREFIX), id, lease, '1', '2']);
    const [first, second] = [decodeLease(join![3]!), decodeLease(renewal![5]!)];
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
    expect([node.redis.field(membership.id), node.has(node.membership.id)]).toEqual([LEFT, true]);
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

  test('a late answer does not revive a membership that has lapsed, also where no timer has fired yet (SIGSTOP)', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    node.redis.mode = 'late';
    await node.pass(RENEW);
    node.clock.block(FENCE - RENEW);
    expect(membership.isValid).toBe(false);
    node.redis.answer();
    node.redis.mode = 'up';
    await settled();
    expect([membership.isValid, node.fenced]).toEqual([false, [membership.id]]);
  });

  test('a renewal counts over each counter that this node wrote since its last success, and over no other', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    const rolledBack = node.redis.field(membership.id)!;
    // Redis did the first try, and its answer was lost.
    node.redis.mode = 'late';
    await node.pass(RENEW + ANSWER);
    node.redis.mode = 'up';
    await node.pass(RETRY);
    expect([membership.isValid, node.fenced]).toEqual([true, []]);
    // A fail-over to a replica that had not received the last renewals.
    node.redis.setField(membership.id, rolledBack);
    await node.pass(RENEW);
    expect([membership.isValid, node.fenced]).toEqual([false, [membership.id]]);
    await node.pass(RETRY);
    expect(node.redis.field(membership.id)).toBe(LEFT);
  });

  test('a renewal that Redis gets twice counts once', async () => {
    const node = new FakeNode();
    await node.pass(0);
    node.redis.mode = 'twice';
    await node.pass(10 * RENEW);
    expect([node.membership.isValid, node.fenced]).toEqual([true, []]);
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
  test('says so in its field, so that others claim at once; nothing is renewed after that', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { membership } = node;
    node.redis.setField('another', '1 {}');
    await node.node.leave();
    expect([membership.isValid, node.redis.field(membership.id)]).toEqual([false, LEFT]);
    expect([node.clock.pending, node.fenced, node.failures]).toEqual([0, [], []]);
  });

  test.each([LEFT, DEAD])(
    'leaves no field when no node has a lease: none would remove it (docs/scaling.md, "What it costs"); another’s “%s” stays',
    async (ended) => {
      const node = new FakeNode();
      await node.pass(0);
      const { id } = node.membership;
      node.redis.setField('another', ended);
      await node.node.leave();
      expect([node.redis.field(id), node.redis.field('another')]).toEqual([undefined, ended]);
      expect(node.failures).toEqual([]);
    },
  );

  test('is over, and no failure, when Redis goes away before that field is removed', async () => {
    const node = new FakeNode();
    await node.pass(0);
    const { id } = node.membership;
    const leaving = node.node.leave();
    while (node.redis.commands.at(-1)?.[0] !== 'HSET') await Promise.resolve();
    node.redis.mode = 'down';
    await leaving;
    expect([node.redis.field(id), node.failures]).toEqual([LEFT, []]);
  });

  test.each(['down', 'hang'] as const)('never rejects, and is over soon, while Redis is %s', async (mode) => {
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

  test('a membership holds only while no other node can claim what it owns, whatever happens; one that is over stays over', async () => {
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

  const field = async (id: string): Promise<string> => (await redis.ask('HGET', nodesKey(PREFIX), id)) as string;

  test('joins, renews, fences itself when Redis lost the lease, joins again, and leaves', async () => {
    const { node, fenced } = realNode(redis.ask);
    await node.checkMember();
    const { id } = node.membership;
    const first = decodeLease(await field(id)).challenge;
    await until('it is renewed', async () => decodeLease(await field(id)).challenge !== first);
    expect(node.membership).toMatchObject({ id, isValid: true });
    await redis.ask('HDEL', nodesKey(PREFIX), id);
    await until('it fences itself', () => fenced.length === 1);
    await until('it is a member again', () => node.membership.isValid);
    const again = node.membership.id;
    expect(again).not.toBe(id);
    await node.leave();
    expect(fieldsOf(await redis.ask('HGETALL', nodesKey(PREFIX)))).toEqual(new Map([[id, LEFT]]));
  });

  test('two of the same ID are impossible: a lease that is there is not joined under', async () => {
    const { node, failures } = realNode(async (...args) => {
      if (args[0] === 'HSETNX') await redis.ask('HSET', args[1]!, args[2]!, 'by another');
      return redis.ask(...args);
    });
    await until('it has failed', () => failures.length > 0);
    expect(node.membership.isValid).toBe(false);
    await node.leave();
  });
});
