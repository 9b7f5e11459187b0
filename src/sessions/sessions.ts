import type { Events, CoreEvents, SessionEvents, SessionInfo } from '../events.js';
import type { Registry, SessionStats } from './registry.js';

/** What an app may see of a router's sessions, and do with them. */
export class Sessions {
  readonly #registry: Registry;
  readonly #events: Events<CoreEvents>;

  constructor(registry: Registry, events: Events<CoreEvents>) {
    this.#registry = registry;
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

  /** Ends a session as a DELETE by its client would. False when there is none with that ID. */
  async close(id: string): Promise<boolean> {
    const session = this.#registry.get(id);
    if (session === undefined) return false;
    await this.#registry.close(session, 'deleted');
    return true;
  }

  /** Ends all sessions of a principal (its access was withdrawn, say). Resolves to their number. */
  async closeByPrincipal(principal: string): Promise<number> {
    const sessions = this.#registry.ofPrincipal(principal);
    await Promise.all(sessions.map((session) => this.#registry.close(session, 'deleted')));
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
}
