import { Refusal } from '../../errors.js';
import { NONE, sum, type NotifiedNodes } from '../../notify/notify.js';
import type { Notice, Notified } from '../../notify/notification.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import type { MessageId } from '../membership/challenges.js';
import type { Lease } from '../membership/lease.js';
import { readAnswer } from '../port/ask-node.js';
import type { NodePort } from '../port/node-port.js';

/** Characters of one message to a node, unless a single notification has more. */
const MAX_MESSAGE = 64 * 1024;
/** Times that a message is sent whose outcome is unknown. The node carries it out at most once. */
const TRIES = 3;

/** A notification that waits for its turn. */
interface Waiting {
  readonly text: string;
  readonly done: (counts: Notified) => void;
}

export interface NotifiedNodesInit {
  readonly port: Pick<NodePort, 'request'>;
  /** The other nodes. None with `routing: 'migrate'`, as this node cannot reach them. */
  readonly others: () => Promise<Lease[]>;
  readonly lifecycle: Pick<Lifecycle, 'isClosing'>;
  readonly report: (what: string, error: unknown) => void;
  /** How long a node may take to begin a message, in ms. */
  readonly claimTimeout: number;
}

/**
 * Hands notifications to the other nodes. Each node gets them in their order: one message at a time, with all that waits for
 * it. So a node that does not answer delays no other node.
 */
export class NotifiedClusterNodes implements NotifiedNodes {
  readonly #init: NotifiedNodesInit;
  readonly #nodes = new Map<string, NodeQueue>();
  /** Those that wait for the list of nodes. */
  #waiting: { readonly text: string; readonly done: (counts: Promise<Notified>) => void }[] = [];
  #isReading = false;

  constructor(init: NotifiedNodesInit) {
    this.#init = init;
  }

  notify(notice: Notice): Promise<Notified> {
    if (this.#init.lifecycle.isClosing) return Promise.resolve(NONE);
    return new Promise<Notified>((done) => {
      this.#waiting.push({ text: JSON.stringify(notice), done });
      if (!this.#isReading) void this.#distribute();
    });
  }

  /** Reads the list of nodes for all that waits, until nothing waits. Never rejects. */
  async #distribute(): Promise<void> {
    this.#isReading = true;
    while (this.#waiting.length > 0) {
      const nodes = await this.#others();
      const notices = this.#waiting.splice(0);
      const queues = nodes.map((node) => this.#queueOf(node));
      for (const { text, done } of notices) {
        done(Promise.all(queues.map((queue) => queue.add(text))).then((counts) => counts.reduce(sum, NONE)));
      }
    }
    this.#isReading = false;
  }

  async #others(): Promise<Lease[]> {
    try {
      return await this.#init.others();
    } catch (error) {
      this.#init.report('a notification did not reach the other nodes', error);
      return [];
    }
  }

  #queueOf(node: Lease): NodeQueue {
    const found = this.#nodes.get(node.id);
    if (found !== undefined) return found;
    const queue = new NodeQueue(this.#init, node, () => this.#nodes.delete(node.id));
    this.#nodes.set(node.id, queue);
    return queue;
  }
}

/** The notifications for one node. */
class NodeQueue {
  readonly #init: NotifiedNodesInit;
  readonly #node: Lease;
  readonly #onEmpty: () => void;
  readonly #waiting: Waiting[] = [];
  #isBusy = false;

  constructor(init: NotifiedNodesInit, node: Lease, onEmpty: () => void) {
    this.#init = init;
    this.#node = node;
    this.#onEmpty = onEmpty;
  }

  /** Resolves to the counts of the node, or to zeros when it does not answer. Never rejects. */
  add(text: string): Promise<Notified> {
    return new Promise<Notified>((done) => {
      this.#waiting.push({ text, done });
      if (!this.#isBusy) void this.#send();
    });
  }

  async #send(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      const notices = this.#take();
      const answers = await this.#ask(notices.map(({ text }) => text)).catch((error: unknown) => {
        this.#init.report('a notification did not reach another node', error);
        return [];
      });
      for (const [i, { done }] of notices.entries()) done(answers[i] ?? NONE);
    }
    this.#isBusy = false;
    this.#onEmpty();
  }

  #take(): Waiting[] {
    let [length, count] = [0, 0];
    for (const { text } of this.#waiting) {
      length += text.length;
      if (length > MAX_MESSAGE && count > 0) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** @throws Refusal `ownerUnreachable` when the node does not answer, or does not take the message. */
  async #ask(texts: readonly string[]): Promise<readonly Notified[]> {
    const { port, claimTimeout: time } = this.#init;
    let repeats: MessageId | undefined;
    let why = 'does not answer';
    for (let tries = 0; tries < TRIES; tries += 1) {
      const sending = port.request(this.#node, 'notify', {}, `[${texts.join(',')}]`, { time, repeats });
      const sent = await sending.sent;
      if (sent.outcome === 'answered') return readAnswer<'notify'>(sent.response);
      if (sent.outcome === 'untaken') why = `did not take it (${sent.why})`;
      if (sent.outcome !== 'unknown' || !sent.mayAsk) break;
      repeats ??= sending.id;
    }
    throw new Refusal('ownerUnreachable', { cause: new Error(`a node of the cluster ${why}`) });
  }
}
