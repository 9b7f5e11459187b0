import { Refusal } from '../../errors.js';
import type { Caller, SessionParts } from './open.js';
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
 * Gives a session that was opened without a principal to the first principal that uses it (lazy sign-in). The session gets a
 * new server, as after a restore: streams and requests that began without the principal end.
 */
export class Adopter {
  readonly #parts: SessionParts;
  readonly #restorer: Restorer;
  readonly #adoptions = new Map<Session, Adoption>();

  constructor(parts: SessionParts, restorer: Restorer) {
    this.#parts = parts;
    this.#restorer = restorer;
  }

  /**
   * Adopts a session that is open or hibernates. The caller must have a lease of it. If two principals adopt it at the same
   * time, it may belong to the other one afterwards.
   *
   * @throws Refusal `principalAtCapacity` or `storeUnavailable` when the session is still without a principal.
   * @throws The errors of {@link Restorer.wake} when the session is the principal's, but could not be woken.
   */
  async adopt(session: Session, caller: NamedCaller): Promise<void> {
    const { principal } = caller;
    while (session.principal === undefined) {
      const current = this.#adoptions.get(session);
      if (current === undefined && session.opening === undefined) return this.#begin(session, caller);
      if (current?.principal === principal) return current.done;
      // If the current adoption fails, this one is tried.
      await (current?.done ?? session.opening)?.catch(ignore);
    }
  }

  #begin(session: Session, caller: NamedCaller): Promise<void> {
    const done = this.#adopt(session, caller).finally(() => this.#adoptions.delete(session));
    this.#adoptions.set(session, { principal: caller.principal, done });
    return done;
  }

  async #adopt(session: Session, caller: NamedCaller): Promise<void> {
    const { registry, persistence } = this.#parts;
    const { principal } = caller;
    if (session.pastMaxLifetime) throw new Refusal('sessionNotFound');
    const slot = registry.caps.takeShare(principal);
    // A request could wake a hibernated session, which begins another epoch. So requests wait until the record is written.
    const unlock = session.record === undefined ? lock(session) : ignore;
    let waking = Promise.resolve();
    try {
      await persistence.adopt(session, principal, async () => {
        await this.#write(session, principal);
        if (session.mayNotRespond) throw new Refusal('storeUnavailable');
        if (session.state !== 'active' && session.state !== 'hibernated') throw new Refusal('sessionNotFound');
        // No `await` before the wake begins: a request in between could end the session, or wake it a second time.
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
    await this.#parts.persistence.rewrite(session, text);
    session.replaceHibernatedRecord(text);
  }
}

/** Makes requests for the session wait. Returns a function that lets them continue. */
function lock(session: Session): () => void {
  let release = ignore;
  const locked = new Promise<void>((resolve) => (release = resolve));
  const unlock = session.lock(locked);
  return () => {
    unlock();
    release();
  };
}
