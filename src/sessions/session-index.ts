import type { Slot } from './limits/slot.js';
import type { Session } from './session.js';

/** The sessions of a router, by ID and by principal. */
export class SessionIndex {
  readonly #byId = new Map<string, Session>();
  /** Sessions without a principal have the key undefined. */
  readonly #byPrincipal = new Map<string | undefined, Set<Session>>();

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  get(id: string): Session | undefined {
    return this.#byId.get(id);
  }

  /** Oldest entry first. */
  all(): Session[] {
    return [...this.#byId.values()];
  }

  /** The sessions of one principal. Undefined stands for all sessions without a principal. */
  of(principal: string | undefined): ReadonlySet<Session> {
    return this.#byPrincipal.get(principal) ?? NONE;
  }

  longestOrphanedOf(principal: string | undefined): Session | undefined {
    let longest: Session | undefined;
    for (const session of this.of(principal)) {
      const evictable = session.state === 'orphaned' || (session.state === 'hibernated' && !session.attached);
      if (evictable && (longest === undefined || session.idleSince < longest.idleSince)) longest = session;
    }
    return longest;
  }

  add(session: Session): void {
    this.#byId.set(session.id, session);
    this.#join(session);
  }

  /** Moves the session to the principal, with a place in the principal's share. */
  reassign(session: Session, principal: string, slot: Slot): void {
    this.#leave(session);
    session.assignPrincipal(principal, slot);
    this.#join(session);
  }

  delete(session: Session): void {
    this.#byId.delete(session.id);
    this.#leave(session);
  }

  #join(session: Session): void {
    const own = this.#byPrincipal.get(session.principal) ?? new Set();
    this.#byPrincipal.set(session.principal, own.add(session));
  }

  #leave(session: Session): void {
    const own = this.#byPrincipal.get(session.principal);
    own?.delete(session);
    if (own?.size === 0) this.#byPrincipal.delete(session.principal);
  }
}

const NONE: ReadonlySet<Session> = new Set();

/** The sessions that are closing, each until its server is closed and its record is removed or released. */
export class ClosingSessions {
  readonly #ending = new Set<Promise<void>>();
  /** IDs of sessions that were closed so that another node can own them, while their records still name this node. */
  readonly #moving = new Set<string>();

  /** @param moving - The session's ID, if it was closed so that another node can own it. */
  track(ending: Promise<void>, moving?: string): Promise<void> {
    this.#ending.add(ending);
    if (moving !== undefined) this.#moving.add(moving);
    return ending.finally(() => {
      this.#ending.delete(ending);
      if (moving !== undefined) this.#moving.delete(moving);
    });
  }

  isMoving(id: string): boolean {
    return this.#moving.has(id);
  }

  /** Resolves when all closing sessions are closed. */
  async settled(): Promise<void> {
    await Promise.all(this.#ending);
  }
}
