import { Refusal } from '../errors.js';
import type { ResolvedOptions } from '../options.js';
import type { Reaper } from './reaper.js';
import type { SessionIndex } from './session-index.js';
import type { Session } from './session.js';

/** How many sessions there may be, and who goes when there is no room for another. */
export class Caps {
  readonly #limits: Pick<ResolvedOptions, 'maxSessions' | 'maxSessionsPerPrincipal'>;
  readonly #sessions: SessionIndex;
  readonly #reaper: Reaper;
  readonly #evict: (session: Session) => void;

  constructor(
    limits: Pick<ResolvedOptions, 'maxSessions' | 'maxSessionsPerPrincipal'>,
    sessions: SessionIndex,
    reaper: Reaper,
    evict: (session: Session) => void,
  ) {
    this.#limits = limits;
    this.#sessions = sessions;
    this.#reaper = reaper;
    this.#evict = evict;
  }

  /** Whether a new session could only be had by evicting one, and none can be evicted. */
  get full(): boolean {
    return this.#sessions.size >= this.#limits.maxSessions && this.#reaper.longestOrphaned() === undefined;
  }

  /** Whether a session could be opened without an eviction. */
  hasRoom(principal: string | undefined): boolean {
    const { maxSessions, maxSessionsPerPrincipal = Infinity } = this.#limits;
    return this.#sessions.size < maxSessions && this.#sessions.of(principal).size < maxSessionsPerPrincipal;
  }

  /** Who would go first if the principal had too many. */
  longestOrphanedOf(principal: string): Session | undefined {
    return this.#sessions.longestOrphanedOf(principal);
  }

  /** @throws Refusal `atCapacity`, `principalAtCapacity`: a cap is reached and nobody is orphaned. */
  makeRoom(principal: string | undefined): void {
    const { maxSessions, maxSessionsPerPrincipal } = this.#limits;
    if (maxSessionsPerPrincipal !== undefined && this.#sessions.of(principal).size >= maxSessionsPerPrincipal) {
      this.#orElse('principalAtCapacity', this.#sessions.longestOrphanedOf(principal));
    }
    if (this.#sessions.size >= maxSessions) this.#orElse('atCapacity', this.#reaper.longestOrphaned());
  }

  #orElse(refusal: 'atCapacity' | 'principalAtCapacity', session: Session | undefined): void {
    if (session === undefined) throw new Refusal(refusal);
    this.#evict(session);
  }
}
