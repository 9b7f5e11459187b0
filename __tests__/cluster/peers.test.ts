import { encodeLease, leaseKey, nodesKey, type Lease } from '../../src/cluster/membership/lease.js';
import { Peers } from '../../src/cluster/membership/peers.js';
import { ownProof, type ProcessProof } from '../../src/cluster/membership/process-proof.js';
import { FakeClock } from '../support/fake-clock.js';
import { Children, startOf } from './in-process-children.js';
import { FakeRedis, settled } from './in-process-fake-redis.js';

const PREFIX = 'p:';
const MAX_AGE = 1_500;
/** How often the process is looked for, and after how many of those looks Redis is asked. */
const [LOOK, LOOKS_PER_ASK] = [100, 4];

let children: Children;
let clock: FakeClock;
let redis: FakeRedis;
let peers: Peers;
let own: ProcessProof;

beforeEach(() => {
  children = new Children();
  clock = new FakeClock();
  redis = new FakeRedis(clock);
  own = ownProof()!;
  peers = new Peers(redis.send, PREFIX, clock, MAX_AGE, own);
});
afterEach(() => children.clear());

async function lives(id: string, proof?: ProcessProof): Promise<Lease> {
  const lease: Lease = { id, host: '127.0.0.1', port: 7_000, proof, challenge: 'challenge', leaving: false };
  await redis.send('SET', leaseKey(PREFIX, id), encodeLease(lease), 'PX', '5000');
  await redis.send('SADD', nodesKey(PREFIX), id);
  redis.commands.length = 0;
  return lease;
}

const proofOf = (pid: number): ProcessProof => ({ ...own, pid, startedAt: startOf(pid) });
const hasLease = (id: string): boolean => redis.has(leaseKey(PREFIX, id));

async function tick(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10) {
    clock.advance(Math.min(10, left));
    await settled();
  }
}

describe('a node is found by its lease (docs/scaling.md: only Redis’s own expiry is trusted)', () => {
  test('as long as that lasts, and read anew once what was read is too old, or was found to be wrong', async () => {
    const lease = await lives('a');
    expect(await peers.find('a')).toEqual(lease);
    clock.advance(MAX_AGE - 1);
    expect(await peers.find('a')).toEqual(lease);
    expect(redis.commands).toHaveLength(1);
    clock.advance(1);
    await peers.find('a');
    expect(redis.commands).toHaveLength(2);
    peers.forget('a');
    await peers.find('a');
    expect(redis.commands).toHaveLength(3);
    clock.advance(5_000);
    expect(await peers.find('a')).toBeUndefined();
    expect(await peers.find('never there')).toBeUndefined();
  });

  test('what was read counts from before it was asked for', async () => {
    await lives('a');
    redis.mode = 'late';
    const found = peers.find('a');
    clock.advance(300);
    redis.answer();
    await found;
    clock.advance(MAX_AGE - 300);
    redis.mode = 'up';
    await peers.find('a');
    expect(redis.commands).toHaveLength(2);
  });

  test('is unknown while Redis does not answer, or holds an invalid lease', async () => {
    await lives('a');
    redis.mode = 'down';
    await expect(peers.find('a')).rejects.toThrow();
    await expect(peers.all()).rejects.toThrow();
    redis.mode = 'up';
    for (const text of ['', '{', '{}', '{"host":"a","port":"7","challenge":"c"}']) {
      await redis.send('SET', leaseKey(PREFIX, 'a'), text, 'PX', '5000');
      await expect(peers.find('a')).rejects.toThrow();
    }
  });

  test('all that live are known; one without a lease is taken off the list', async () => {
    const [a, b] = [await lives('a'), await lives('b')];
    await redis.send('SADD', nodesKey(PREFIX), 'c');
    expect((await peers.all()).sort((one, two) => one.id.localeCompare(two.id))).toEqual([a, b]);
    expect(redis.commands.at(-1)).toEqual(['SREM', nodesKey(PREFIX), 'c']);
    expect(await redis.send('SMEMBERS', nodesKey(PREFIX))).toEqual(['a', 'b']);
  });
});

