import { Refusal } from '../../errors.js';
import type { Caller, Opener } from './open.js';
import { withPrincipal } from '../records/record-format.js';
import type { Restorer } from './restore.js';
import type { Session } from '../session.js';

/** A request with a principal. */
export interface NamedCaller extends Caller {
  readonly principal: string;
}

const ignore = (): void => undefined;

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
   * Adopts a session that is open or hibernates. Must be called while the session is held. If two principals come at
   * the same time, it may then belong to the other one.
   *
   * @throws Refusal `principalAtCapacity`, `storeUnavailable`: the session is without a principal, as before. As
   * {@link Restorer.wake} does: the session is the principal's then, and hibernates.
   */
  async adopt(session: Session, caller: NamedCaller): Promise<void> {
    const { principal } = caller;
    while (session.principal === undefined) {
      const under = this.#adoptions.get(session);
      if (under === undefined && session.opening === undefined) return this.#begin(session, caller);
      if (under?.principal === principal) return under.done;
      // If that adoption fails, the next one has its turn.
      await (under?.done ?? session.opening)?.catch(ignore);
    }
  }

  #begin(session: Session, caller: NamedCaller): Promise<void> {
    const done = this.#adopt(session, caller).finally(() => this.#adoptions.delete(session));
    this.#adoptions.set(session, { principal: caller.principal, done });
    return done;
  }

  async #adopt(session: Session, caller: NamedCaller): Promise<void> {
    const { registry, persistence } = this.#opener;
    const { principal } = caller;
    if (session.pastMaxLifetime) throw new Refusal('sessionNotFound');
    const slot = registry.caps.takeShare(principal);
    // A request that wakes a hibernated session would begin another epoch, so none may until the record is written.
    const unlock = session.record === undefined ? lock(session) : ignore;
    let waking = Promise.resolve();
    try {
      await persistence.adopt(session, principal, async () => {
        await this.#write(session, principal);
        if (session.mayNotRespond) throw new Refusal('storeUnavailable');
        if (session.state !== 'active' && session.state !== 'hibernated') throw new Refusal('sessionNotFound');
        // Nothing is awaited until the wake has begun: a request in between would end the session, or wake it, too.
        registry.adopt(session, principal, slot);
        unlock();
        waking = this.#restorer.wake(session, caller);
        waking.catch(ignore);
      });
    } catch (error) {
      slot.release();
      throw error;
    } finally {
      unlock();
    }
    await waking;
  }

  async #write(session: Session, principal: string): Promise<void> {
    if (session.record !== undefined) return session.record.adopt(principal);
    const text = withPrincipal(session.hibernatedRecord ?? '', session.id, principal);
    await this.#opener.persistence.rewrite(session, text);
    session.replaceHibernatedRecord(text);
  }
}

/** Has requests wait that come for the session. Returns a function that lets them go on. */
function lock(session: Session): () => void {
  let release = ignore;
  const locked = new Promise<void>((resolve) => (release = resolve));
  const unlock = session.lock(locked);
  return () => {
    unlock();
    release();
  };
}
