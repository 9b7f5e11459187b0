import { DEAD, encodeLease, LEFT, type Lease } from '../../src/cluster/membership/lease.js';
import { Peers } from '../../src/cluster/membership/peers.js';
import { ownProof, type ProcessProof } from '../../src/cluster/membership/process-proof.js';
import { FakeClock } from '../support/fake-clock.js';
import { Children, startOf } from './in-process-children.js';
import { FakeRedis, PREFIX, settled } from './in-process-fake-redis.js';
import { TIMES } from './in-process-lease.js';

const { lease: LEASE, renewInterval: MAX_AGE } = TIMES;
/** How often the process is looked for. */
const LOOK = 100;

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
  peers = observer();
});
afterEach(() => {
  peers.stop();
  children.clear();
});

function observer(proof: ProcessProof | undefined = own, hands = clock): Peers {
  return new Peers({ send: redis.send, prefix: PREFIX, clock: hands, timing: TIMES, proof });
}

const leaseOf = (id: string, proof?: ProcessProof): Lease => ({
  id,
  host: '127.0.0.1',
  port: 7_000,
  proof,
  challenge: 'challenge',
  leaving: false,
});

let counter = 0;

/** Writes a lease with another counter. */
function lives(id: string, proof?: ProcessProof): Lease {
  const lease = leaseOf(id, proof);
  redis.setField(id, encodeLease((counter += 1), lease));
  return lease;
}

const proofOf = (pid: number): ProcessProof => ({ ...own, pid, startedAt: startOf(pid) });
const readings = (): number => redis.commands.filter(([name]) => name === 'HGETALL').length;

async function tick(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10) {
    clock.advance(Math.min(10, left));
    await settled();
  }
}

describe('a node is found by its lease', () => {
  test('in the last reading, unless that is too old, or was found to be wrong', async () => {
    const lease = lives('a');
    expect(await peers.find('a')).toEqual(lease);
    clock.advance(MAX_AGE);
    expect(await peers.find('a')).toEqual(lease);
    expect(readings()).toBe(1);
    clock.advance(1);
    await peers.find('a');
    expect(readings()).toBe(2);
    clock.advance(LOOK + 1);
    peers.forget('a');
    await peers.find('a');
    await peers.find('a');
    expect(readings()).toBe(3);
  });

  test('what was read counts from before it was asked for', async () => {
    lives('a');
    redis.mode = 'late';
    const found = peers.find('a');
    clock.advance(300);
    await settled();
    redis.answer();
    await found;
    clock.advance(MAX_AGE - 299);
    redis.mode = 'up';
    await peers.find('a');
    expect(readings()).toBe(2);
  });

  test('nothing is known of it while Redis does not answer', async () => {
    lives('a');
    redis.mode = 'down';
    await expect(peers.find('a')).rejects.toThrow();
    await expect(peers.all()).rejects.toThrow();
  });

  test.each(['', '{', '1 {}', '1 {"host":"a","port":"7","challenge":"c"}'])(
    'a field that is no lease (%j) may be that of a live node, and is of no other node',
    async (text) => {
      redis.setField('a', text);
      const lease = lives('b');
      expect(await peers.find('a')).toBe('missing');
      expect(await peers.all()).toEqual([lease]);
    },
  );

  test('all that may live are known, as Redis has them now', async () => {
    const a = lives('a');
    expect(await peers.all()).toEqual([a]);
    clock.advance(1);
    const b = lives('b');
    redis.setField('c', LEFT);
    redis.setField('d', DEAD);
    expect(await peers.all()).toEqual([a, b]);
  });
});

