import type { ServerResponse } from 'node:http';
import type { ForwardedRequest } from '../../sessions/ownership.js';
import type { MessageId, Order } from '../envelope.js';
import type { NodeClient, Sending } from './node-client.js';
import type { Lease } from '../membership/lease.js';
import type { Peers } from '../membership/peers.js';

/** One request that is forwarded, across all tries. */
export interface Forwarding {
  readonly request: ForwardedRequest;
  readonly res: ServerResponse;
  /** The first try whose node may have begun the request without saying so. No other node may be tried from then on. */
  doubt: { readonly node: string; readonly id: MessageId } | undefined;
}

/** The optional parts of a message, beside its order. */
interface OrderParts {
  readonly body?: string | undefined;
  /** The reply to the client that waits for the answer. */
  readonly res?: ServerResponse;
  readonly repeats?: MessageId | undefined;
}

interface Senders {
  readonly peers: Peers;
  readonly nodeClient: Pick<NodeClient, 'send'>;
}

/** Sends an order. Abandons it when its node dies, or when the client hangs up. */
export function sendTo(
  { peers, nodeClient }: Senders,
  owner: Lease,
  order: Order,
  left: number,
  { body, res, repeats }: OrderParts = {},
): Sending {
  const exchange = nodeClient.send(owner, order, body, left, repeats);
  const unwatch = peers.watch(owner, () => exchange.abort('gone'));
  const abort = (): void => exchange.abort();
  res?.once('close', abort);
  // If the client disconnected during the lookup, `close` has already fired: abort now.
  if (res?.destroyed === true) abort();
  void exchange.closed.then(() => {
    unwatch();
    res?.off('close', abort);
  });
  return exchange;
}

/** The cause in the log, for the operator. */
export const UNSIGNED =
  'the node that owns the session does not know this one: is option cluster.secret the same on both?';
