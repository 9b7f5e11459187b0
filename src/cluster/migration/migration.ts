import type { ServerResponse } from 'node:http';
import type { Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import { Refusal } from '../../errors.js';
import type { ForwardedRequest } from '../../endpoint/session/forwarding-port.js';
import type { RecordStore } from '../../sessions/records/record-store.js';
import type { Mailbox, Message } from './mailbox.js';
import type { Lease } from '../membership/lease.js';
import type { NodeMembership } from '../membership/membership.js';
import { orStoreUnavailable } from '../or-unavailable.js';
import type { Peers } from '../membership/peers.js';
import { accept } from '../outcome-unknown.js';

/** What became of a try; any but `done` is followed by another, which `unreachable` puts off until the owner is gone. */
export type Tried = 'done' | 'again' | 'unreachable';

export interface MigrationInit {
  readonly mailbox: Mailbox;
  readonly node: NodeMembership;
  readonly peers: Peers;
  readonly records: RecordStore;
  readonly isLeaving: (sessionId: string) => boolean;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  /** In ms. */
  readonly claimTimeout: number;
}

/** How soon an owner that was asked is asked again, in ms: it may have got the session back, or have died with the message. */
const ASK_AGAIN = 500;

/** Moves sessions to the node that is asked for them, where nodes cannot reach each other. */
export class Migration {
  readonly #init: MigrationInit;
  /** What was asked lately, and of whom, for all requests that wait for it. */
  readonly #asked = new Set<string>();

  constructor(init: MigrationInit) {
    this.#init = init;
  }

  /** Does for a request what is to be done before another try. */
  async move(owner: Lease, request: ForwardedRequest, res: ServerResponse): Promise<Tried> {
    const { method, sessionId, principal, requestIds, body } = request;
    // Its client has hung up, and the session may stay where it is.
    if (res.destroyed) return 'done';
    if (sessionId === undefined) throw new Refusal('draining');
    const by = { principal };
    if (method === 'DELETE') return this.#ask(owner, { sessionId, action: 'end', by });
    if (method === 'POST' && requestIds.length === 0) {
      await this.#put(owner, { sessionId, action: 'take', by, body });
      accept(res);
      return 'done';
    }
    // No session is moved to a node that drains.
    if (this.#init.lifecycle.isDraining) throw new Refusal('draining');
    return this.#ask(owner, { sessionId, action: 'handOff', by });
  }

  /** Has the owner end the session, for the app. */
  end(owner: Lease, sessionId: string): Promise<Tried> {
    return this.#ask(owner, { sessionId, action: 'end', by: 'app' });
  }

  /**
   * What came for a session that is not here. If this node owns it, it gives up what it does not have; else its owner is told what
   * the client said, which nobody says again. Whoever wants something done asks again.
   */
  async passOn(message: Message): Promise<void> {
    const { node, peers, records, isLeaving } = this.#init;
    const { sessionId } = message;
    const record = await records.find(sessionId);
    if (record === undefined || isLeaving(sessionId)) return;
    if (record.owner === node.membership.id) return records.release(sessionId, record.epoch);
    if (message.action !== 'take' || message.passedOn === true || record.owner === undefined) return;
    const owner = await peers.find(record.owner);
    if (owner === undefined) return;
    await this.#put(owner, { ...message, passedOn: true });
  }

  /** Nothing tells when it is done but the record. */
  async #ask(owner: Lease, message: Message): Promise<Tried> {
    const asked = JSON.stringify([owner.id, message]);
    if (!this.#asked.has(asked)) {
      this.#asked.add(asked);
      this.#init.clock.setTimeout(() => this.#asked.delete(asked), ASK_AGAIN);
      await this.#put(owner, message);
    }
    return message.action === 'end' ? 'again' : 'unreachable';
  }

  async #put(owner: Lease, message: Message): Promise<void> {
    const { mailbox, claimTimeout } = this.#init;
    await orStoreUnavailable(mailbox.put(owner.id, message, claimTimeout));
  }
}
