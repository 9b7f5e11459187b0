import type { Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import type { MessageId } from '../membership/challenges.js';
import type { Lease } from '../membership/lease.js';
import type { NodeResponse, RequestOptions, Sending } from './node-port.js';

/** Characters of one message to a node, unless a single item has more. */
const MAX_MESSAGE = 64 * 1024;

/** Items that wait for one node. Beyond it, the oldest are given up. */
const MAX_WAITING = 10_000;

/** Messages that one node has begun and not answered yet. */
const MAX_IN_FLIGHT = 8;

/** The pause before a message that a node has not begun is sent again, in ms. */
const PAUSE = 100;

/** Refusals that a later try would get again. */
const FINAL_REFUSALS = new Set(['unknownKind', 'tooLarge', 'unsigned']);

/** How a node reaches the others. */
export interface Reach {
  /** The other nodes, with their newest leases. */
  readonly others: () => Promise<Lease[]>;
  /** The other nodes as they were last read, for when they cannot be read now. */
  readonly lastKnown: () => readonly Lease[];
  /** The newest lease of a node. Nothing can be sent to a node that has none. */
  readonly find: (id: string) => Promise<Lease | 'missing' | undefined>;
  readonly clock: Clock;
  /** How long a node may take to answer, in ms. */
  readonly claimTimeout: number;
}

export interface NodeQueuesInit<Answer> extends Reach {
  /**
   * Sends a message to a node.
   *
   * @param body - The items, as a JSON array.
   */
  readonly send: (node: Lease, body: string, options: RequestOptions) => Sending;
  /** The answers to the items of a message, in their order. */
  readonly read: (response: NodeResponse) => Promise<readonly Answer[]>;
  readonly report: (error: unknown) => void;
  readonly lifecycle: Pick<Lifecycle, 'isClosing'>;
}

/**
 * Hands items of JSON to all other nodes. Each node gets them in their order: the next message goes out once the node has begun the
 * one before, with all that waits for the node. So a node that is slow or frozen delays no other node.
 */
export class NodeQueues<Answer> {
  readonly #init: NodeQueuesInit<Answer>;
  readonly #queues = new Map<string, NodeQueue<Answer>>();
  /** Items that wait for the list of nodes. */
  #waiting: { readonly item: string; readonly done: (answers: Promise<Answer[]>) => void }[] = [];
  #isReading = false;

  constructor(init: NodeQueuesInit<Answer>) {
    this.#init = init;
  }

  /** Resolves to the answers of the nodes that answered. Never rejects. */
  ask(item: string): Promise<Answer[]> {
    if (this.#init.lifecycle.isClosing) return Promise.resolve([]);
    return new Promise<Answer[]>((done) => {
      this.#waiting.push({ item, done });
      if (!this.#isReading) void this.#distribute();
    });
  }

  /** Reads the list of nodes for all items that wait, until none waits. Never rejects. */
  async #distribute(): Promise<void> {
    this.#isReading = true;
    while (this.#waiting.length > 0) {
      const nodes = await this.#init.others().catch(() => this.#init.lastKnown());
      const items = this.#waiting.splice(0);
      const queues = nodes.map((node) => this.#queueOf(node));
      for (const { item, done } of items) {
        const answers = Promise.all(queues.map((queue) => queue.add(item)));
        done(answers.then((all) => all.filter((answer) => answer !== undefined)));
      }
    }
    this.#isReading = false;
  }

  #queueOf(node: Lease): NodeQueue<Answer> {
    const queue = this.#queues.get(node.id) ?? new NodeQueue(this.#init, node, () => this.#queues.delete(node.id));
    queue.renew(node);
    this.#queues.set(node.id, queue);
    return queue;
  }
}

/** An item that waits for its turn. */
interface Waiting<Answer> {
  readonly item: string;
  readonly done: (answer: Answer | undefined) => void;
}

/** The items for one node. */
class NodeQueue<Answer> {
  readonly #init: NodeQueuesInit<Answer>;
  readonly #onEmpty: () => void;
  readonly #waiting: Waiting<Answer>[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #node: Lease;
  #isBusy = false;

  constructor(init: NodeQueuesInit<Answer>, node: Lease, onEmpty: () => void) {
    this.#init = init;
    this.#node = node;
    this.#onEmpty = onEmpty;
  }

  /** The node takes only messages with one of its latest challenges, which its lease has. */
  renew(node: Lease): void {
    this.#node = node;
  }

  /** Resolves to the answer of the node. Undefined when it does not answer. Never rejects. */
  add(item: string): Promise<Answer | undefined> {
    return new Promise((done) => {
      this.#waiting.push({ item, done });
      if (this.#waiting.length > MAX_WAITING) {
        this.#fail(this.#waiting.splice(0, 1), `has ${MAX_WAITING} messages waiting`);
      }
      if (!this.#isBusy) void this.#send();
    });
  }

  async #send(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      if (this.#inFlight.size >= MAX_IN_FLIGHT) await Promise.race(this.#inFlight);
      await this.#deliver(this.#take());
    }
    this.#isBusy = false;
    this.#onEmpty();
  }

  #take(): Waiting<Answer>[] {
    let [length, count] = [0, 0];
    for (const { item } of this.#waiting) {
      length += item.length;
      if (length > MAX_MESSAGE && count > 0) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Sends one message until the node has begun it, and at most once. Resolves before the answer arrives. Never rejects. */
  async #deliver(items: readonly Waiting<Answer>[]): Promise<void> {
    const { clock, claimTimeout, send } = this.#init;
    const deadline = clock.now() + claimTimeout;
    const body = `[${items.map(({ item }) => item).join(',')}]`;
    let repeats: MessageId | undefined;
    let why = 'does not answer';
    for (;;) {
      const node = await this.#reachable();
      const time = deadline - clock.now();
      if (node === undefined || time <= 0) break;
      const sending = this.#limited(send(node, body, { time, repeats }), time);
      if (await sending.begun) return this.#await(sending, items);
      const sent = await sending.sent;
      if (sent.outcome === 'answered') return this.#await(sending, items);
      if (sent.outcome === 'untaken') why = `did not take it (${sent.why})`;
      if (sent.outcome === 'untaken' ? FINAL_REFUSALS.has(sent.why) : sent.outcome === 'lost' || !sent.mayAsk) break;
      if (sent.outcome === 'unknown') repeats ??= sending.id;
      await new Promise<void>((resolve) => clock.setTimeout(resolve, PAUSE));
    }
    this.#fail(items, why);
  }

  async #reachable(): Promise<Lease | undefined> {
    if (this.#init.lifecycle.isClosing) return undefined;
    try {
      const found = await this.#init.find(this.#node.id);
      if (found === undefined || found === 'missing') return undefined;
      this.#node = found;
      return found;
    } catch {
      // Redis does not answer. The node may be alive, and its last lease valid.
      return this.#node;
    }
  }

  #limited(sending: Sending, time: number): Sending {
    const timer = this.#init.clock.setTimeout(() => sending.abort(), time);
    void sending.closed.then(() => this.#init.clock.clearTimeout(timer));
    return sending;
  }

  #await(sending: Sending, items: readonly Waiting<Answer>[]): void {
    const answered = this.#answers(sending).then(
      (answers) => items.forEach(({ done }, i) => done(answers[i])),
      () => this.#fail(items, 'does not answer'),
    );
    this.#inFlight.add(answered);
    void answered.then(() => this.#inFlight.delete(answered));
  }

  async #answers(sending: Sending): Promise<readonly Answer[]> {
    const sent = await sending.sent;
    if (sent.outcome !== 'answered') throw new Error(sent.outcome);
    return this.#init.read(sent.response);
  }

  #fail(items: readonly Waiting<Answer>[], why: string): void {
    if (!this.#init.lifecycle.isClosing) this.#init.report(new Error(`a node of the cluster ${why}`));
    for (const { done } of items) done(undefined);
  }
}
