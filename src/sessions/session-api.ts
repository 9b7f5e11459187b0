import { keepingAlive } from '../runtime/clock.js';
import type { CoreEvents, SessionEvents, SessionInfo, SessionStats } from '../events.js';
import type { McpServerLike } from '../options/options.js';
import type { Emitter } from '../runtime/emitter.js';
import type { Registry } from './registry.js';
import { retryOnOwnershipChange, type OtherNodes, type UnownedSession } from './ownership.js';
import type { PrincipalRef } from './principal-name.js';
import { AppEvents } from './app-events.js';
import type { Session } from './session.js';

/** The app's access to the sessions of a router. */
export class Sessions {
  readonly #registry: Registry;
  readonly #destroyStored: (id: string, unowned?: UnownedSession) => Promise<boolean>;
  readonly #otherNodes: OtherNodes | undefined;
  readonly #events: AppEvents;
  readonly #nameOf: (principal: PrincipalRef) => string;
  readonly #endPrincipal: (principal: string) => Promise<void>;

  /**
   * @internal
   * @param destroyStored - Removes the record of a session that this process does not have.
   * @param otherNodes - Undefined without a cluster.
   * @param nameOf - Throws a TypeError for claims that name no principal.
   * @param endPrincipal - Ends the principal's subscriptions and calls that belong to no session, on all nodes. Rejects when a node
   * does not answer.
   */
  constructor(
    registry: Registry,
    destroyStored: (id: string, unowned?: UnownedSession) => Promise<boolean>,
    otherNodes: OtherNodes | undefined,
    events: Emitter<CoreEvents>,
    nameOf: (principal: PrincipalRef) => string,
    endPrincipal: (principal: string) => Promise<void>,
  ) {
    this.#endPrincipal = endPrincipal;
    this.#nameOf = nameOf;
    this.#registry = registry;
    this.#otherNodes = otherNodes;
    this.#destroyStored = destroyStored;
    this.#events = new AppEvents(events);
  }

  /** The number of sessions of this process, by state. */
  stats(): SessionStats {
    return this.#registry.stats();
  }

  /** The sessions of this process, oldest first. */
  list(): SessionInfo[];
  /** The sessions of all nodes (with `routing: 'migrate'`, of this node). Rejects when a node does not answer. */
  list(options: { readonly cluster: true }): Promise<SessionInfo[]>;
  list(options?: { readonly cluster: true }): SessionInfo[] | Promise<SessionInfo[]> {
    const here = this.#registry.all().map((session) => session.info());
    if (options?.cluster !== true) return here;
    const listed = (this.#otherNodes?.list() ?? Promise.resolve([])).then((others) => [...here, ...others]);
    return keepingAlive(listed);
  }

  get(id: string): SessionInfo | undefined {
    return this.#registry.get(id)?.info();
  }

  /**
   * The server of a session on this node, as `serverFactory` returned it. Undefined while the session is opened or restored, while it
   * hibernates, and when another node owns it.
   *
   * @example
   * ```ts
   * import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
   *
   * for (const { id } of mcp.sessions.list()) {
   *   const server = mcp.sessions.server(id) as McpServer | undefined;
   *   await server?.server.listRoots();
   * }
   * ```
   */
  server(id: string): McpServerLike | undefined {
    const session = this.#registry.get(id);
    return session?.opening === undefined ? session?.server : undefined;
  }

  /**
   * Ends a session as a DELETE by its client would, also one that is only stored. Resolves to false when there is none with that
   * ID. Rejects when the store does not answer. The session is then unchanged.
   */
  close(id: string): Promise<boolean> {
    return keepingAlive(this.#close(id));
  }

  /**
   * Ends all sessions of a principal in this process, or on all nodes of the cluster, for example when its access was withdrawn.
   * Resolves to their number. Rejects when the store or a node does not answer. Some sessions may then still be open.
   *
   * It also ends the principal's subscriptions and calls of MCP 2026-07-28, those included that wait for an answer of the client. They are
   * not counted. With `routing: 'migrate'` it ends those of the same node only.
   *
   * With a store but no cluster, sessions that are only stored are not ended: the next request restores them.
   *
   * Takes the name that the option `principal` returns. If that option is not set, it also takes the claims: `{ iss, sub }`,
   * `{ clientId }` or an `AuthInfo`. Rejects with a TypeError when the claims name no party, or when the option `principal` is
   * set and claims are passed.
   *
   * @example
   * ```ts
   * await mcp.sessions.closeByPrincipal({ iss: 'https://idp.example', sub: 'alice' });
   * ```
   */
  closeByPrincipal(principal: PrincipalRef): Promise<number> {
    return keepingAlive(this.#closeByPrincipal(principal));
  }

  /**
   * Calls the listener at each event of that name (see {@link SessionEvents}). Errors and rejections of the listener are logged, and have no other effect.
   *
   * @example
   * ```ts
   * mcp.sessions.on('closed', (session, reason) => audit(session.principal, reason));
   * ```
   */
  on<K extends keyof SessionEvents>(name: K, listener: (...args: SessionEvents[K]) => unknown): this {
    this.#events.change('on', name, listener);
    return this;
  }

  /** Like {@link on}, for the next event of that name only. */
  once<K extends keyof SessionEvents>(name: K, listener: (...args: SessionEvents[K]) => unknown): this {
    this.#events.change('once', name, listener);
    return this;
  }

  off<K extends keyof SessionEvents>(name: K, listener: (...args: SessionEvents[K]) => unknown): this {
    this.#events.change('off', name, listener);
    return this;
  }

  #close(id: string): Promise<boolean> {
    return retryOnOwnershipChange(async () => {
      const session = this.#registry.get(id);
      if (session === undefined) return this.#closeElsewhere(id);
      await this.#end(session);
      return true;
    });
  }

  async #closeByPrincipal(principal: PrincipalRef): Promise<number> {
    const name = this.#nameOf(principal);
    const here = this.#registry.ofPrincipal(name).map(({ id }) => id);
    const anywhere = (await this.#otherNodes?.sessionsOf(name)) ?? [];
    const ids = new Set([...here, ...anywhere]);
    const [results] = await Promise.all([
      Promise.allSettled([...ids].map((id) => this.#close(id))),
      this.#endPrincipal(name),
    ]);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return results.filter((result) => result.status === 'fulfilled' && result.value).length;
  }

  async #closeElsewhere(id: string): Promise<boolean> {
    const closed = await this.#otherNodes?.close(id);
    return typeof closed === 'boolean' ? closed : this.#destroyStored(id, closed);
  }

  async #end(session: Session): Promise<void> {
    const wasOpening = session.opening !== undefined;
    const { cleanUp } = await this.#registry.terminate(session);
    await cleanUp;
    // If the session was being restored or woken, its record may still be in the store, and another node may have claimed it.
    if (wasOpening) await this.#closeElsewhere(session.id);
  }
}