describe('a membership is over, so that its sessions may be claimed (docs/scaling.md, "Why two nodes never own a session")', () => {
  const isOver = async (id: string): Promise<boolean> => (await peers.find(id)) === undefined;

  test.each([LEFT, DEAD])('at once when its field says %s, and for ever', async (text) => {
    lives('a');
    expect(await isOver('a')).toBe(false);
    clock.advance(1);
    redis.setField('a', text);
    peers.forget('a');
    // Readings for the same node are at least that far apart.
    expect(await isOver('a')).toBe(false);
    clock.advance(LOOK);
    expect(await isOver('a')).toBe(true);
    // A fail-over of Redis to an older state does not bring a membership back.
    lives('a');
    clock.advance(MAX_AGE + 1);
    expect(await isOver('a')).toBe(true);
    expect(await peers.all()).toEqual([]);
  });

  test('when its counter was the same for the whole lease, from when the first reading with it was received', async () => {
    lives('a');
    redis.mode = 'late';
    const first = peers.find('a');
    clock.advance(400);
    await settled();
    redis.answer();
    await first;
    redis.mode = 'up';
    clock.advance(LEASE - 1);
    expect(await isOver('a')).toBe(false);
    clock.advance(1);
    expect(await isOver('a')).toBe(true);
  });

  test('only by a reading that was sent after that time', async () => {
    lives('a');
    expect(await isOver('a')).toBe(false);
    clock.advance(LEASE - 1);
    redis.mode = 'late';
    const early = peers.find('a');
    clock.advance(500);
    await settled();
    // Sent before, and received after.
    redis.answer();
    redis.mode = 'up';
    expect(await early).toBeDefined();
    expect(await isOver('a')).toBe(true);
  });

  test('not while its counter changes, however seldom it is read', async () => {
    for (let n = 0; n < 5; n += 1) {
      lives('a');
      expect(await isOver('a')).toBe(false);
      clock.advance(3 * LEASE);
    }
  });

  test('not because its field is missing: the time starts anew then', async () => {
    lives('a');
    expect(await isOver('a')).toBe(false);
    clock.advance(LEASE - 1);
    // It may have been renewed since the last reading, and been lost after that.
    redis.removeField('a');
    clock.advance(1);
    expect(await peers.find('a')).toBe('missing');
    clock.advance(LEASE - 1);
    expect(await peers.find('a')).toBe('missing');
    clock.advance(1);
    expect(await isOver('a')).toBe(true);
  });

  test('not because no reading ever had it: the time starts with the first reading after it was asked for', async () => {
    expect(await peers.all()).toEqual([]);
    clock.advance(10 * LEASE);
    expect(await peers.find('a')).toBe('missing');
    clock.advance(LEASE - 1);
    expect(await peers.find('a')).toBe('missing');
    clock.advance(1);
    expect(await isOver('a')).toBe(true);
  });

  test('later when its own lease is longer: nodes may have different options in a rolling restart', async () => {
    redis.setField('a', encodeLease(1, { ...leaseOf('a'), duration: 2 * LEASE }));
    redis.setField('b', encodeLease(1, { ...leaseOf('b'), duration: LEASE / 2 }));
    for (const id of ['a', 'b']) expect(await isOver(id)).toBe(false);
    clock.advance(LEASE - 1);
    expect(await isOver('b')).toBe(false);
    clock.advance(LEASE);
    expect([await isOver('a'), await isOver('b')]).toEqual([false, true]);
    // The longer lease holds for a field that is missing, too.
    redis.removeField('a');
    clock.advance(1);
    expect(await peers.find('a')).toBe('missing');
    clock.advance(2 * LEASE - 1);
    expect(await peers.find('a')).toBe('missing');
    clock.advance(1);
    expect(await isOver('a')).toBe(true);
  });

  test('no more when another counter is read: the readings before may have come from a Redis that its node had left', async () => {
    lives('a');
    peers.start();
    await tick(LEASE + MAX_AGE);
    expect(await isOver('a')).toBe(true);
    const lease = lives('a');
    await tick(MAX_AGE);
    expect(await peers.find('a')).toEqual(lease);
    expect(await peers.all()).toEqual([lease]);
    await tick(LEASE + MAX_AGE);
    expect(await isOver('a')).toBe(true);
  });

  test('not by an end that was observed before Redis failed over: each claim needs a reading that was sent after it was asked for', async () => {
    lives('a');
    peers.start();
    await tick(LEASE + MAX_AGE);
    expect(await isOver('a')).toBe(true);
    // The readings came from an old primary. The node had renewed its lease at the new one, to which this one has moved.
    const lease = lives('a');
    clock.advance(1);
    expect(await peers.find('a')).toEqual(lease);
  });

  test('not by an end that was observed while Redis does not answer', async () => {
    lives('a');
    lives('b');
    expect(await isOver('a')).toBe(false);
    redis.setField('b', LEFT);
    clock.advance(LEASE);
    expect([await isOver('a'), await isOver('b')]).toEqual([true, true]);
    redis.mode = 'down';
    clock.advance(1);
    await expect(peers.find('a')).rejects.toThrow();
    expect(await isOver('b')).toBe(true);
  });

  test('by one reading for all that are asked for at once', async () => {
    lives('a');
    expect(await isOver('a')).toBe(false);
    clock.advance(LEASE);
    expect(await isOver('a')).toBe(true);
    clock.advance(1);
    const before = readings();
    expect(await Promise.all(Array.from({ length: 20 }, () => isOver('a')))).not.toContain(false);
    expect(readings()).toBe(before + 1);
  });

  test('not by readings from before a fence of this node: it may have missed renewals, and Redis may have gone back since', async () => {
    lives('a');
    lives('b');
    expect(await isOver('a')).toBe(false);
    clock.advance(LEASE);
    expect(await isOver('b')).toBe(true);
    peers.startAnew();
    for (const id of ['a', 'b']) expect(await isOver(id)).toBe(false);
    clock.advance(LEASE - 1);
    expect(await isOver('a')).toBe(false);
    clock.advance(1);
    expect(await isOver('a')).toBe(true);
  });

  test('not by readings from before Redis went back, which a lower counter of any node shows: counters between may be lost', async () => {
    const [a, b] = [lives('a'), lives('b')];
    const before = ['a', 'b'].map((id) => redis.field(id)!);
    await peers.all();
    await tick(MAX_AGE);
    lives('b');
    await peers.all();
    clock.advance(MAX_AGE);
    // This node reads nothing of a's next renewals, and Redis loses them.
    redis.setField('a', before[0]!);
    redis.setField('b', before[1]!);
    clock.advance(LEASE - 2 * MAX_AGE);
    expect(await peers.all()).toEqual([a, b]);
    expect(await isOver('a')).toBe(false);
    await tick(LEASE);
    expect(await isOver('a')).toBe(true);
  });

  test('later for an observer that starts later', async () => {
    lives('a');
    await peers.find('a');
    clock.advance(LEASE);
    const late = observer();
    expect(await isOver('a')).toBe(true);
    expect(await late.find('a')).toBeDefined();
    clock.advance(LEASE);
    expect(await late.find('a')).toBeUndefined();
  });

  test('later for an observer whose readings fail meanwhile', async () => {
    lives('a');
    await peers.find('a');
    redis.mode = 'down';
    clock.advance(10 * LEASE);
    await expect(peers.find('a')).rejects.toThrow();
    redis.mode = 'up';
    lives('a');
    expect(await isOver('a')).toBe(false);
  });

  test('within lease and renewInterval after its last renewal, at an observer that reads each renewInterval', async () => {
    peers.start();
    await tick(MAX_AGE - 10);
    lives('a');
    const renewed = clock.now();
    while (!(await isOver('a'))) await tick(10);
    expect(clock.now() - renewed).toBeGreaterThanOrEqual(LEASE);
    expect(clock.now() - renewed).toBeLessThanOrEqual(LEASE + MAX_AGE);
  });

  test('the field of one that did not change for ten leases is removed, unless it changes meanwhile', async () => {
    redis.setField('left', LEFT);
    redis.setField('no lease', '?');
    lives('dead');
    lives('alive');
    peers.start();
    await tick(10 * LEASE - MAX_AGE);
    expect(redis.field('left')).toBe(LEFT);
    lives('alive');
    await tick(2 * MAX_AGE);
    const kept = ['left', 'no lease', 'dead', 'alive'].map((id) => redis.field(id) !== undefined);
    expect(kept).toEqual([false, false, false, true]);
    expect(await isOver('dead')).toBe(true);
  });

  test('one reading each renewInterval serves all of that, however many nodes there are', async () => {
    for (let n = 0; n < 50; n += 1) lives(`node-${n}`);
    peers.start();
    for (let spent = 0; spent < 10 * MAX_AGE; spent += 100) {
      await tick(100);
      for (let n = 0; n < 50; n += 1) await peers.find(`node-${n}`);
      if (spent % 1_000 === 0) for (let n = 0; n < 50; n += 1) lives(`node-${n}`);
    }
    expect(redis.commands.length).toBeLessThanOrEqual(11);
  });
});

