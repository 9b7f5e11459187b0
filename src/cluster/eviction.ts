import { orStoreUnavailable } from '../errors.js';
import type { PrincipalCounts } from '../sessions/limits/principal-counts.js';
import type { Membership } from '../sessions/ownership.js';
import { nodeOf, type RecordStore } from '../sessions/records/record-store.js';
import type { LocalSessions } from './local-sessions.js';
import type { Lease } from './membership/lease.js';
import type { Peers } from './membership/peers.js';
import { askNode } from './port/ask-node.js';
import type { NodePort } from './port/node-port.js';

export interface EvictionInit {
  readonly membership: () => Membership;
  readonly peers: Pick<Peers, 'find'>;
  readonly port: NodePort;
  readonly records: RecordStore;
  readonly principals: () => Pick<PrincipalCounts, 'longUnused' | 'leave'>;
  readonly local: () => Pick<LocalSessions, 'longestOrphaned' | 'evict'>;
  /** How long another node may take to begin an eviction, in ms. */
  readonly claimTimeout: number;
}

/** Ends a session of a principal that has reached its cap, on any node of the cluster. */
export class Eviction {
  readonly #init: EvictionInit;

  constructor(init: EvictionInit) {
    this.#init = init;
    init.port.handle('orphaned', ({ headers }) => init.local().longestOrphaned(headers.principal));
    init.port.handle('evict', ({ headers }) => init.local().evict(headers.principal));
  }

  /**
   * Ends the session of the principal that was orphaned for the longest on any node. If none is orphaned, removes a session
   * that no live node owns and that cannot have been in use lately. False when there is neither.
   */
  async evict(principal: string): Promise<boolean> {
    const { port, claimTimeout } = this.#init;
    const local = this.#init.local();
    let owner: Lease | undefined;
    let longest = local.longestOrphaned(principal);
    for (const { node, result } of await port.broadcast('orphaned', { principal })) {
      // A node that does not answer must not prevent the eviction on another node.
      if (result.status === 'rejected' || result.value <= longest) continue;
      [owner, longest] = [node, result.value];
    }
    if (owner !== undefined) return askNode(port, owner, 'evict', { principal }, claimTimeout);
    if (longest >= 0) return local.evict(principal);
    return this.#evictUnowned(principal);
  }

  async #evictUnowned(principal: string): Promise<boolean> {
    const principals = this.#init.principals();
    for (const sessionId of await principals.longUnused(principal)) {
      if (!(await this.#removeUnowned(sessionId))) continue;
      await principals.leave(principal, sessionId);
      return true;
    }
    return false;
  }

  /** Removes the record of a session, unless a live node owns it. */
  async #removeUnowned(sessionId: string): Promise<boolean> {
    const { membership, peers, records } = this.#init;
    const record = await records.find(sessionId);
    if (record === undefined) return true;
    const owner = nodeOf(record.owner);
    if (owner === membership().id) return false;
    // A node without a known address may be alive.
    if (owner !== undefined && (await orStoreUnavailable(peers.find(owner))) !== undefined) return false;
    return records.destroy(sessionId, record);
  }
}
