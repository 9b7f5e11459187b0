import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { setImmediate as endOfTurn } from 'node:timers/promises';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { SessionInfo } from '../events.js';
import type { StoredRecord } from '../stores/session-store.js';
import type { PrincipalCounts } from './limits/principal-counts.js';

/** A node's membership of a cluster, from joining to leaving or being fenced; it has a node ID of its own. */
export interface Membership {
  /** The node's ID, as it stands in the records of the sessions that it owns. */
  readonly id: string;
  /** Whether nobody else can own by now what this node does: else it may neither act nor speak for it. */
  readonly isValid: boolean;
  /** Whether it may still take leave: nobody can own anything of it yet, though it acts no more. */
  readonly inGracePeriod: boolean;
}

/** A request as one node hands it to another: who asks is proved already. */
export interface ForwardedRequest {
  readonly method: string;
  /** With the query, as the client sent it. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** `http` or `https`: how the client reached the first node. */
  readonly protocol: string;
  readonly principal: string | undefined;
  readonly auth: AuthInfo | undefined;
  /** Undefined for an `initialize`. */
  readonly sessionId: string | undefined;
  /** As it was parsed; undefined where there is none. */
  readonly body: unknown;
  /** The requests in it, each of which is owed an answer. */
  readonly requestIds: readonly RequestId[];
  /** Whether a node has handed it over already: it goes no further. */
  readonly forwarded: boolean;
}

/**
 * A session that no other node owns; `record` is undefined when there is none of that ID. Whatever is done with it must be
 * done with this very record: of one that is read later nothing is known but that somebody may own it.
 */
export interface UnownedSession {
  readonly record: StoredRecord | undefined;
}

/** The other nodes of a cluster, as a request's way sees them. */
export interface ForwardingPort {
  readonly principals: PrincipalCounts;
  /** @throws Refusal `storeUnavailable` while this node is no member. */
  checkMember(): Promise<void>;
  /**
   * Has the node that owns the session answer. Resolves to undefined when the answer is over (a standalone stream: when it has
   * begun); else no other node owns the session.
   *
   * @throws Refusal `ownerUnreachable`, `storeUnavailable`.
   * @throws NotOwner when it was handed to this node, and is for another.
   */
  forward(request: ForwardedRequest, res: ServerResponse): Promise<UnownedSession | undefined>;
  /** This node failed to restore the session, and leaves it to other nodes for a while. */
  pauseRestoring(sessionId: string): void;
  /** The sessions of all other nodes. Rejects when one of them does not answer. */
  list(): Promise<SessionInfo[]>;
  /** Has the node that owns the session end it; true when it has ended since. Rejects when that node does not answer. */
  close(sessionId: string): Promise<UnownedSession | boolean>;
}

/** The session's owner has changed since it was looked up: another node claimed or ended the session, or this node gave it up. */
export class OwnershipChanged extends Error {
  override readonly name = 'OwnershipChanged';
}

/** Repeats the attempt as long as the session's owner changes meanwhile. */
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

/** Told to the node that handed over a request: nothing was done with it, and it must look anew for the session's owner. */
export class NotOwner extends Error {
  override readonly name = 'NotOwner';
}
