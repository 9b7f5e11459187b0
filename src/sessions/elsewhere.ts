import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { SessionInfo } from '../events.js';
import type { Principals } from './principals.js';

/** A node's membership of a cluster, from joining to leaving or being fenced; it has a node ID of its own. */
export interface Tenure {
  /** The node's ID, as it stands in the records of the sessions that it owns. */
  readonly id: string;
  /** Whether nobody else can own by now what this node does: else it may neither act nor speak for it. */
  readonly holds: boolean;
}

/** A request as one node hands it to another: who asks is proved already. */
export interface HandedRequest {
  readonly method: string;
  /** With the query, as the client sent it. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly principal: string | undefined;
  readonly auth: AuthInfo | undefined;
  /** Undefined for an `initialize`. */
  readonly sessionId: string | undefined;
  /** JSON text. */
  readonly body: string | undefined;
  /** The requests in it, each of which is owed an answer. */
  readonly requestIds: readonly RequestId[];
  /** Whether a node has handed it over already: it goes no further. */
  readonly forwarded: boolean;
}

/** The other nodes of a cluster, as a request's way sees them. */
export interface Elsewhere {
  readonly principals: Principals;
  /** @throws Refusal `storeUnavailable` while this node is no member. */
  checkMember(): Promise<void>;
  /**
   * Has the node that owns the session answer. Resolves to true when the answer is over (a standalone stream: when it has
   * begun); to false when no other node owns it, so that it is for this one to restore, or when there is no such session.
   *
   * @throws Refusal `ownerUnreachable`, `storeUnavailable`.
   * @throws NotHere when it was handed to this node, and is for another.
   */
  handOver(request: HandedRequest, res: ServerResponse): Promise<boolean>;
  /** The sessions of all other nodes. Rejects when one of them does not answer. */
  list(): Promise<SessionInfo[]>;
  /** Has the node that owns the session end it; undefined when no other node owns it. Rejects when that node does not answer. */
  close(sessionId: string): Promise<boolean | undefined>;
}

/** Told to the node that handed over a request: nothing was done with it, and it must look anew for the session's owner. */
export class NotHere extends Error {
  override readonly name = 'NotHere';
}
