import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import type { MessageId } from '../../src/cluster/membership/challenges.js';
import type { Lease } from '../../src/cluster/membership/lease.js';
import type { RequestOptions, Sending, Sent } from '../../src/cluster/port/node-port.js';
import { NodeQueues } from '../../src/cluster/port/node-queues.js';
import { FakeClock } from '../support/fake-clock.js';
import { Deferred, soon, until } from '../support/waiting.js';

// What waits for other nodes (docs/notify.md, "In a cluster"; docs/scaling.md, "Announcements").

const TIME = 10_000;

const leaseOf = (id: string, challenge = 'first'): Lease => ({
  id,
  host: '127.0.0.1',
  port: 1,
  proof: undefined,
  challenge,
  leaving: false,
});

/** A message to a node, which the test answers. */
class Message implements Sending {
  readonly id: MessageId;
  readonly #outcome = new Deferred<Sent>();
  readonly #begins = new Deferred<boolean>();
  readonly sent = this.#outcome.promise;
  readonly begun = Promise.race([this.#begins.promise, this.sent.then(() => false)]);
  readonly closed = this.sent.then(() => undefined);
  aborted = false;

  constructor(
    readonly node: Lease,
    readonly items: readonly string[],
    readonly options: RequestOptions,
    nonce: number,
  ) {
    this.id = { challenge: node.challenge, nonce: String(nonce) };
  }

  readonly abort = (): void => {
    this.aborted = true;
    this.#outcome.resolve({ outcome: 'lost' });
  };

  begin(): void {
    this.#begins.resolve(true);
  }

  end(sent: Sent): void {
    this.#outcome.resolve(sent);
  }

  answer(): void {
    const response = Readable.from([JSON.stringify(this.items)]) as Readable & { headers: IncomingHttpHeaders };
    response.headers = {};
    this.end({ outcome: 'answered', response, with102: true });
  }
}

/** The items of the tests are numbers. */
const itemsOf = (body: string): string[] => (JSON.parse(body) as unknown[]).map(String);

class Surroundings {
  readonly clock = new FakeClock();
  readonly lifecycle = new LifecyclePhase();
  readonly messages: Message[] = [];
  readonly reports: string[] = [];
  leases: Lease[] = [leaseOf('b')];
  redis: 'answers' | 'fails' = 'answers';
  readonly queues = new NodeQueues<string>({
    others: () => this.#read(() => this.leases),
    lastKnown: () => this.leases,
    find: (id) => this.#read(() => this.leases.find((lease) => lease.id === id)),
    send: (node, body, options) => {
      const message = new Message(node, itemsOf(body), options, this.messages.length);
      this.messages.push(message);
      return message;
    },
    read: async (response) => JSON.parse(String(await response.toArray())) as string[],
    report: (error) => this.reports.push(String(error)),
    clock: this.clock,
    lifecycle: this.lifecycle,
    claimTimeout: TIME,
  });

  async #read<T>(value: () => T): Promise<T> {
    if (this.redis === 'fails') throw new Error('Redis does not answer');
    return value();
  }

  async message(index: number): Promise<Message> {
    await until(`message ${index}`, () => this.messages.length > index);
    return this.messages[index]!;
  }
}

let surroundings: Surroundings;
beforeEach(() => (surroundings = new Surroundings()));

/** Resolves when the only timer is that of the pause before the next try. */
async function paused(): Promise<void> {
  await new Promise(setImmediate);
  expect(surroundings.clock.pending).toBe(1);
}

const refused = (why: string): Sent => ({ outcome: 'untaken', why });

test('a message has the challenge that its node expects now, however long the queue was never empty', async () => {
  const { queues } = surroundings;
  const first = queues.ask('1');
  const held = await surroundings.message(0);
  expect(held.node.challenge).toBe('first');
  surroundings.leases = [leaseOf('b', 'second')];
  const second = queues.ask('2');
  held.answer();
  const next = await surroundings.message(1);
  expect(next.node.challenge).toBe('second');
  next.answer();
  expect(await Promise.all([first, second])).toEqual([['1'], ['2']]);
});

test('the next message goes out once the node has begun the one before, in the order of the items', async () => {
  const { queues } = surroundings;
  const first = queues.ask('1');
  const slow = await surroundings.message(0);
  const others = [queues.ask('2'), queues.ask('3')];
  slow.begin();
  const next = await surroundings.message(1);
  expect(next.items).toEqual(['2', '3']);
  next.answer();
  expect(await Promise.all(others)).toEqual([['2'], ['3']]);
  slow.answer();
  expect(await first).toEqual(['1']);
});

test('a node that has begun a message and does not answer within claimTimeout is not counted', async () => {
  const { queues, clock } = surroundings;
  const asked = queues.ask('1');
  const message = await surroundings.message(0);
  message.begin();
  await until('its end is awaited', () => clock.pending === 1);
  clock.advance(TIME - 1);
  expect(message.aborted).toBe(false);
  clock.advance(1);
  expect(message.aborted).toBe(true);
  expect(await soon('the count', asked)).toEqual([]);
  expect(surroundings.reports).toEqual(['Error: a node of the cluster does not answer']);
});

test('at most eight messages of one node wait for their answers', async () => {
  const { queues } = surroundings;
  const asked: Promise<string[]>[] = [];
  for (let n = 0; n < 8; n += 1) {
    asked.push(queues.ask(String(n)));
    (await surroundings.message(n)).begin();
  }
  asked.push(queues.ask('8'));
  await new Promise(setImmediate);
  expect(surroundings.messages).toHaveLength(8);
  surroundings.messages[3]!.answer();
  (await surroundings.message(8)).answer();
  for (const message of surroundings.messages) message.answer();
  expect(await Promise.all(asked)).toEqual(Array.from({ length: 9 }, (_, n) => [String(n)]));
});

test.each(['unreachable', 'stale', 'bodiesAtCapacity'])(
  'a message that a node has not begun (%s) is sent again',
  async (why) => {
    const { queues, clock } = surroundings;
    const asked = queues.ask('1');
    const first = await surroundings.message(0);
    surroundings.leases = [leaseOf('b', 'second')];
    first.end(refused(why));
    await paused();
    clock.advance(100);
    const second = await surroundings.message(1);
    expect(second.node.challenge).toBe('second');
    expect(second.options.repeats).toBeUndefined();
    second.answer();
    expect(await asked).toEqual(['1']);
    expect(surroundings.reports).toEqual([]);
  },
);

test('a message that a node may have begun is repeated as the same message', async () => {
  const { queues, clock } = surroundings;
  const asked = queues.ask('1');
  const first = await surroundings.message(0);
  first.end({ outcome: 'unknown', mayAsk: true });
  await paused();
  clock.advance(100);
  const second = await surroundings.message(1);
  expect(second.options.repeats).toEqual(first.id);
  second.answer();
  expect(await asked).toEqual(['1']);
});

test.each([
  ['a refusal for good', refused('unknownKind')],
  ['a broken connection after it was begun', { outcome: 'lost' }],
  ["a proxy's own answer", { outcome: 'unknown', mayAsk: false }],
] as const)('after %s a message is not sent again', async (_, sent) => {
  const { queues, clock } = surroundings;
  const asked = queues.ask('1');
  (await surroundings.message(0)).end(sent);
  expect(await asked).toEqual([]);
  expect([clock.pending, surroundings.messages.length, surroundings.reports.length]).toEqual([0, 1, 1]);
});

test('a node that refuses for claimTimeout is given up, and one that has gone at once', async () => {
  const { queues, clock } = surroundings;
  const asked = queues.ask('1');
  for (let n = 0; n < TIME / 100; n += 1) {
    (await surroundings.message(n)).end(refused('unreachable'));
    await paused();
    clock.advance(100);
  }
  expect(await soon('the end', asked)).toEqual([]);
  const again = queues.ask('2');
  (await surroundings.message(TIME / 100)).end(refused('unreachable'));
  await paused();
  surroundings.leases = [];
  clock.advance(100);
  expect(await soon('the end', again)).toEqual([]);
});

test('while Redis does not answer, the nodes that were last read get the items', async () => {
  surroundings.redis = 'fails';
  const asked = surroundings.queues.ask('1');
  (await surroundings.message(0)).answer();
  expect(await asked).toEqual(['1']);
});

test('a node that does not answer delays no other node', async () => {
  surroundings.leases = [leaseOf('frozen'), leaseOf('b')];
  const { queues } = surroundings;
  void queues.ask('1');
  (await surroundings.message(1)).answer();
  void queues.ask('2');
  const second = await surroundings.message(2);
  expect([second.node.id, second.items]).toEqual(['b', ['2']]);
});

test('beyond 10,000 items that wait for a node, the oldest are given up', async () => {
  const { queues } = surroundings;
  const asked = Array.from({ length: 10_002 }, (_, n) => queues.ask(String(n)));
  expect(await soon('the oldest', asked[1]!)).toEqual([]);
  expect(surroundings.reports).toContain('Error: a node of the cluster has 10000 messages waiting');
});

test('a router that closes sends no more, and every promise settles', async () => {
  const { queues, lifecycle } = surroundings;
  const asked = [queues.ask('1')];
  const first = await surroundings.message(0);
  asked.push(queues.ask('2'));
  lifecycle.moveTo('draining');
  lifecycle.moveTo('closing');
  first.abort();
  expect(await soon('the ends', Promise.all(asked))).toEqual([[], []]);
  expect(await queues.ask('3')).toEqual([]);
  expect(surroundings.messages).toHaveLength(1);
});