describe('a node whose ID a client named', () => {
  test('is found as soon as it has joined, and is none without a lease', async () => {
    await peers.all();
    const lease = lives('a');
    const found = peers.member('a');
    await settled();
    clock.advance(LOOK);
    expect(await found).toEqual(lease);
    clock.advance(1);
    redis.setField('a', LEFT);
    peers.forget('a');
    clock.advance(LOOK);
    expect(await peers.member('a')).toBeUndefined();
  });

  test('costs no reading of its own while many IDs are forged', async () => {
    const asked: Promise<unknown>[] = [];
    for (let n = 0; n < 1_000; n += 1) {
      asked.push(peers.member(`forged ${n}`));
      await tick(1);
    }
    await tick(LOOK);
    expect(await Promise.all(asked)).toEqual(asked.map(() => undefined));
    expect(readings()).toBeLessThanOrEqual(12);
  });
});

describe('a node whose process was on this machine (docs/scaling.md, "When the owner dies")', () => {
  test('is gone at the next look when it was killed -9, also where its lease was read before, and its field says so', async () => {
    const pid = await children.sleeper();
    const lease = lives('a', proofOf(pid));
    expect(await peers.find('a')).toEqual(lease);
    await children.kill(pid);
    expect(redis.field('a')).not.toBe(DEAD);
    await tick(LOOK);
    expect(await peers.find('a')).toBeUndefined();
    await settled();
    expect(redis.field('a')).toBe(DEAD);
    expect(await peers.all()).toEqual([]);
  });

  test('is dead in its field also when it renewed its lease after the last reading', async () => {
    const pid = await children.sleeper();
    lives('a', proofOf(pid));
    await peers.find('a');
    lives('a', proofOf(pid));
    await children.kill(pid);
    await tick(LOOK);
    expect(await peers.find('a')).toBeUndefined();
    await settled();
    expect(redis.field('a')).toBe(DEAD);
  });

  test('is gone when its process ID is another’s', async () => {
    const proof = proofOf(await children.sleeper());
    lives('a', { ...proof, startedAt: '1' });
    expect(await peers.find('a')).toBeUndefined();
    await settled();
    expect(redis.field('a')).toBe(DEAD);
  });

  test('is not judged when it is of another machine, or gives no proof, or this process has none', async () => {
    const gone = { ...own, startedAt: '1' };
    lives('a', { ...gone, machine: 'f'.repeat(32) });
    expect(await peers.find('a')).toBeDefined();
    lives('b');
    expect(await peers.find('b')).toBeDefined();
    lives('c', gone);
    expect(
      await new Peers({ send: redis.send, prefix: PREFIX, clock, timing: TIMES, proof: undefined }).find('c'),
    ).toBeDefined();
    for (const id of ['a', 'b', 'c']) expect(redis.field(id)).not.toBe(DEAD);
  });

  test('is not looked for once the observer is stopped, as its own node leaves', async () => {
    const pid = await children.sleeper();
    const lease = lives('a', proofOf(pid));
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    await peers.find('a');
    await children.kill(pid);
    peers.stop();
    await tick(2 * LOOK);
    expect(await peers.find('a')).toEqual(lease);
    await settled();
    expect(redis.field('a')).not.toBe(DEAD);
    expect([calls, clock.pending]).toEqual([0, 0]);
  });

  test('is gone although Redis is away and its field cannot be written, and no failure is logged', async () => {
    const pid = await children.sleeper();
    lives('a', proofOf(pid));
    await peers.find('a');
    await children.kill(pid);
    redis.mode = 'down';
    await tick(LOOK);
    expect(await peers.find('a')).toBeUndefined();
    await settled();
  });
});

