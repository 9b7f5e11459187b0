import { setImmediate as endOfTurn } from 'node:timers/promises';
import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../../errors.js';
import type { CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { Adopter } from '../../sessions/life/adopt.js';
import type { AnswersTo } from '../../sessions/answers-to.js';
import { OwnershipChanged, type ForwardingPort, type UnownedSession } from '../../sessions/ownership.js';
import type { Opener } from '../../sessions/life/open.js';
import type { Registry } from '../../sessions/registry.js';
import type { Reissuer } from '../../sessions/life/reissue.js';
import type { Restorer } from '../../sessions/life/restore.js';
import type { Session } from '../../sessions/session.js';
import type { Lease } from '../../transport/transport-types.js';
import type { HttpTransport } from '../../transport/transport.js';
import { replyEmpty } from '../../transport/reply-empty.js';
import type { ReplyForm } from '../../transport/reply-form.js';
import { createAcceptCheck } from '../../http/accept.js';
import type { BodyReader } from '../../http/body.js';
import { checkBatch, classify, idOf, methodOf, type Classified } from '../../http/classify.js';
import type { Endpoint } from '../endpoint.js';
import type { Exchange } from '../../http/exchange.js';
import { toForwardedRequest, SessionReleased, NO_BODY, type RequestBody } from './forwarded-request.js';
import { initialize, type Initialize } from './initialize.js';

/** The MCP endpoint of a router that keeps sessions. */
export class SessionEndpoint implements Endpoint {
  readonly methods = ['GET', 'POST', 'DELETE'];
  readonly #opener: Opener;
  readonly #restorer: Restorer;
  readonly #adopter: Adopter;
  readonly #answersTo: AnswersTo;
  readonly #reissuer: Reissuer | undefined;
  readonly #registry: Registry;
  readonly #forwarding: ForwardingPort | undefined;
  readonly #events: Emitter<CoreEvents>;
  readonly #bodies: BodyReader;
  readonly #checkAccept = createAcceptCheck();
  #draining = false;
  /** When a request last came, or it was told to drain, by the router's clock. */
  #lastRequest = -Infinity;

  /**
   * @param reissuer - Undefined where stale sessions are only rejected.
   * @param forwarding - Undefined where there are no other nodes.
   */
  constructor(
    opener: Opener,
    restorer: Restorer,
    answersTo: AnswersTo,
    reissuer: Reissuer | undefined,
    forwarding: ForwardingPort | undefined,
    events: Emitter<CoreEvents>,
    bodies: BodyReader,
  ) {
    this.#opener = opener;
    this.#restorer = restorer;
    this.#adopter = new Adopter(opener, restorer);
    this.#answersTo = answersTo;
    this.#reissuer = reissuer;
    this.#forwarding = forwarding;
    this.#registry = opener.registry;
    this.#events = events;
    this.#bodies = bodies;
  }

  async handle(exchange: Exchange): Promise<void> {
    if (this.#forwarding !== undefined) {
      this.#lastRequest = this.#registry.clock.now();
      await this.#forwarding.checkMember();
    }
    switch (exchange.req.method) {
      case 'POST':
        return this.#post(exchange);
      case 'GET':
        return this.#get(exchange);
      case 'DELETE':
        return this.#delete(exchange);
      default:
        throw new Refusal('methodNotAllowed');
    }
  }

  drain(): void {
    this.#draining = true;
    this.#registry.stop();
    this.#lastRequest = this.#registry.clock.now();
    // Other nodes go on with them at once; without any, each goes on here until the end.
    if (this.#forwarding !== undefined) for (const session of this.#registry.all()) this.#registry.handOff(session);
  }

  async idle(): Promise<void> {
    const { inFlight, clock } = this.#registry;
    await inFlight.whenNone();
    if (this.#forwarding === undefined) return;
    // Until its balancer has noticed that it stops, what comes is handed over.
    const quietIn = this.#lastRequest + QUIET_BEFORE_STOP - clock.now();
    if (quietIn <= 0) return;
    await new Promise<void>((resolve) => clock.setTimeout(resolve, quietIn));
    return this.idle();
  }

  async endStreams(): Promise<void> {
    await Promise.all(this.#registry.all().map((session) => this.#endStream(session)));
  }

  async close(): Promise<void> {
    this.drain();
    this.#bodies.close();
    for (const session of this.#registry.all()) void this.#registry.close(session, 'shutdown');
    await this.#registry.closingSessions.settled();
  }

  async #post(exchange: Exchange): Promise<void> {
    const form = this.#checkAccept(exchange.req);
    let initialize: { call: Initialize; body: unknown };
    const { inFlight } = this.#registry;
    // A drain waits for this body: between its arrival and the request's begin, the count must not be zero.
    inFlight.begin();
    try {
      const body = await this.#bodies.read(exchange.req);
      exchange.id = idOf(body);
      const classified = classify(body);
      exchange.note({ method: methodOf(classified) });
      if (classified.kind === 'messages') return await this.#messages(exchange, classified, body, form);
      initialize = { call: classified, body };
    } finally {
      inFlight.end();
    }
    await this.#initialize(exchange, initialize.call, initialize.body, form);
  }

  async #messages(exchange: Exchange, classified: Messages, body: unknown, form: ReplyForm): Promise<void> {
    const { messages } = classified;
    const asks = messages.some((message) => 'method' in message && 'id' in message);
    await this.#withSession(exchange, { body, messages }, (transport, session, lease) => {
      if (session.pastMaxLifetime && asks) throw new Refusal('sessionNotFound');
      checkBatch(classified, transport.protocolVersion);
      return transport.post(exchange.res, messages, {
        batch: classified.batch,
        extra: exchange.extra,
        form,
        lease,
      });
    });
  }

  async #get(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req);
    const { lastEventId } = exchange;
    await this.#counted(
      this.#withSession(exchange, NO_BODY, async (transport, _, lease) => {
        // A stream may be resumed to its end while this process drains. A new one would delay that end.
        if (this.#draining && lastEventId === undefined && this.#forwarding === undefined)
          throw new Refusal('draining');
        await transport.get(exchange.res, lastEventId);
        lease.release();
      }),
    );
  }

  async #delete(exchange: Exchange): Promise<void> {
    const sessionId = requiredSessionId(exchange);
    const session = this.#findLocal(exchange, sessionId);
    try {
      if (session === undefined) {
        const found = await this.#counted(this.#forward(exchange, sessionId, NO_BODY));
        if (found === 'answered') return;
        if (!(await this.#restorer.discard(sessionId, exchange.principal, found))) throw new Refusal('sessionNotFound');
      } else {
        await this.#withLease(session, exchange, async (lease) => {
          exchange.checkedVersion();
          await this.#registry.terminate(session);
          lease.release();
        });
      }
    } catch (error) {
      if (!(error instanceof SessionReleased || error instanceof OwnershipChanged)) throw error;
      await endOfTurn();
      return this.#delete(exchange);
    }
    return replyEmpty(exchange.res, 200);
  }

  /** Does something with the session that the request names, which has a lease meanwhile. The action releases it. */
  async #withSession(exchange: Exchange, said: RequestBody, act: SessionAction): Promise<void> {
    // Yield before each retry, so that other leases of the session can be released.
    while (await this.#tryWithSession(exchange, said, act)) await endOfTurn();
  }

  /** Has a drain wait for the work: it has no lease of a session as long as none is found. */
  async #counted<T>(work: Promise<T>): Promise<T> {
    const { inFlight } = this.#registry;
    inFlight.begin();
    try {
      return await work;
    } finally {
      inFlight.end();
    }
  }

  /** Whether the session left for another node before anything was done with it. */
  async #tryWithSession(exchange: Exchange, said: RequestBody, act: SessionAction): Promise<boolean> {
    const sessionId = requiredSessionId(exchange);
    try {
      const session = this.#findLocal(exchange, sessionId) ?? (await this.#locate(exchange, sessionId, said));
      if (session === undefined) return false;
      await this.#withLease(session, exchange, async (lease) => {
        if (session.principal !== exchange.principal) await this.#adopt(session, exchange);
        else if (session.state === 'hibernated') await this.#wake(session, exchange);
        // Meanwhile it may have ended, or another principal may have adopted it.
        const { state, transport, principal } = session;
        if (state !== 'active' || transport === undefined || principal !== exchange.principal)
          throw new Refusal('sessionNotFound');
        exchange.checkedVersion();
        await act(transport, session, lease);
      });
      return false;
    } catch (error) {
      if (error instanceof SessionReleased || error instanceof OwnershipChanged) return true;
      throw error;
    }
  }

  /** Waits for a session that is being opened, restored or woken, with a lease of it. The action releases the lease. */
  async #withLease(session: Session, { principal }: Exchange, act: (lease: Lease) => Promise<void>): Promise<void> {
    const lease = session.acquire('request');
    let begun = false;
    let isDone = false;
    try {
      while (session.opening !== undefined) await session.opening;
      if (session.mayNotRespond) throw new Refusal('storeUnavailable');
      if (session.state === 'closing' || session.state === 'closed') throw new Refusal('sessionNotFound');
      if (!this.#answersTo(session.principal, principal)) throw new Refusal('sessionNotFound');
      begun = true;
      await act(lease);
      isDone = true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // Another node may own it by now, and knows better. Where something was begun, the reply is not free any more.
      if (session.mayNotRespond && session.ownershipLost && !begun) throw new SessionReleased();
      if (session.mayNotRespond) throw new Refusal('storeUnavailable', { cause: error });
      const gone = error.reason === 'sessionNotFound';
      if (!gone || !session.stored || !(this.#draining || session.handingOff)) throw error;
      // It ends here because this process does, or another node asked for it, and the next one has it.
      if (this.#forwarding === undefined) throw new Refusal('draining');
      // Whoever is refused by a session that is here would only come back to it.
      throw this.#registry.get(session.id) === session ? error : new SessionReleased();
    } finally {
      if (!isDone) lease.release();
    }
  }

  /** A session that was not here; undefined when another node answers. */
  async #locate(exchange: Exchange, sessionId: string, said: RequestBody): Promise<Session | undefined> {
    const found = await this.#forward(exchange, sessionId, said);
    if (found === 'answered') return undefined;
    const session = this.#findLocal(exchange, sessionId) ?? (await this.#restore(exchange, sessionId, found));
    if (session !== undefined) return session;
    if (this.#reissuer !== undefined && exchange.req.method === 'POST' && !this.#draining) {
      const version = exchange.checkedVersion() ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
      const id = await this.#reissuer.reissue(sessionId, version, exchange.caller);
      if (id !== undefined && !exchange.res.headersSent) exchange.res.setHeader('Mcp-Session-Id', id);
    }
    throw new Refusal('sessionNotFound');
  }

  /** Someone else's session is told from none by nothing at all. */
  #findLocal({ principal }: Exchange, sessionId: string): Session | undefined {
    const session = this.#registry.get(sessionId);
    return session !== undefined && this.#answersTo(session.principal, principal) ? session : undefined;
  }

  /** Has another node answer, if one owns the session; undefined where there are no other nodes. */
  async #forward(
    exchange: Exchange,
    sessionId: string | undefined,
    said: RequestBody,
  ): Promise<'answered' | UnownedSession | undefined> {
    if (this.#forwarding === undefined) return undefined;
    if (sessionId !== undefined && !this.#restorer.mayRestore(sessionId)) return { record: undefined };
    const request = toForwardedRequest(exchange, sessionId, said);
    return (await this.#forwarding.forward(request, exchange.res)) ?? 'answered';
  }

  #restore(exchange: Exchange, sessionId: string, unowned?: UnownedSession): Promise<Session | undefined> {
    if (!this.#restorer.mayRestore(sessionId)) return Promise.resolve(undefined);
    // Whoever comes after this process can restore it.
    if (this.#draining) throw new Refusal('draining');
    return this.#restorer.restore(sessionId, exchange.caller, unowned);
  }

  #wake(session: Session, exchange: Exchange): Promise<void> {
    if (this.#draining) throw this.#forwarding === undefined ? new Refusal('draining') : new SessionReleased();
    return this.#restorer.wake(session, exchange.caller);
  }

  /** The session is the caller's from now on, if no other principal comes first. */
  #adopt(session: Session, { caller }: Exchange): Promise<void> {
    if (this.#draining) throw new Refusal('draining');
    const { principal } = caller;
    if (principal === undefined) throw new Refusal('sessionNotFound');
    return this.#adopter.adopt(session, { ...caller, principal });
  }

  /** Whether the session is open here, or on any node. */
  async #isOpen(exchange: Exchange, sessionId: string): Promise<boolean> {
    if (this.#findLocal(exchange, sessionId) !== undefined) return true;
    return this.#forwarding !== undefined && (await this.#restorer.knows(sessionId, exchange.principal));
  }

  async #endStream({ record, transport }: Session): Promise<void> {
    // What fails is tried again when the session is closed, and told of then.
    await record?.flush().catch(() => undefined);
    transport?.stopStandalone('draining');
  }

  async #initialize(exchange: Exchange, call: Initialize, body: unknown, form: ReplyForm): Promise<void> {
    const { sessionId } = exchange;
    if (sessionId !== undefined && (await this.#isOpen(exchange, sessionId))) throw new Refusal('alreadyInitialized');
    const found = await this.#counted(this.#forward(exchange, undefined, { body, messages: [call.message] }));
    if (found === 'answered') return;
    await initialize(this.#opener, this.#events, exchange, call, form);
  }
}

type Messages = Extract<Classified, { kind: 'messages' }>;

type SessionAction = (transport: HttpTransport, session: Session, lease: Lease) => Promise<void>;

/** How long nothing must have come until a node of a cluster that drains counts as withdrawn from, in ms. */
const QUIET_BEFORE_STOP = 1_000;

function requiredSessionId(exchange: Exchange): string {
  const { sessionId } = exchange;
  if (sessionId === undefined) throw new Refusal('sessionRequired');
  exchange.note({ session: sessionId });
  return sessionId;
}
