import { json } from 'node:stream/consumers';
import { Refusal } from '../../errors.js';
import type { Lease } from '../membership/lease.js';
import type { AnswerOf, HeadersOf, NodeKind, NodePort, NodeResponse, Sending } from './node-port.js';
import type { Peers } from '../membership/peers.js';

/** Another node gave no answer that can be used. */
export class NoAnswer extends Error {
  /** @param why - The rest of a sentence about the node, such as `does not answer`. */
  constructor(readonly why: string) {
    super(`a node of the cluster ${why}`);
  }
}

/**
 * The JSON answer of one node.
 *
 * @param time - How long the node may take to begin the request, in ms.
 * @throws Refusal `ownerUnreachable` when the node does not answer, or does not know the kind.
 */
export async function askNode<K extends NodeKind>(
  port: Pick<NodePort, 'request'>,
  node: Lease,
  kind: K,
  headers: HeadersOf<K>,
  time: number,
): Promise<AnswerOf<K>> {
  const sent = await port.request(node, kind, headers, undefined, { time }).sent;
  if (sent.outcome === 'answered') return readAnswer<K>(sent.response);
  const isOlder = sent.outcome === 'untaken' && sent.why === 'unknownKind';
  const why = isOlder ? `is of a version that does not know the request ${kind}` : 'does not answer';
  throw new Refusal('ownerUnreachable', { cause: new NoAnswer(why) });
}

export async function readAnswer<K extends NodeKind>(response: NodeResponse): Promise<AnswerOf<K>> {
  return (await json(response)) as AnswerOf<K>;
}

/** Aborts a request when its node dies. When a node did not answer, its lease is read again. */
export function watchNode(peers: Pick<Peers, 'watchEndOfMessages' | 'forget'>, node: Lease, sending: Sending): Sending {
  const unwatch = peers.watchEndOfMessages(node, () => sending.abort('gone'));
  void sending.closed.then(unwatch);
  void sending.sent.then(({ outcome }) => {
    if (outcome !== 'answered') peers.forget(node.id);
  });
  return sending;
}
