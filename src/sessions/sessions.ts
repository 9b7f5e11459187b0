import type { Events, CoreEvents, SessionEvents, SessionInfo, SessionStats } from '../events.js';
import type { Registry } from './registry.js';
import type { Session } from './session.js';

/** What an app may see of a router's sessions, and do with them. */
export class Sessions {
  readonly #registry: Registry;
  readonly #destroyStored: (id: string) => Promise<boolean>;
  readonly #events: Events<CoreEvents>;

  /** @param destroyStored - Removes the record of a session that is not here. */
  constructor(registry: Registry, destroyStored: (id: string) => Promise<boolean>, events: Events<CoreEvents>) {
    this.#registry = registry;
    this.#destroyStored = destroyStored;
    this.#events = events;
  }

  /** How many sessions there are, by state. */
  stats(): SessionStats {
    return this.#registry.stats();
  }

  /** Every session, oldest first. */
  list(): SessionInfo[] {
    return this.#registry.all().map((session) => session.info());
  }

  get(id: string): SessionInfo | undefined {
    return this.#registry.get(id)?.info();
  }

  /**
   * Ends a session as a DELETE by its client would, also one that is only stored. False when there is none with that ID.
   * Rejects when the store does not answer: the session is as it was then.
   */
  async close(id: string): Promise<boolean> {
    const session = this.#registry.get(id);
    if (session === undefined) return this.#destroyStored(id);
    await this.#end(session);
    return true;
  }

  /**
   * Ends all sessions of a principal that are here (its access was withdrawn, say). Resolves to their number. Rejects when the
   * store does not answer, and some sessions are as they were.
   */
  async closeByPrincipal(principal: string): Promise<number> {
    const sessions = this.#registry.ofPrincipal(principal);
    const results = await Promise.allSettled(sessions.map((session) => this.#end(session)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return sessions.length;
  }

  /**
   * Has the listener called at each such event. What it throws or rejects with is logged, and hurts nothing.
   *
   * @example
   * ```ts
   * router.sessions.on('closed', (session, reason) => audit(session.principal, reason));
   * ```
   */
  on<K extends keyof SessionEvents>(name: K, listener: (...args: SessionEvents[K]) => unknown): this {
    this.#events.on(name, listener);
    return this;
  }

  /** Like {@link on}, for the next such event only. */
  once<K extends keyof SessionEvents>(name: K, listener: (...args: SessionEvents[K]) => unknown): this {
    this.#events.once(name, listener);
    return this;
  }

  off<K extends keyof SessionEvents>(name: K, listener: (...args: SessionEvents[K]) => unknown): this {
    this.#events.off(name, listener);
    return this;
  }

  async #end(session: Session): Promise<void> {
    const wasOpening = session.opening !== undefined;
    const { cleanUp } = await this.#registry.terminate(session);
    await cleanUp;
    // Given up while it was restored or woken, it may have left its record.
    if (wasOpening) await this.#destroyStored(session.id);
  }
}
