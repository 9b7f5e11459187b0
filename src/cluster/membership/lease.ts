import type { ProcessProof } from './process-proof.js';

/** The data that a node publishes about itself in Redis while its lease lasts. */
export interface Lease {
  readonly id: string;
  /** The address of its private listener. */
  readonly host: string;
  readonly port: number;
  readonly proof: ProcessProof | undefined;
  /** Each message to the node must contain it. It changes with each renewal, so that the age of a message needs no clock. */
  readonly challenge: string;
  /** Whether the node is draining. A draining node claims no session, so no unowned session may be forwarded to it. */
  readonly leaving: boolean;
  /**
   * Whether this node got its own 102 Processing when it joined. False when a proxy drops 1xx responses. Undefined for a node of
   * an earlier version, which does not know messages that repeat others.
   */
  readonly informs?: boolean | undefined;
}

export const leaseKey = (prefix: string, id: string): string => `${prefix}node:${id}`;

/** The set of the IDs of all nodes that are members, or were members recently. */
export const nodesKey = (prefix: string): string => `${prefix}nodes`;

export function encodeLease(lease: Lease): string {
  return JSON.stringify(lease);
}

/** @throws Error when the text is not a lease. The node may be alive even then. */
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
