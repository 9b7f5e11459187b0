import { Refusal } from '../../errors.js';
import type { MayUse } from '../../sessions/access.js';
import type { Adopter } from '../../sessions/life/adopt.js';
import type { Restorer } from '../../sessions/life/restore.js';
import { OwnershipChanged, retryOnOwnershipChange, type UnownedSession } from '../../sessions/ownership.js';
import type { Registry } from '../../sessions/registry.js';
import type { Session } from '../../sessions/session.js';
import type { Lease } from '../../transport/transport-types.js';
import type { ForwardingPort } from './forwarding-port.js';
import type { Exchange } from '../../http/exchange.js';
import type { Post } from '../../http/receive.js';
import { toForwardedRequest } from './forwarded-request.js';

/** The place of a request's session. */
export type Location =
  /** On this node, with a lease for the request. The caller releases it. `restored`: this node did not have it before. */
  | { readonly at: 'here' | 'restored'; readonly session: Session; readonly lease: Lease }
  /** On another node, which has answered the request. */
  | { readonly at: 'forwarded' }
  /** There is no session of that ID that the principal may use. */
  | { readonly at: 'gone' };

type Here = Extract<Location, { readonly lease: Lease }>;

export interface LocatorInit {
  readonly registry: Registry;
  readonly restorer: Restorer;
  readonly adopter: Adopter;
  readonly mayUse: MayUse;
  /** Undefined without a cluster. */
  readonly forwarding: ForwardingPort | undefined;
}

/**
 * Finds the session that a request names: on this node, on another node, or in the session store.
 *
 * The owner of a session may change during the search. The search is then repeated.
 */
export class SessionLocator {
  readonly #init: LocatorInit;

  constructor(init: LocatorInit) {
    this.#init = init;
  }

  /** The session, if it can serve the request at once. Most requests take only this path. */
  findReady({ principal }: Exchange, sessionId: string): Here | undefined {
    const session = this.#init.registry.get(sessionId);
    const lease = session?.acquireIfReady(principal);
    return session && lease && { at: 'here', session, lease };
  }

  /**
   * Locates the session for a POST or a GET. A session that is being opened is awaited. A session that hibernates, or is only
   * stored, is built again. A session without a principal is adopted.
   *
   * The request counts as in flight during the search, as it has no lease yet. So a drain waits for it.
   *
   * @param post - Undefined for a GET.
   * @throws Refusal when the session cannot serve the request.
   * @throws NotOwner when another node forwarded the request to this one, and a third node owns the session.
   */
  locate(exchange: Exchange, sessionId: string, post?: Post): Promise<Location> {
    const located = retryOnOwnershipChange<Location>(async () => {
      const local = this.#findLocal(exchange, sessionId);
      if (local !== undefined) return this.#prepare(local, exchange, 'here');
      const unowned = await this.#forward(exchange, sessionId, post);
      if (unowned === 'answered') return { at: 'forwarded' };
      const session = this.#findLocal(exchange, sessionId) ?? (await this.#restore(exchange, sessionId, unowned));
      return session === undefined ? { at: 'gone' } : this.#prepare(session, exchange, 'restored');
    });
    return this.#init.registry.inFlight.during(located);
  }

