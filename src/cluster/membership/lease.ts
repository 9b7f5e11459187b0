import type { ProcessProof } from './process-proof.js';

/** What a node publishes about itself in Redis, for as long as its lease lasts. */
export interface Lease {
  readonly id: string;
  /** The address of its private listener. */
  readonly host: string;
  readonly port: number;
  readonly proof: ProcessProof | undefined;
  /** Each message to the node must bear this. It changes with each renewal, so that the age of a message needs no clock. */
  readonly challenge: string;
  /** Whether the node is draining. It claims no session then, so no unowned session may be forwarded to it. */
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

/** @throws Error when the text is not a lease. Nothing is known of the node then. */
export function decodeLease(text: string): Lease {
  const lease = JSON.parse(text) as Lease;
  if (typeof lease.host !== 'string' || typeof lease.port !== 'number' || typeof lease.challenge !== 'string') {
    throw new Error('what Redis holds is no lease of a node');
  }
  // Another program may have written anything to Redis.
  const { proof } = lease as { proof?: { pid?: unknown } | null };
  if (proof === undefined || Number.isSafeInteger(proof?.pid)) return lease;
  throw new Error('what Redis holds is no proof of a process');
}
