import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AuthInfo } from '../../protocol/wire-transport.js';
import type { Post } from '../../http/receive.js';
import type { HopTrace } from '../../options/telemetry.js';
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
  /** Undefined for a GET and a DELETE, which have no body. */
  readonly post: Post | undefined;
  /** Undefined without telemetry. */
  readonly hop?: HopTrace | undefined;
  /** Whether a node has forwarded it already. It is then not forwarded again. */
  readonly forwarded: boolean;
}

/** Makes other nodes of the cluster answer requests for their sessions. */
export interface ForwardingPort {
  /** Called for each request. Rejects with Refusal `storeUnavailable` while this node is no member. */
  checkMember(): Promise<void>;
  /**
   * Milliseconds until the load balancer counts as aware that this node drains. It does when this node got no request for a
   * while. 0 or less when that time is over.
   */
  untilQuiet(): number;
  /**
   * Makes the node that owns the session answer. Resolves to undefined when the answer is over, or when a standalone stream has
   * begun. Resolves to the session when no other node owns it.
   *
   * @throws Refusal `ownerUnreachable` when the owner does not answer; `storeUnavailable` when Redis does not answer.
   * @throws NotOwner when the request was forwarded to this node, and another node owns the session.
   */
  forward(request: ForwardedRequest, res: ServerResponse): Promise<UnownedSession | undefined>;
}
