import { Refusal } from '../errors.js';
import type { ResolvedOptions } from '../options.js';
import type { Reaper } from './reaper.js';
import type { SessionIndex } from './session-index.js';
import type { Session } from './session.js';
import { Slot } from './slot.js';

type Limits = Pick<ResolvedOptions, 'maxSessions' | 'maxSessionsPerPrincipal' | 'maxAnonymousSessions'>;

/** How many sessions there may be, and which session is evicted when there is no room for another. */
export class Caps {
  readonly #limits: Limits;
  readonly #sessions: SessionIndex;
  readonly #reaper: Reaper;
  readonly #evict: (session: Session) => void;
  readonly #takenBy = new Map<string | undefined, number>();
  #taken = 0;

  constructor(limits: Limits, sessions: SessionIndex, reaper: Reaper, evict: (session: Session) => void) {
    this.#limits = limits;
    this.#sessions = sessions;
    this.#reaper = reaper;
    this.#evict = evict;
  }

  /** Whether a named principal's new session could only be had by evicting one, and none can be evicted. */
  get full(): boolean {
    return !this.#isBelowTotal() && this.#reaper.longestOrphaned() === undefined;
  }

  /** Whether a session could be opened without an eviction. */
  hasRoom(principal: string | undefined): boolean {
    return this.#isBelowTotal() && this.#isBelowShare(principal);
  }

  /** The principal's session that would be evicted first. */
  longestOrphanedOf(principal: string): Session | undefined {
    return this.#sessions.longestOrphanedOf(principal);
  }

  /**
   * Takes a place for a session, and evicts another session where that is needed. Callers without a principal evict only each
   * other: anybody can open such sessions, and they must not end a named principal's.
   *
   * @throws Refusal `atCapacity`, `principalAtCapacity`: a cap is reached, and no session is orphaned that may be evicted.
   */
  take(principal: string | undefined): Slot {
    if (!this.#isBelowShare(principal)) {
      this.#evictIfAny(this.#longestOrphanedLike(principal));
      // The place of an evicted session stays taken while a build of its server has not settled.
      if (!this.#isBelowShare(principal))
        throw new Refusal(principal === undefined ? 'atCapacity' : 'principalAtCapacity');
    }
    if (!this.#isBelowTotal()) {
      this.#evictIfAny(principal === undefined ? this.#longestOrphanedLike(undefined) : this.#reaper.longestOrphaned());
      if (!this.#isBelowTotal()) throw new Refusal('atCapacity');
    }
    this.#add(principal, 1);
    return new Slot(() => this.#add(principal, -1));
  }

  #evictIfAny(session: Session | undefined): void {
    if (session !== undefined) this.#evict(session);
  }

  #isBelowTotal(): boolean {
    return this.#taken < this.#limits.maxSessions;
  }

  #isBelowShare(principal: string | undefined): boolean {
    const { maxSessionsPerPrincipal = Infinity, maxAnonymousSessions } = this.#limits;
    const share = principal === undefined ? maxAnonymousSessions : maxSessionsPerPrincipal;
    return (this.#takenBy.get(principal) ?? 0) < share;
  }

  /** The longest orphaned session of that principal, or of those without one. */
  #longestOrphanedLike(principal: string | undefined): Session | undefined {
    const longest = this.#reaper.longestOrphaned();
    // Most often all sessions are without a principal, and the search through all of them is not needed.
    return longest?.principal === principal ? longest : this.#sessions.longestOrphanedOf(principal);
  }

  #add(principal: string | undefined, number: 1 | -1): void {
    this.#taken += number;
    const taken = (this.#takenBy.get(principal) ?? 0) + number;
    if (taken === 0) this.#takenBy.delete(principal);
    else this.#takenBy.set(principal, taken);
  }
}