describe('a node whose process was on this machine (docs/scaling.md: at once where death is proved)', () => {
  test('is gone at the next look when it was killed -9, also where its lease was read before, and its lease is given up for it', async () => {
    const pid = await children.sleeper();
    const lease = await lives('a', proofOf(pid));
    expect(await peers.find('a')).toEqual(lease);
    await children.kill(pid);
    expect(hasLease('a')).toBe(true);
    await tick(LOOK);
    expect(await peers.find('a')).toBeUndefined();
    expect(hasLease('a')).toBe(false);
    expect(await peers.all()).toEqual([]);
  });

  test('is gone when its process ID is another’s', async () => {
    const proof = proofOf(await children.sleeper());
    await lives('a', { ...proof, startedAt: '1' });
    expect(await peers.find('a')).toBeUndefined();
    expect(hasLease('a')).toBe(false);
  });

  test('is not judged when it is of another machine, or gives no proof, or this process has none', async () => {
    const gone = { ...own, startedAt: '1' };
    await lives('a', { ...gone, machine: 'f'.repeat(32) });
    expect(await peers.find('a')).toBeDefined();
    await lives('b');
    expect(await peers.find('b')).toBeDefined();
    await lives('c', gone);
    expect(await new Peers(redis.send, PREFIX, clock, MAX_AGE, undefined).find('c')).toBeDefined();
    expect(['a', 'b', 'c'].map(hasLease)).toEqual([true, true, true]);
  });

  test('is gone although Redis is away and its lease cannot be removed, and no failure is logged', async () => {
    const pid = await children.sleeper();
    await lives('a', proofOf(pid));
    await peers.find('a');
    await children.kill(pid);
    redis.mode = 'down';
    await tick(LOOK);
    expect(await peers.find('a')).toBeUndefined();
    await settled();
  });
});

describe('a listener for the death of a node', () => {
  test('is called once, when its lease is', async () => {
    const calls: string[] = [];
    const lease = await lives('a');
    peers.watch(lease, () => calls.push('one'));
    peers.watch(lease, () => calls.push('two'));
    await tick(4_900);
    expect(calls).toEqual([]);
    // A recent read of a lease does not show when the lease ends.
    peers.forget('a');
    await peers.find('a');
    await tick(LOOK * LOOKS_PER_ASK);
    expect(calls).toEqual(['one', 'two']);
    await tick(10_000);
    expect(calls).toEqual(['one', 'two']);
    expect(clock.pending).toBe(0);
  });

  test('is called once, soon after its process on this machine was killed', async () => {
    const pid = await children.sleeper();
    const lease = await lives('a', proofOf(pid));
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    await tick(LOOK);
    expect(calls).toBe(0);
    await children.kill(pid);
    await tick(LOOK);
    expect(calls).toBe(1);
    await tick(10_000);
    expect(calls).toBe(1);
  });

  test('is called also if the node was already gone', async () => {
    const lease = await lives('a');
    let calls = 0;
    for (const wanted of [1, 2]) {
      peers.watch(lease, () => (calls += 1));
      await tick(6_000);
      expect(calls).toBe(wanted);
    }
  });

  test('is not called when it waits no more; no timer runs then, and Redis is not asked', async () => {
    const lease = await lives('a');
    expect(clock.pending).toBe(0);
    let calls = 0;
    const unwatch = peers.watch(lease, () => (calls += 1));
    expect(clock.pending).toBe(1);
    unwatch();
    await tick(LOOK);
    expect(clock.pending).toBe(0);
    await tick(10_000);
    expect([calls, redis.commands]).toEqual([0, []]);
  });

  test('is called also when others ceased to wait just before', async () => {
    const lease = await lives('a');
    let calls = 0;
    peers.watch(lease, () => (calls += 100))();
    await tick(LOOK / 2);
    peers.watch(lease, () => (calls += 1));
    await tick(6_000);
    expect(calls).toBe(1);
    expect(clock.pending).toBe(0);
  });

  test('is not called because Redis is away: of the node nothing is known then', async () => {
    const lease = await lives('a');
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    redis.mode = 'down';
    await tick(10_000);
    expect(calls).toBe(0);
    redis.mode = 'up';
    await tick(LOOK * (LOOKS_PER_ASK + 1));
    expect(calls).toBe(1);
  });

  test('is called for a process that was killed also while Redis does not answer', async () => {
    const pid = await children.sleeper();
    const lease = await lives('a', proofOf(pid));
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    redis.mode = 'hang';
    await tick(LOOK * LOOKS_PER_ASK);
    await children.kill(pid);
    await tick(1_000);
    expect(calls).toBe(1);
  });
});
