import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { UnownedSession } from '../../sessions/ownership.js';

/** A client's request as one node forwards it to another. The first node has authenticated the client. */
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
  /** The parsed body. Undefined where there is none. */
  readonly body: unknown;
  /** The IDs of the JSON-RPC requests in the body. */
  readonly requestIds: readonly RequestId[];
  /** Whether a node has forwarded it already. It is then not forwarded again. */
  readonly forwarded: boolean;
}

/** Has other nodes of the cluster answer requests for their sessions. */
export interface ForwardingPort {
  /** @throws Refusal `storeUnavailable` while this node is no member. */
  checkMember(): Promise<void>;
  /**
   * Has the node that owns the session answer. Resolves to undefined when the answer is over (a standalone stream: when it has
   * begun), and to the session when no other node owns it.
   *
   * @throws Refusal `ownerUnreachable`, `storeUnavailable`.
   * @throws NotOwner when the request was forwarded to this node, and another node owns the session.
   */
  forward(request: ForwardedRequest, res: ServerResponse): Promise<UnownedSession | undefined>;
}