describe('a listener that waits for the end of a node', () => {
  test('is called once, when its membership is over', async () => {
    const calls: string[] = [];
    const lease = lives('a');
    peers.start();
    await settled();
    peers.watch(lease, () => calls.push('one'));
    peers.watch(lease, () => calls.push('two'));
    await tick(4_900);
    expect(calls).toEqual([]);
    await tick(MAX_AGE + LOOK);
    expect(calls).toEqual(['one', 'two']);
    await tick(10_000);
    expect(calls).toEqual(['one', 'two']);
  });

  test('is called once, soon after its process on this machine was killed', async () => {
    const pid = await children.sleeper();
    const lease = lives('a', proofOf(pid));
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    await tick(LOOK);
    expect(calls).toBe(0);
    await children.kill(pid);
    await tick(2 * LOOK);
    expect(calls).toBe(1);
    await tick(10_000);
    expect(calls).toBe(1);
  });

  test.each([LEFT, DEAD])(
    'for messages is called `lease - fenceAfter` after the field says %s: a 102 that TCP repeats may still arrive (docs/scaling.md, "What is guaranteed")',
    async (field) => {
      const calls: string[] = [];
      const lease = lives('a');
      peers.start();
      await settled();
      peers.watch(lease, () => calls.push('ended'));
      peers.watchEndOfMessages(lease, () => calls.push('heard'));
      peers.watchEndOfMessages(lease, () => calls.push('not called'))();
      redis.setField('a', field);
      await tick(MAX_AGE + 2 * LOOK);
      expect(calls).toEqual(['ended']);
      await tick(TIMES.lease - TIMES.fenceAfter - 4 * LOOK);
      expect(calls).toEqual(['ended']);
      await tick(4 * LOOK);
      expect(calls).toEqual(['ended', 'heard']);
    },
  );

  test('for messages is called at once when the end was observed: the node stopped `lease - fenceAfter` before', async () => {
    const calls: string[] = [];
    const lease = lives('a');
    peers.start();
    await settled();
    peers.watch(lease, () => calls.push('ended'));
    peers.watchEndOfMessages(lease, () => calls.push('heard'));
    await tick(LEASE + MAX_AGE + LOOK);
    expect(calls).toEqual(['ended', 'heard']);
  });

  test('is called also when it began to wait for a node that was gone before', async () => {
    const lease = lives('a');
    peers.start();
    let calls = 0;
    for (const wanted of [1, 2]) {
      peers.watch(lease, () => (calls += 1));
      await tick(7_000);
      expect(calls).toBe(wanted);
    }
  });

  test('is not called when it waits no more; no timer runs then, and Redis is not asked', async () => {
    const lease = lives('a');
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
    const lease = lives('a');
    peers.start();
    let calls = 0;
    peers.watch(lease, () => (calls += 100))();
    await tick(LOOK / 2);
    peers.watch(lease, () => (calls += 1));
    await tick(7_000);
    expect(calls).toBe(1);
  });

  test('is not called because Redis is away: of the node nothing is known then', async () => {
    const lease = lives('a');
    peers.start();
    await settled();
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    redis.mode = 'down';
    await tick(10_000);
    expect(calls).toBe(0);
    redis.mode = 'up';
    await tick(MAX_AGE + LOOK);
    expect(calls).toBe(1);
  });

  test('is called for a process that was killed also while Redis does not answer', async () => {
    const pid = await children.sleeper();
    const lease = lives('a', proofOf(pid));
    let calls = 0;
    peers.watch(lease, () => (calls += 1));
    redis.mode = 'hang';
    await tick(4 * LOOK);
    await children.kill(pid);
    await tick(1_000);
    expect(calls).toBe(1);
  });
});
