import type { ServerResponse } from 'node:http';
import type { HandedRequest } from '../sessions/elsewhere.js';
import type { MessageId, Order } from './envelope.js';
import type { Forwarder, Sending } from './forwarder.js';
import type { Lease } from './lease.js';
import type { Peers } from './peers.js';

/** A request that is handed over, over all tries. */
export interface Handing {
  readonly request: HandedRequest;
  readonly res: ServerResponse;
  /** The first try that its node may have begun, and did not say so: no other node may be tried then. */
  doubt: { readonly node: string; readonly id: MessageId } | undefined;
}

/** What goes with an order. */
interface Parcel {
  readonly body?: string | undefined;
  /** Of the client that waits for the answer. */
  readonly res?: ServerResponse;
  readonly repeats?: MessageId | undefined;
}

interface Senders {
  readonly peers: Peers;
  readonly forwarder: Pick<Forwarder, 'send'>;
}

/** What is sent is given up when its node is gone, or when nobody waits for the answer. */
export function sendTo(
  { peers, forwarder }: Senders,
  owner: Lease,
  order: Order,
  left: number,
  { body, res, repeats }: Parcel = {},
): Sending {
  const exchange = forwarder.send(owner, order, body, left, repeats);
  const unwatch = peers.watch(owner, () => exchange.abort('gone'));
  const abort = (): void => exchange.abort();
  res?.once('close', abort);
  // Who hung up while the owner was looked for does so no more.
  if (res?.destroyed === true) abort();
  void exchange.closed.then(() => {
    unwatch();
    res?.off('close', abort);
  });
  return exchange;
}

/** What an operator is told. */
export const UNSIGNED =
  'the node that owns the session does not know this one: is option cluster.secret the same on both?';
