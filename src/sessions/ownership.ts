import { setImmediate as endOfTurn } from 'node:timers/promises';
import type { SessionInfo } from '../events.js';
import type { StoredRecord } from '../stores/session-store.js';

/** A node's membership of a cluster, from joining to leaving or being fenced. Each membership has its own node ID. */
export interface Membership {
  /** The node's ID, as it stands in the records of the sessions that it owns. */
  readonly id: string;
  /** False when another node may own the sessions of this membership. This node may then neither run nor answer anything in them. */
  readonly isValid: boolean;
  /** True after the fence until the lease may have expired: this node runs nothing, but may still send a final error. */
  readonly inGracePeriod: boolean;
}

/**
 * A session that no other node owns. `record` is undefined when there is no session of that ID. Every change must compare
 * with this record, because another node may claim the session at any time.
 */
export interface UnownedSession {
  readonly record: StoredRecord | undefined;
}

/** The sessions on the other nodes of a cluster. */
export interface OtherNodes {
  /** The sessions of all other nodes. Rejects when one of them does not answer. */
  list(): Promise<SessionInfo[]>;
  /**
   * Makes the node that owns the session end it. Resolves to whether that node ended a session, or to the session when no other
   * node owns it. Rejects when the owner does not answer.
   */
  close(sessionId: string): Promise<UnownedSession | boolean>;
  /** The IDs of a principal's sessions on all nodes, and of those that are only stored. */
  sessionsOf(principal: string): Promise<string[]>;
}

/** The session's owner has changed since it was looked up: another node claimed or ended it, or this node released it. */
export class OwnershipChanged extends Error {
  override readonly name = 'OwnershipChanged';
}

/** Repeats the attempt as long as it rejects because the session's owner has changed. */
export async function retryOnOwnershipChange<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof OwnershipChanged)) throw error;
    }
    // Yield before each retry, so that other leases of the session can be released.
    await endOfTurn();
  }
}

/** Another node owns the session of a forwarded request. Nothing was done, and the sender must look for the owner again. */
export class NotOwner extends Error {
  override readonly name = 'NotOwner';
}
