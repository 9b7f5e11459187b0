import type { ServerResponse } from 'node:http';
import type { Clock } from '../clock.js';
import { Refusal } from '../errors.js';
import type { HandedRequest } from '../sessions/elsewhere.js';
import type { Records } from '../sessions/records.js';
import type { Inbox, Letter } from './inbox.js';
import type { Lease } from './lease.js';
import type { ClusterNode } from './node.js';
import { orUnavailable } from './or-unavailable.js';
import type { Peers } from './peers.js';
import { accept } from './replies.js';

/** What became of a try; any but `done` is followed by another, which `unreachable` puts off until the owner is gone. */
export type Tried = 'done' | 'again' | 'unreachable';

export interface MigrationInit {
  readonly inbox: Inbox;
  readonly node: ClusterNode;
  readonly peers: Peers;
  readonly records: Records;
  readonly isLeaving: (sessionId: string) => boolean;
  readonly clock: Clock;
  /** In ms. */
  readonly claimTimeout: number;
}

/** How soon an owner that was asked is asked again, in ms: it may have got the session back, or have died with the letter. */
const ASK_AGAIN = 500;

/** Moves sessions to the node that is asked for them, where nodes cannot reach each other. */
export class Migration {
  readonly #init: MigrationInit;
  /** What was asked lately, and of whom, for all requests that wait for it. */
  readonly #asked = new Set<string>();
  #draining = false;

  constructor(init: MigrationInit) {
    this.#init = init;
  }

  /** From now on no session is moved here. */
  drain(): void {
    this.#draining = true;
  }

  /** Does for a request what is to be done before another try. */
  async move(owner: Lease, request: HandedRequest, res: ServerResponse): Promise<Tried> {
    const { method, sessionId, principal, requestIds, body } = request;
    // Its client has hung up, and the session may stay where it is.
    if (res.destroyed) return 'done';
    if (sessionId === undefined) throw new Refusal('draining');
    const by = { principal };
    if (method === 'DELETE') return this.#ask(owner, { sessionId, wish: 'end', by });
    if (method === 'POST' && requestIds.length === 0) {
      await this.#put(owner, { sessionId, wish: 'take', by, body });
      accept(res);
      return 'done';
    }
    if (this.#draining) throw new Refusal('draining');
    return this.#ask(owner, { sessionId, wish: 'letGo', by });
  }

  /** Has the owner end the session, for the app. */
  end(owner: Lease, sessionId: string): Promise<Tried> {
    return this.#ask(owner, { sessionId, wish: 'end', by: 'app' });
  }

  /**
   * What came for a session that is not here. If this node owns it, it gives up what it does not have; else its owner is told what
   * the client said, which nobody says again. Whoever wants something done asks again.
   */
  async passOn(letter: Letter): Promise<void> {
    const { node, peers, records, isLeaving } = this.#init;
    const { sessionId } = letter;
    const record = await records.find(sessionId);
    if (record === undefined || isLeaving(sessionId)) return;
    if (record.owner === node.tenure.id) return records.release(sessionId, record.epoch);
    if (letter.wish !== 'take' || letter.passedOn === true || record.owner === undefined) return;
    const owner = await peers.find(record.owner);
    if (owner === undefined) return;
    await this.#put(owner, { ...letter, passedOn: true });
  }

  /** Nothing tells when it is done but the record. */
  async #ask(owner: Lease, letter: Letter): Promise<Tried> {
    const asked = JSON.stringify([owner.id, letter]);
    if (!this.#asked.has(asked)) {
      this.#asked.add(asked);
      this.#init.clock.setTimeout(() => this.#asked.delete(asked), ASK_AGAIN);
      await this.#put(owner, letter);
    }
    return letter.wish === 'end' ? 'again' : 'unreachable';
  }

  async #put(owner: Lease, letter: Letter): Promise<void> {
    const { inbox, claimTimeout } = this.#init;
    await orUnavailable(inbox.put(owner.id, letter, claimTimeout));
  }
}
