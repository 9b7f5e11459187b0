import { Refusal } from '../errors.js';
import type { Caller, Opener } from './open.js';
import { withPrincipal } from './record.js';
import type { Restorer } from './restore.js';
import type { Session } from './session.js';

/** A request with a principal. */
export interface NamedCaller extends Caller {
  readonly principal: string;
}

interface Adoption {
  readonly principal: string;
  readonly done: Promise<void>;
}

/**
 * Gives a session that was opened without a principal to the first principal that uses it (lazy sign-in). Nothing that was
 * opened without the principal goes on: its streams and requests end, and the session gets a new server, as after a restore.
 */
export class Adopter {
  readonly #opener: Opener;
  readonly #restorer: Restorer;
  readonly #adoptions = new Map<Session, Adoption>();

  constructor(opener: Opener, restorer: Restorer) {
    this.#opener = opener;
    this.#restorer = restorer;
  }

  /**
   * Adopts a session that is open or hibernates. Must be called while the session is held. Afterwards the session may be another
   * principal's, where two came at the same time.
   *
   * @throws Refusal `principalAtCapacity`, `storeUnavailable`: the session is without a principal, as before. As
   * {@link Restorer.wake} does: the session is the principal's then, and hibernates.
   */
  async adopt(session: Session, caller: NamedCaller): Promise<void> {
    const { principal } = caller;
    while (session.principal === undefined) {
      const under = this.#adoptions.get(session);
      if (under === undefined) return this.#begin(session, caller);
      if (under.principal === principal) return under.done;
      // If that one fails, the next one has its turn.
      await under.done.catch(() => undefined);
    }
  }

  #begin(session: Session, caller: NamedCaller): Promise<void> {
    const done = this.#adopt(session, caller).finally(() => this.#adoptions.delete(session));
    this.#adoptions.set(session, { principal: caller.principal, done });
    return done;
  }

  async #adopt(session: Session, caller: NamedCaller): Promise<void> {
    const { registry, keeper } = this.#opener;
    const { principal } = caller;
    if (session.retiring) throw new Refusal('sessionNotFound');
    const slot = registry.caps.takeShare(principal);
    try {
      await keeper.adopt(session, principal, async () => {
        await this.#write(session, principal);
        if (session.silenced) throw new Refusal('storeUnavailable');
        if (session.state !== 'active' && session.state !== 'hibernated') throw new Refusal('sessionNotFound');
      });
    } catch (error) {
      slot.release();
      throw error;
    }
    // Nothing is awaited between these two: no request may see the session in between.
    registry.adopt(session, principal, slot);
    await this.#restorer.wake(session, caller);
  }

  async #write(session: Session, principal: string): Promise<void> {
    if (session.record !== undefined) return session.record.adopt(principal);
    // Meanwhile nothing may wake the session, which would begin another epoch.
    const writing = this.#writeAsleep(session, principal).finally(() => (session.opening = undefined));
    session.opening = writing.catch(() => undefined);
    await writing;
  }

  async #writeAsleep(session: Session, principal: string): Promise<void> {
    const text = withPrincipal(session.asleep ?? '', session.id, principal);
    await this.#opener.keeper.rewrite(session, text);
    session.asleep = text;
  }
}
