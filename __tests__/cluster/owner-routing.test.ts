import { NO_SESSIONS } from '../../src/cluster/local-sessions.js';
import { encodeLease, nodesKey } from '../../src/cluster/membership/lease.js';
import type { Sent } from '../../src/cluster/port/node-port.js';
import { answered, CLAIM_TIMEOUT, createReply, NOT_REACHED, OwnerRoutingWorld } from './owner-routing-world.js';
import { postOf } from '../support/posts.js';
import { sessionInfo } from '../support/session-info.js';

let world: OwnerRoutingWorld;
beforeEach(async () => {
  world = await OwnerRoutingWorld.start();
});

const UNKNOWN: Sent = { outcome: 'unknown', mayAsk: true };

describe('which session of a principal ends for a new one (docs/scaling.md, maxSessionsPerPrincipal)', () => {
  test('is the one of this node that was orphaned for longer than any on another node', async () => {
    world.addNode('b');
    world.answer = () => answered(10);
    const evict = jest.fn(() => Promise.resolve(true));
    world.local = { ...NO_SESSIONS, longestOrphaned: () => 20, evict };
    expect(await world.settle(world.eviction.evict('alice'))).toBe(true);
    expect(evict).toHaveBeenCalledWith('alice');
    expect(world.received.map(({ kind }) => kind)).toEqual(['orphaned']);
  });

  test('is one that no live node owns, if no node has an orphaned one; its record is removed', async () => {
    world.addNode('b');
    world.answer = () => answered(-1);
    await world.addSession('own', world.node.membership.id);
    await world.addSession('of b', 'b');
    world.addDeadNode('dead');
    await world.addSession('of a dead node', 'dead');
    world.unused.set('alice', ['own', 'of b', 'of a dead node']);
    expect(await world.settle(world.eviction.evict('alice'))).toBe(true);
    expect(world.removed).toEqual(['of a dead node']);
    expect(await world.records.find('of a dead node')).toBeUndefined();
    expect(await world.records.find('own')).toBeDefined();
    expect(await world.records.find('of b')).toBeDefined();
  });

  test('is none that another node claimed meanwhile, and then no session ends', async () => {
    world.addDeadNode('dead');
    await world.addSession('claimed', 'dead');
    world.unused.set('alice', ['claimed']);
    jest.spyOn(world.records, 'destroy').mockResolvedValue(false);
    expect(await world.settle(world.eviction.evict('alice'))).toBe(false);
    expect(world.removed).toEqual([]);
  });

  test('is one with an expired record', async () => {
    world.unused.set('alice', ['expired']);
    expect(await world.settle(world.eviction.evict('alice'))).toBe(true);
    expect(world.removed).toEqual(['expired']);
  });
});

describe('a session that this node is giving up', () => {
  test('is waited for until its record names no owner', async () => {
    await world.addSession('moving', world.node.membership.id);
    world.leaving.add('moving');
    world.clock.setTimeout(() => {
      const claim = { owner: world.node.membership.id, epoch: 0 };
      void world.records.release('moving', claim).then(() => world.leaving.delete('moving'));
    }, 100);
    const found = await world.forward({ sessionId: 'moving' });
    expect(found?.record?.owner).toBeUndefined();
    expect(found?.record?.epoch).toBe(0);
  });

  test('is waited for until claimTimeout, after which the request is refused', async () => {
    await world.addSession('moving', world.node.membership.id);
    world.leaving.add('moving');
    const from = world.clock.now();
    await expect(world.forward({ sessionId: 'moving' })).rejects.toMatchObject({ reason: 'ownerUnreachable' });
    expect(world.clock.now() - from).toBeGreaterThanOrEqual(CLAIM_TIMEOUT);
  });

  test('is not waited for any longer once the router is closed', async () => {
    await world.addSession('moving', world.node.membership.id);
    world.leaving.add('moving');
    world.clock.setTimeout(() => {
      world.phase.moveTo('closing');
      world.phase.moveTo('closed');
    }, 100);
    await expect(world.forward({ sessionId: 'moving' })).rejects.toMatchObject({ reason: 'draining' });
  });
});

describe('a session that this node failed to restore (docs/scaling.md, "When a node cannot build servers")', () => {
  test('is given up although the release after the failure did not arrive, so that another node may claim it', async () => {
    await world.addSession('broken', world.node.membership.id);
    world.routing.pauseRestoring('broken');
    await expect(world.forward({ sessionId: 'broken' })).rejects.toMatchObject({ reason: 'restoreFailed' });
    expect((await world.records.find('broken'))?.owner).toBeUndefined();
  });

  test('is asked of no third node when the second may have begun the request', async () => {
    world.addNode('b');
    world.addNode('c');
    await world.addSession('broken', '');
    world.routing.pauseRestoring('broken');
    world.answer = () => UNKNOWN;
    const reply = createReply();
    expect(await world.forward({ sessionId: 'broken' }, reply)).toBeUndefined();
    expect(world.received).toHaveLength(1);
    expect(reply.body).toContain('outcome is unknown');
    expect(world.forwarded).toEqual(['lost']);
  });
});

test('a request is forwarded with the bytes of its body (docs/scaling.md, "The way of a request")', async () => {
  world.addNode('b');
  await world.addSession('of b', 'b');
  world.answer = () => answered({});
  const raw = Buffer.from('{ "jsonrpc": "2.0", "id": 1, "method": "ping" }');
  await world.forward({ sessionId: 'of b', post: { ...postOf(1), raw } });
  expect(world.received).toMatchObject([{ node: 'b', body: raw }]);
});

