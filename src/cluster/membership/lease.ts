import type { ProcessProof } from './process-proof.js';

/** What a node says of itself in Redis, for as long as its lease lasts. */
export interface Lease {
  readonly id: string;
  /** Where its private listener is. */
  readonly host: string;
  readonly port: number;
  readonly proof: ProcessProof | undefined;
  /** What is sent to it must bear this, which it changes with each renewal: how old a message is needs no clock then. */
  readonly challenge: string;
  /** Whether it takes over nothing any more, and so nothing that is nobody's may be handed to it. */
  readonly leaving: boolean;
  /**
   * Whether this node's 102 Processing reached itself when it joined. False: a proxy drops 1xx responses. Undefined: a node of
   * an earlier version, which does not know messages that repeat others.
   */
  readonly informs?: boolean | undefined;
}

export const leaseKey = (prefix: string, id: string): string => `${prefix}node:${id}`;

/** The set of the IDs of all nodes that are, or lately were, members. */
export const nodesKey = (prefix: string): string => `${prefix}nodes`;

export function encodeLease(lease: Lease): string {
  return JSON.stringify(lease);
}

/** @throws Error for anything but a lease: then nothing is known of the node. */
export function decodeLease(text: string): Lease {
  const lease = JSON.parse(text) as Lease;
  if (typeof lease.host !== 'string' || typeof lease.port !== 'number' || typeof lease.challenge !== 'string') {
    throw new Error('what Redis holds is no lease of a node');
  }
  // Whoever writes to Redis may have written anything.
  const { proof } = lease as { proof?: { pid?: unknown } | null };
  if (proof === undefined || Number.isSafeInteger(proof?.pid)) return lease;
  throw new Error('what Redis holds is no proof of a process');
}