  /**
   * Ends the session for a DELETE, on this node, on another node or in the store. `forwarded`: another node has answered.
   *
   * @throws The errors of {@link locate}.
   */
  end(exchange: Exchange, sessionId: string): Promise<'ended' | 'forwarded' | 'gone'> {
    const { registry, restorer } = this.#init;
    const ended = retryOnOwnershipChange(async () => {
      const session = this.#findLocal(exchange, sessionId);
      if (session === undefined) {
        const unowned = await this.#forward(exchange, sessionId);
        if (unowned === 'answered') return 'forwarded';
        return (await restorer.discard(sessionId, exchange.principal, unowned)) ? 'ended' : 'gone';
      }
      const lease = await this.#withLease(session, exchange, async () => {
        exchange.checkedVersion();
        await registry.terminate(session);
      });
      lease.release();
      return 'ended';
    });
    return registry.inFlight.during(ended);
  }

  /** Whether the session is open on this node, or on any node of the cluster. */
  async isOpen(exchange: Exchange, sessionId: string): Promise<boolean> {
    if (this.#findLocal(exchange, sessionId) !== undefined) return true;
    const { forwarding, restorer } = this.#init;
    return forwarding !== undefined && (await restorer.knows(sessionId, exchange.principal));
  }

  /**
   * The error for the client after a session failed its request. Undefined when this node has released the session, so that the
   * session can be located again. Must be called before the lease is released.
   *
   * @param isUsed - Whether the request may have changed the session, or its reply may have begun.
   */
  errorOf(session: Session, error: unknown, isUsed = true): Error | undefined {
    const { registry, forwarding } = this.#init;
    if (!(error instanceof Refusal)) return error as Error;
    if (session.mayNotRespond) {
      return session.ownershipLost && !isUsed ? undefined : new Refusal('storeUnavailable', { cause: error });
    }
    const isGone = error.reason === 'sessionNotFound';
    if (!isGone || !session.stored || !(registry.lifecycle.isDraining || session.handingOff)) return error;
    // The session ended because this process stops, or another node asked for it. Its record is kept for the next owner.
    if (forwarding === undefined) return new Refusal('draining');
    // While the registry still has the session, it would be located here again.
    return registry.get(session.id) === session ? error : undefined;
  }

  /** Another principal's session is treated exactly like a missing one. */
  #findLocal({ principal }: Exchange, sessionId: string): Session | undefined {
    const session = this.#init.registry.get(sessionId);
    return session !== undefined && this.#init.mayUse(session.principal, principal) ? session : undefined;
  }

  async #prepare(session: Session, exchange: Exchange, at: Here['at']): Promise<Here> {
    const lease = await this.#withLease(session, exchange, async () => {
      if (session.principal !== exchange.principal) await this.#adopt(session, exchange);
      else if (session.state === 'hibernated') await this.#wake(session, exchange);
      session.transportFor(exchange.principal);
    });
    return { at, session, lease };
  }

  /**
   * Acquires a lease of the session, waits while it is being opened, restored or woken, and then calls `act`. Releases the lease
   * if any of these fails.
   */
  async #withLease(session: Session, { principal }: Exchange, act: () => Promise<void>): Promise<Lease> {
    const lease = session.acquire('request');
    let isUsed = false;
    try {
      while (session.opening !== undefined) await session.opening;
      if (session.mayNotRespond) throw new Refusal('storeUnavailable');
      if (session.state === 'closing' || session.state === 'closed') throw new Refusal('sessionNotFound');
      if (!this.#init.mayUse(session.principal, principal)) throw new Refusal('sessionNotFound');
      isUsed = true;
      await act();
      return lease;
    } catch (failure) {
      const error = this.errorOf(session, failure, isUsed);
      lease.release();
      throw error ?? new OwnershipChanged();
    }
  }

  /** Makes the owner answer, if another node owns the session. Undefined without a cluster. */
  async #forward(exchange: Exchange, sessionId: string, post?: Post): Promise<'answered' | UnownedSession | undefined> {
    const { forwarding, restorer } = this.#init;
    if (forwarding === undefined) return undefined;
    if (!restorer.mayRestore(sessionId)) return { record: undefined };
    return (await forwarding.forward(toForwardedRequest(exchange, sessionId, post), exchange.res)) ?? 'answered';
  }

  #restore(exchange: Exchange, sessionId: string, unowned?: UnownedSession): Promise<Session | undefined> {
    const { registry, restorer } = this.#init;
    if (!restorer.mayRestore(sessionId)) return Promise.resolve(undefined);
    // The record is kept for the next process.
    if (registry.lifecycle.isDraining) throw new Refusal('draining');
    return restorer.restore(sessionId, exchange.caller, unowned);
  }

  #wake(session: Session, exchange: Exchange): Promise<void> {
    const { registry, restorer, forwarding } = this.#init;
    if (registry.lifecycle.isDraining)
      throw forwarding === undefined ? new Refusal('draining') : new OwnershipChanged();
    return restorer.wake(session, exchange.caller);
  }

  /** Gives the session to the caller's principal, unless another principal adopts it first. */
  #adopt(session: Session, { caller }: Exchange): Promise<void> {
    if (this.#init.registry.lifecycle.isDraining) throw new Refusal('draining');
    const { principal } = caller;
    if (principal === undefined) throw new Refusal('sessionNotFound');
    return this.#init.adopter.adopt(session, { ...caller, principal });
  }
}
