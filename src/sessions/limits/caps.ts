import { Refusal } from '../../errors.js';
import type { ResolvedOptions } from '../../options/options.js';
import type { Reaper } from './reaper.js';
import type { SessionIndex } from '../session-index.js';
import type { Session } from '../session.js';
import { Slot } from './slot.js';

type Limits = Pick<ResolvedOptions, 'maxSessions' | 'maxSessionsPerPrincipal' | 'maxAnonymousSessions'>;

/** Bounds the number of sessions, and chooses the session that is evicted to make room. */
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

  /** The number of sessions that may be open. */
  get limit(): number {
    return this.#limits.maxSessions;
  }

  /** Whether a new session of a named principal is refused: all places are taken, and no session can be evicted. */
  get full(): boolean {
    return !this.#isBelowTotal() && this.#reaper.longestOrphaned() === undefined;
  }

  /** Whether a session could be opened without an eviction. */
  hasRoom(principal: string | undefined): boolean {
    return this.#isBelowTotal() && this.#isBelowShare(principal);
  }

  /** The session of this principal that would be evicted first. */
  longestOrphanedOf(principal: string): Session | undefined {
    return this.#sessions.longestOrphanedOf(principal);
  }

  /**
   * Takes a place for a session, and evicts another session if that is needed. Callers without a principal evict only each
   * other: anyone can open such sessions, and they must not end the session of a named principal.
   *
   * @throws Refusal `atCapacity` or `principalAtCapacity` when a cap is reached and no session may be evicted.
   */
  take(principal: string | undefined): Slot {
    this.#makeRoomInShare(principal);
    if (!this.#isBelowTotal()) {
      this.#evictIfAny(principal === undefined ? this.#longestOrphanedLike(undefined) : this.#reaper.longestOrphaned());
      if (!this.#isBelowTotal()) throw new Refusal('atCapacity');
    }
    return this.#newSlot(principal);
  }

  /**
   * Takes a place in the principal's share for a session that the principal adopts. The session then gives up its old place.
   *
   * @throws Refusal `principalAtCapacity` when the share is used up and none of the principal's sessions is orphaned.
   */
  takeShare(principal: string): Slot {
    this.#makeRoomInShare(principal);
    return this.#newSlot(principal);
  }

  #makeRoomInShare(principal: string | undefined): void {
    if (this.#isBelowShare(principal)) return;
    this.#evictIfAny(this.#longestOrphanedLike(principal));
    // An evicted session keeps its place until a pending build of its server has settled.
    if (!this.#isBelowShare(principal))
      throw new Refusal(principal === undefined ? 'atCapacity' : 'principalAtCapacity');
  }

  #newSlot(principal: string | undefined): Slot {
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

  /** The longest orphaned session of that principal. Undefined stands for all sessions without a principal. */
  #longestOrphanedLike(principal: string | undefined): Session | undefined {
    const longest = this.#reaper.longestOrphaned();
    // Usually no session has a principal, and this saves the search through all of them.
    return longest?.principal === principal ? longest : this.#sessions.longestOrphanedOf(principal);
  }

  #add(principal: string | undefined, number: 1 | -1): void {
    this.#taken += number;
    const taken = (this.#takenBy.get(principal) ?? 0) + number;
    if (taken === 0) this.#takenBy.delete(principal);
    else this.#takenBy.set(principal, taken);
  }
}
