import type { ServerResponse } from 'node:http';
import type { Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import { orStoreUnavailable, Refusal } from '../../errors.js';
import type { ForwardedRequest } from '../../endpoint/session/forwarding-port.js';
import { nodeOf, type RecordStore } from '../../sessions/records/record-store.js';
import type { Mailbox, Message } from './mailbox.js';
import type { Lease } from '../membership/lease.js';
import type { NodeMembership } from '../membership/membership.js';
import type { Peers } from '../membership/peers.js';
import { accept, requestIdsOf } from '../outcome-unknown.js';

/** The outcome of a try. Another one follows unless it is `done`. After `unreachable`, it first waits for the owner's end. */
export type Tried = 'done' | 'again' | 'unreachable';

export interface MigrationInit {
  readonly mailbox: Mailbox;
  readonly node: NodeMembership;
  readonly peers: Peers;
  readonly records: RecordStore;
  readonly isMoving: (sessionId: string) => boolean;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  /** In ms. */
  readonly claimTimeout: number;
}

/** The interval at which an owner is asked again, in ms. It may have claimed the session again, or lost the message. */
const ASK_AGAIN = 500;

/** Moves a session to the node that got a request for it, when nodes cannot reach each other. */
export class Migration {
  readonly #init: MigrationInit;
  /** Messages that were sent recently, each with its node. Concurrent requests share one message. */
  readonly #asked = new Set<string>();

  constructor(init: MigrationInit) {
    this.#init = init;
  }

  /** Asks the owner for the action that a request needs. The record shows the result later. */
  async move(owner: Lease, request: ForwardedRequest, res: ServerResponse): Promise<Tried> {
    const { method, sessionId, principal, post } = request;
    // The client has disconnected, so the session need not move.
    if (res.destroyed) return 'done';
    if (sessionId === undefined) throw new Refusal('draining');
    const by = { principal };
    if (method === 'DELETE') return this.#ask(owner, { sessionId, action: 'end', by });
    if (method === 'POST' && requestIdsOf(request).length === 0) {
      await this.#pass(owner, { sessionId, action: 'take', by, body: post?.messages });
      accept(res);
      return 'done';
    }
    // No session is moved to a node that drains.
    if (this.#init.lifecycle.isDraining) throw new Refusal('draining');
    return this.#ask(owner, { sessionId, action: 'handOff', by });
  }

  /** Asks the owner to end the session, for the app. */
  end(owner: Lease, sessionId: string): Promise<Tried> {
    return this.#ask(owner, { sessionId, action: 'end', by: 'app' });
  }

  /**
   * Handles a message for a session that is not open on this node. If the record names this node, the record is released.
   * Otherwise a client's message is passed on to the owner, as the client does not repeat it. The sender repeats other messages.
   */
  async passOn(message: Message): Promise<void> {
    const { node, peers, records, isMoving } = this.#init;
    const { sessionId } = message;
    const record = await records.find(sessionId);
    if (record === undefined || isMoving(sessionId)) return;
    const ownerId = nodeOf(record.owner);
    if (ownerId === node.membership.id) return records.release(sessionId, record);
    if (message.action !== 'take' || message.passedOn === true || ownerId === undefined) return;
    const owner = await peers.find(ownerId);
    if (owner === undefined || owner === 'missing') return;
    await this.#pass(owner, { ...message, passedOn: true });
  }

  /** Sends a message that has no answer: its effect shows in the record. */
  async #ask(owner: Lease, message: Message): Promise<Tried> {
    const asked = JSON.stringify([owner.id, message]);
    if (!this.#asked.has(asked)) {
      this.#asked.add(asked);
      this.#init.clock.setTimeout(() => this.#asked.delete(asked), ASK_AGAIN);
      // If the mailbox is full, the owner is asked again later.
      await this.#put(owner, message);
    }
    return message.action === 'end' ? 'again' : 'unreachable';
  }

  /**
   * Sends the responses and notifications of a client.
   *
   * @throws Refusal `ownerUnreachable` when the mailbox of the owner is full.
   */
  async #pass(owner: Lease, message: Message): Promise<void> {
    if (await this.#put(owner, message)) return;
    throw new Refusal('ownerUnreachable', { cause: new Error(`the mailbox of node ${owner.id} is full`) });
  }

  /** Resolves to whether the mailbox of the owner had room. */
  #put(owner: Lease, message: Message): Promise<boolean> {
    const { mailbox, claimTimeout } = this.#init;
    return orStoreUnavailable(mailbox.put(owner.id, message, claimTimeout));
  }
}
