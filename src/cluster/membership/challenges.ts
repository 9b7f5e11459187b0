import { randomBytes } from 'node:crypto';

/**
 * The number of challenges that are valid at the same time. A sender may use a lease until the next renewal. And other nodes may
 * read a new challenge before its own node knows that it is published.
 */
const MAX_VALID = 4;

/** Identifies a message, against replays: a challenge of the receiving node, and a nonce. */
export interface MessageId {
  readonly challenge: string;
  readonly nonce: string;
}

/** The challenges that a node expects in messages, and the nonces that have arrived with each. */
export class Challenges {
  /** Oldest first, each with the nonces that arrived with it. */
  readonly #valid = new Map<string, Set<string>>();

  /** A new challenge. The oldest is dropped, so messages with it are refused from now on. */
  next(): string {
    const challenge = randomBytes(16).toString('base64url');
    this.#valid.set(challenge, new Set());
    const [oldest] = this.#valid.keys();
    if (this.#valid.size > MAX_VALID && oldest !== undefined) this.#valid.delete(oldest);
    return challenge;
  }

  /** `stale`: the challenge is not one of the latest. `replayed`: the same message arrived before. */
  check({ challenge, nonce }: MessageId): 'fresh' | 'stale' | 'replayed' {
    const nonces = this.#valid.get(challenge);
    if (nonces === undefined) return 'stale';
    if (nonces.has(nonce)) return 'replayed';
    nonces.add(nonce);
    return 'fresh';
  }
}
