import { randomBytes } from 'node:crypto';

/**
 * How many challenges back a message may be: a sender may hold a lease for the time between two renewals, and one that is
 * being published may be known to others before the node learns that it is.
 */
const KEPT = 4;

/** Identifies a message, against replays: a challenge of the receiving node, and a nonce. */
export interface MessageId {
  readonly challenge: string;
  readonly nonce: string;
}

/** What a node asks to find in whatever is sent to it, and what it has found already. */
export class Challenges {
  /** Oldest first; each with the nonces that came with it. */
  readonly #kept = new Map<string, Set<string>>();

  /** A new one; the oldest is forgotten, with all that was sent under it. */
  next(): string {
    const challenge = randomBytes(16).toString('base64url');
    this.#kept.set(challenge, new Set());
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return challenge;
  }

  /** `stale`: the challenge is not one of the latest. `replayed`: the same message arrived before. */
  check({ challenge, nonce }: MessageId): 'fresh' | 'stale' | 'replayed' {
    const nonces = this.#kept.get(challenge);
    if (nonces === undefined) return 'stale';
    if (nonces.has(nonce)) return 'replayed';
    nonces.add(nonce);
    return 'fresh';
  }
}