describe('a request that another node may have begun (docs/scaling.md, "What is guaranteed")', () => {
  test('gets no answer when its client has disconnected, and is not counted as lost', async () => {
    world.addNode('b');
    await world.addSession('of b', 'b');
    const reply = createReply();
    world.answer = ({ repeats }) => {
      if (repeats !== undefined) reply.destroyed = true;
      return UNKNOWN;
    };
    expect(await world.forward({ sessionId: 'of b' }, reply)).toBeUndefined();
    expect(world.received.map(({ repeats }) => repeats?.nonce)).toEqual([undefined, '1']);
    expect([reply.body, world.forwarded]).toEqual(['', []]);
  });

  test.each<[string, Sent]>([
    ['may have begun it', UNKNOWN],
    ['did not get it', NOT_REACHED],
  ])('is sent again, as a first message, if it is an initialize and the node %s', async (_what, first) => {
    world.addNode('b');
    world.phase.moveTo('draining');
    world.answer = () => (world.received.length === 1 ? first : answered({}));
    expect(await world.forward({ sessionId: undefined })).toBeUndefined();
    expect(world.received.map(({ repeats }) => repeats)).toEqual([undefined, undefined]);
    expect(world.forwarded).toEqual(['answered']);
  });

  test('is an initialize that something else than the node answered: its outcome is unknown', async () => {
    world.addNode('b');
    world.phase.moveTo('draining');
    world.answer = () => ({ outcome: 'unknown', mayAsk: false });
    const reply = createReply();
    expect(await world.forward({ sessionId: undefined }, reply)).toBeUndefined();
    expect(world.received).toHaveLength(1);
    expect(reply.body).toContain('outcome is unknown');
  });
});

describe('an owner that refuses what it is sent', () => {
  test.each([
    ['tooLarge', 'bodyTooLarge', undefined],
    ['unsigned', 'ownerUnreachable', 'is option cluster.secret the same on both?'],
  ])('as %s has the client refused with %s, at once', async (why, reason, cause) => {
    world.addNode('b');
    await world.addSession('of b', 'b');
    world.answer = () => ({ outcome: 'untaken', why });
    const refused = await world.forward({ sessionId: 'of b' }).catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ reason });
    if (cause !== undefined) expect(String((refused as Error).cause)).toContain(cause);
    expect(world.received).toHaveLength(1);
  });

  test.each([
    ['unknownKind', 'is of a version that does not know the request list'],
    ['unreachable', 'does not answer'],
  ])('as %s is named in the failure of sessions.list', async (why, cause) => {
    world.addNode('b');
    world.answer = () => ({ outcome: 'untaken', why });
    await expect(world.settle(world.routing.list())).rejects.toMatchObject({
      reason: 'ownerUnreachable',
      cause: new Error(`a node of the cluster ${cause}`),
    });
  });
});

test('sessions.list names the node of each session, and adds what a node of an earlier version leaves out', async () => {
  world.addNode('b');
  const { streams, openedAt, node, ...earlier } = sessionInfo({ ageMs: 400 });
  expect(node).toBeUndefined();
  world.answer = () => answered([earlier, { ...earlier, streams: { standalone: 1, request: 2 }, openedAt, node: 'b' }]);
  expect(await world.settle(world.routing.list())).toEqual([
    { ...earlier, streams, node: 'b', openedAt: expect.any(Number) as number },
    { ...earlier, streams: { standalone: 1, request: 2 }, node: 'b', openedAt },
  ]);
});

describe('a session whose owner ends while another node looks for that owner (docs/scaling.md, "What is guaranteed")', () => {
  const OWNER = 'a.1';
  const FIRST = { epoch: 0, owner: OWNER };

  /** Runs `act` once the record was read for the first time. The process of the owner is gone then. */
  function afterFirstRead(act: () => Promise<unknown>): void {
    const find = world.records.find.bind(world.records);
    jest.spyOn(world.records, 'find').mockImplementationOnce(async (id) => {
      const read = await find(id);
      await act();
      world.addDeadNode('a');
      return read;
    });
  }

  beforeEach(() => world.addSession('s', OWNER));

  test('is not claimed if the owner had ended it', async () => {
    afterFirstRead(() => world.store.destroy('s'));
    const { record } = (await world.forward({ sessionId: 's' }))!;
    expect(await world.store.claim('s', record!, 'b.1')).toBe(false);
  });

  test('is not claimed from a third node that claimed it meanwhile', async () => {
    afterFirstRead(() => world.store.claim('s', FIRST, 'c.1'));
    const { record } = (await world.forward({ sessionId: 's' }))!;
    expect(await world.store.claim('s', record!, 'b.1')).toBe(false);
  });

  test('is not claimed if the owner is alive after all: this node had read from a Redis that the owner had left', async () => {
    const lease = { id: 'a', host: 'a', port: 1, proof: undefined, challenge: 'challenge', leaving: false };
    world.redis.do('HSET', nodesKey('mcp:'), 'a', encodeLease(1, lease));
    await world.addSession('another', OWNER);
    const claimed = (): Promise<unknown> => world.forward({ sessionId: 'another' }).catch(() => undefined);
    while ((await claimed()) === undefined);
    world.clock.advance(1);
    world.redis.do('HSET', nodesKey('mcp:'), 'a', encodeLease(2, lease));
    world.answer = () => answered({});
    expect(await world.forward({ sessionId: 's' })).toBeUndefined();
    expect(world.received.at(-1)).toMatchObject({ node: 'a' });
  });
});
