import type { ServerResponse } from 'node:http';
import type { JSONRPCNotification } from '../../protocol/messages.js';
import type { ForwardedRequest } from '../session/forwarding-port.js';

/** Takes an announcement of a server of a principal. */
export type TakeAnnouncement = (principal: string | undefined, notification: JSONRPCNotification) => void;

/** The other nodes of a cluster, as the endpoint of MCP 2026-07-28 sees them. */
export interface OtherNodes {
  /** The ID of this node's membership. */
  readonly nodeId: string;
  /** The key of the session IDs that handlers get: secret, and the same on all nodes. */
  readonly sessionKey: Buffer;
  /**
   * Forwards the retry of a call to the node where the call is suspended. Resolves to false when no node has that ID: then
   * nothing was answered.
   *
   * @param nodeId - Of the client's choice. Only a node that is a member of the cluster is reached by it.
   * @throws Refusal `ownerUnreachable`, `storeUnavailable`, `bodyTooLarge`.
   */
  forwardTo(nodeId: string, request: ForwardedRequest, res: ServerResponse): Promise<boolean>;
  /** Ends the subscriptions and calls of a principal on the other nodes. Rejects when one of them does not answer. */
  endPrincipal(principal: string): Promise<void>;
  /** Sends an announcement to every other node. */
  readonly announce: TakeAnnouncement;
}
