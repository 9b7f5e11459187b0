import type { ServerResponse } from 'node:http';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { encodeLease, nodesKey, type Lease } from '../../src/cluster/membership/lease.js';
import { Peers } from '../../src/cluster/membership/peers.js';
import { Mailbox, type Message } from '../../src/cluster/migration/mailbox.js';
import { Migration } from '../../src/cluster/migration/migration.js';
import type { ForwardedRequest } from '../../src/endpoint/session/forwarding-port.js';
import { postOf } from '../support/posts.js';
import { RecordStore } from '../../src/sessions/records/record-store.js';
import { redisStore, type SendCommand } from '../../src/stores/redis.js';
import { FakeClock } from '../support/fake-clock.js';
import { settled } from './in-process-fake-redis.js';
import { createReply } from './owner-routing-world.js';
import { ModelRedis } from './model-redis.js';

const PREFIX = 'mcp:';
const OWN = 'this node';

/** Scripts of the mailbox are kept from the model of Redis, which has no lists. */
class World {
  readonly clock = new FakeClock();
  readonly redis = new ModelRedis(() => this.clock.now());
  /** What was put into mailboxes, by node. */
  readonly put: { node: string; message: Message }[] = [];
  readonly leaving = new Set<string>();
  readonly records: RecordStore;
  readonly migration: Migration;

  constructor() {
    const send: SendCommand = (...command) =>
      Promise.resolve().then(() => this.redis.do(...(command as [string, ...string[]])));
    const timing = { lease: 5_000, renewInterval: 1_500, fenceAfter: 3_300 };
    const store = redisStore({ sendCommand: send });
    this.records = new RecordStore({ store, clock: this.clock, node: () => OWN, lifetime: 60_000 });
    this.migration = new Migration({
      mailbox: {
        put: (node: string, message: Message) => Promise.resolve(this.put.push({ node, message }) > 0),
      } as unknown as Mailbox,
      node: { membership: { id: OWN } } as never,
      peers: new Peers({ send, prefix: PREFIX, clock: this.clock, timing, proof: undefined }),
      records: this.records,
      isMoving: (sessionId) => this.leaving.has(sessionId),
      clock: this.clock,
      lifecycle: new LifecyclePhase(),
      claimTimeout: 2_000,
    });
  }

  addNode(id: string): Lease {
    const lease = { id, host: id, port: 1, proof: undefined, challenge: 'challenge', leaving: false };
    this.redis.do('HSET', nodesKey(PREFIX), id, encodeLease(1, lease));
    return lease;
  }

  async addSession(id: string, owner: string): Promise<void> {
    await this.records.create(id, '{}', this.records.newOwner());
    const record = await this.records.find(id);
    const send: SendCommand = (...command) =>
      Promise.resolve().then(() => this.redis.do(...(command as [string, ...string[]])));
    await redisStore({ sendCommand: send }).claim(id, record!, owner);
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});

const take = (sessionId: string): Message => ({ sessionId, action: 'take', by: 'app', body: { method: 'said' } });

describe('a request for a session of another node (docs/scaling.md, routing: migrate)', () => {
  const move = (request: Partial<ForwardedRequest>, reply: ServerResponse = createReply()) =>
    world.migration.move(
      world.addNode('b'),
      { method: 'POST', post: postOf(1), ...request } as ForwardedRequest,
      reply,
    );

  test('moves nothing when its client has disconnected', async () => {
    const reply = createReply();
    reply.destroyed = true;
    expect(await move({ sessionId: 'session' }, reply)).toBe('done');
    expect(world.put).toEqual([]);
  });

  test('is refused, as draining, when it is an initialize: another node cannot open a session for this one', async () => {
    await expect(move({ sessionId: undefined })).rejects.toMatchObject({ reason: 'draining' });
    expect(world.put).toEqual([]);
  });

  test('asks the owner once for all waiting requests, and again half a second later', async () => {
    for (let n = 0; n < 3; n += 1) expect(await move({ sessionId: 'session' })).toBe('unreachable');
    expect(world.put).toHaveLength(1);
    world.clock.advance(500);
    await move({ sessionId: 'session' });
    expect(world.put.map(({ node, message }) => [node, message.action])).toEqual([
      ['b', 'handOff'],
      ['b', 'handOff'],
    ]);
  });
});

describe('a message for a session that this node does not have', () => {
  test('is passed to the owner once, if it has a message of the client', async () => {
    world.addNode('b');
    await world.addSession('of b', 'b');
    await world.migration.passOn(take('of b'));
    expect(world.put).toEqual([{ node: 'b', message: { ...take('of b'), passedOn: true } }]);
    await world.migration.passOn({ ...take('of b'), passedOn: true });
    expect(world.put).toHaveLength(1);
  });

  test.each(['handOff', 'end'] as const)('is dropped if it asks for `%s`, as its sender asks again', async (action) => {
    world.addNode('b');
    await world.addSession('of b', 'b');
    await world.migration.passOn({ ...take('of b'), action });
    expect(world.put).toEqual([]);
  });

  test('is dropped if there is no such session, or no node owns it, or its owner has no lease', async () => {
    await world.addSession('free', '');
    await world.addSession('of a dead node', 'dead');
    for (const id of ['none', 'free', 'of a dead node']) await world.migration.passOn(take(id));
    expect(world.put).toEqual([]);
  });

  test('has this node give up a session that it owns by the record only', async () => {
    await world.addSession('session', OWN);
    await world.migration.passOn(take('session'));
    expect(await world.records.find('session')).toMatchObject({ owner: undefined, epoch: 1 });
  });

  test('changes nothing while this node is giving the session up', async () => {
    await world.addSession('session', OWN);
    world.leaving.add('session');
    await world.migration.passOn(take('session'));
    expect(await world.records.find('session')).toMatchObject({ owner: OWN });
  });
});

describe('a mailbox that cannot be read', () => {
  const INTERVAL = 100;

  test('is reported once until it can be read again; so is a reply that is no list', async () => {
    const clock = new FakeClock();
    const failures: string[] = [];
    const replies: (unknown[] | Error | string | null)[] = [
      new Error('away'),
      new Error('away'),
      null,
      'QUEUED',
      [JSON.stringify(take('session'))],
    ];
    const send: SendCommand = () => {
      const reply = replies.shift() ?? null;
      return reply instanceof Error ? Promise.reject(reply) : Promise.resolve(reply);
    };
    const read: Message[] = [];
    const mailbox = new Mailbox(send, PREFIX, clock, (error) => failures.push((error as Error).message));
    void mailbox.open(
      () => OWN,
      (message) => Promise.resolve(void read.push(message)),
    );
    while (replies.length > 0) {
      await settled();
      clock.advance(INTERVAL);
    }
    await settled();
    mailbox.close();
    expect(failures).toEqual(['away', expect.stringContaining('Redis cannot have answered that (string)')]);
    expect(read).toEqual([take('session')]);
  });
});
