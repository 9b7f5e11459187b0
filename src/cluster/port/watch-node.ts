import type { Lease } from '../membership/lease.js';
import type { Peers } from '../membership/peers.js';
import type { Sending } from './node-port.js';

/** Abandons a request when its node dies, and has the lease of a node that did not answer read anew. */
export function watchNode(peers: Pick<Peers, 'watch' | 'forget'>, node: Lease, sending: Sending): Sending {
  const unwatch = peers.watch(node, () => sending.abort('gone'));
  void sending.closed.then(unwatch);
  void sending.sent.then(({ outcome }) => {
    if (outcome !== 'answered') peers.forget(node.id);
  });
  return sending;
}
