import type { ServerResponse } from 'node:http';
import { Refusal } from '../errors.js';
import type { HandedRequest } from '../sessions/elsewhere.js';
import type { Records } from '../sessions/records.js';
import type { Inbox, Letter } from './inbox.js';
import type { Lease } from './lease.js';
import type { ClusterNode } from './node.js';
import { orUnavailable } from './or-unavailable.js';
import type { Peers } from './peers.js';
import { accept } from './replies.js';

/** What became of a try; any but `done` is followed by another. `lost`: it may have been carried out all the same. */
export type Tried = 'done' | 'again' | 'unreachable' | 'lost';

export interface MigrationInit {
  readonly inbox: Inbox;
  readonly node: ClusterNode;
  readonly peers: Peers;
  readonly records: Records;
  readonly isLeaving: (sessionId: string) => boolean;
  /** In ms. */
  readonly claimTimeout: number;
}

/** Moves sessions to the node that is asked for them, where nodes cannot reach each other. */
export class Migration {
  readonly #init: MigrationInit;

  constructor(init: MigrationInit) {
    this.#init = init;
  }

  /** Does for a request what is to be done before another try. */
  move(owner: Lease, request: HandedRequest, res: ServerResponse, asked: Set<string>): Promise<Tried> {
    // Its client has hung up, and the session may stay where it is.
    if (res.destroyed) return Promise.resolve('done');
    return isSaidOnly(request) ? this.#tell(owner, request, res) : this.askFor(owner, request.sessionId, asked);
  }

  /** Has the owner let go of the session as soon as it can; each is asked once. */
  async askFor(owner: Lease, sessionId: string | undefined, asked: Set<string>): Promise<Tried> {
    const { inbox, claimTimeout } = this.#init;
    if (sessionId === undefined) throw new Refusal('draining');
    if (!asked.has(owner.id)) await orUnavailable(inbox.put(owner.id, { sessionId }, claimTimeout));
    asked.add(owner.id);
    return 'unreachable';
  }

  /** What came for a session that is not here: its owner is told; if that is this node, it gives up what it does not have. */
  async passOn(letter: Letter): Promise<void> {
    const { inbox, node, peers, records, isLeaving, claimTimeout } = this.#init;
    const { sessionId } = letter;
    const record = await records.find(sessionId);
    if (record === undefined || isLeaving(sessionId)) return;
    if (record.owner === node.tenure.id) return records.release(sessionId, record.epoch);
    const owner = record.owner === undefined ? undefined : await peers.find(record.owner);
    if (owner === undefined || letter.passedOn === true) return;
    await inbox.put(owner.id, { ...letter, passedOn: true }, claimTimeout);
  }

  async #tell(owner: Lease, { sessionId, principal, body }: HandedRequest, res: ServerResponse): Promise<Tried> {
    const { inbox, claimTimeout } = this.#init;
    if (sessionId === undefined) throw new Refusal('draining');
    await orUnavailable(inbox.put(owner.id, { sessionId, said: { principal, body } }, claimTimeout));
    accept(res);
    return 'done';
  }
}

/** Whether nobody waits for an answer to what it says. */
function isSaidOnly({ method, requestIds }: HandedRequest): boolean {
  return method === 'POST' && requestIds.length === 0;
}
