import { setImmediate as endOfTurn } from 'node:timers/promises';
import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import type { CoreEvents, Events } from '../events.js';
import { Adopter } from '../sessions/adopt.js';
import type { AnswersTo } from '../sessions/answers-to.js';
import { Overtaken, type Elsewhere, type Unowned } from '../sessions/elsewhere.js';
import type { Opener } from '../sessions/open.js';
import type { Registry } from '../sessions/registry.js';
import type { Reissuer } from '../sessions/reissue.js';
import type { Restorer } from '../sessions/restore.js';
import type { Session } from '../sessions/session.js';
import type { HttpTransport } from '../transport/transport.js';
import { replyEmpty } from '../transport/reply-empty.js';
import type { ReplyForm } from '../transport/reply-form.js';
import { createAcceptCheck } from './accept.js';
import type { BodyReader } from './body.js';
import { checkBatch, classify, idOf, methodOf, type Classified } from './classify.js';
import type { Endpoint } from './endpoint.js';
import type { Exchange } from './exchange.js';
import { handingOver, Left, NOTHING, type Said } from './handed-over.js';
import { initialize, type Initialize } from './initialize.js';

/** The MCP endpoint of a router that keeps sessions. */
export class StatefulEndpoint implements Endpoint {
  readonly methods = ['GET', 'POST', 'DELETE'];
  readonly #opener: Opener;
  readonly #restorer: Restorer;
  readonly #adopter: Adopter;
  readonly #answersTo: AnswersTo;
  readonly #reissuer: Reissuer | undefined;
  readonly #registry: Registry;
  readonly #elsewhere: Elsewhere | undefined;
  readonly #events: Events<CoreEvents>;
  readonly #bodies: BodyReader;
  readonly #checkAccept = createAcceptCheck();
  #draining = false;
  /** When a request last came, or it was told to drain, by the router's clock. */
  #lastRequest = -Infinity;

  /**
   * @param reissuer - Undefined where stale sessions are only rejected.
   * @param elsewhere - Undefined where there are no other nodes.
   */
  constructor(
    opener: Opener,
    restorer: Restorer,
    answersTo: AnswersTo,
    reissuer: Reissuer | undefined,
    elsewhere: Elsewhere | undefined,
    events: Events<CoreEvents>,
    bodies: BodyReader,
  ) {
    this.#opener = opener;
    this.#restorer = restorer;
    this.#adopter = new Adopter(opener, restorer);
    this.#answersTo = answersTo;
    this.#reissuer = reissuer;
    this.#elsewhere = elsewhere;
    this.#registry = opener.registry;
    this.#events = events;
    this.#bodies = bodies;
  }

  async handle(exchange: Exchange): Promise<void> {
    if (this.#elsewhere !== undefined) {
      this.#lastRequest = this.#registry.clock.now();
      await this.#elsewhere.checkMember();
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
    if (this.#elsewhere !== undefined) for (const session of this.#registry.all()) this.#registry.letGo(session);
  }

  async idle(): Promise<void> {
    const { underWay, clock } = this.#registry;
    await underWay.none();
    if (this.#elsewhere === undefined) return;
    // Until its balancer has noticed that it stops, what comes is handed over.
    const quietIn = this.#lastRequest + QUIET - clock.now();
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
    await this.#registry.ending.settled();
  }

  async #post(exchange: Exchange): Promise<void> {
    const form = this.#checkAccept(exchange.req);
    let initialize: { call: Initialize; body: unknown };
    const { underWay } = this.#registry;
    // A drain waits for this body: between its arrival and the request's begin, the count must not be zero.
    underWay.begin();
    try {
      const body = await this.#bodies.read(exchange.req);
      exchange.id = idOf(body);
      const classified = classify(body);
      exchange.note({ method: methodOf(classified) });
      if (classified.kind === 'messages') return await this.#messages(exchange, classified, body, form);
      initialize = { call: classified, body };
    } finally {
      underWay.end();
    }
    await this.#initialize(exchange, initialize.call, initialize.body, form);
  }

  async #messages(exchange: Exchange, classified: Messages, body: unknown, form: ReplyForm): Promise<void> {
    const { messages } = classified;
    const asks = messages.some((message) => 'method' in message && 'id' in message);
    await this.#within(exchange, { body, messages }, (transport, session) => {
      if (session.retiring && asks) throw new Refusal('sessionNotFound');
      checkBatch(classified, transport.protocolVersion);
      return transport.post(exchange.res, messages, {
        batch: classified.batch,
        extra: exchange.extra,
        form,
      });
    });
  }

  async #get(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req);
    const { lastEventId } = exchange;
    await this.#within(exchange, NOTHING, (transport) => {
      // What was begun may be heard to its end; a new stream would hold up the end that it is for.
      if (this.#draining && lastEventId === undefined && this.#elsewhere === undefined) throw new Refusal('draining');
      return transport.get(exchange.res, lastEventId);
    });
  }

  async #delete(exchange: Exchange): Promise<void> {
    const sessionId = required(exchange);
    const session = this.#here(exchange, sessionId);
    try {
      if (session === undefined) {
        const found = await this.#handOver(exchange, sessionId, NOTHING);
        if (found === 'answered') return;
        if (!(await this.#restorer.discard(sessionId, exchange.principal, found))) throw new Refusal('sessionNotFound');
      } else {
        await this.#held(session, exchange, async () => {
          exchange.checkedVersion();
          await this.#registry.terminate(session);
        });
      }
    } catch (error) {
      if (!(error instanceof Left || error instanceof Overtaken)) throw error;
      await endOfTurn();
      return this.#delete(exchange);
    }
    return replyEmpty(exchange.res, 200);
  }

  /** Does something with the session that the request names, which cannot end while it is done. */
  async #within(exchange: Exchange, said: Said, act: Act): Promise<void> {
    const { underWay } = this.#registry;
    // Whoever waits for a session's record holds no session yet.
    underWay.begin();
    try {
      // In a turn of its own, each time: whoever holds the session meanwhile must come to let go of it.
      while (await this.#left(exchange, said, act)) await endOfTurn();
    } finally {
      underWay.end();
    }
  }

  /** Whether the session left for another node before anything was done with it. */
  async #left(exchange: Exchange, said: Said, act: Act): Promise<boolean> {
    const sessionId = required(exchange);
    try {
      const session = this.#here(exchange, sessionId) ?? (await this.#locate(exchange, sessionId, said));
      if (session === undefined) return false;
      await this.#held(session, exchange, async () => {
        if (session.principal !== exchange.principal) await this.#adopt(session, exchange);
        else if (session.state === 'hibernated') await this.#wake(session, exchange);
        // Meanwhile it may have ended, or another principal may have adopted it.
        const { state, transport, principal } = session;
        if (state !== 'active' || transport === undefined || principal !== exchange.principal)
          throw new Refusal('sessionNotFound');
        exchange.checkedVersion();
        await act(transport, session);
      });
      return false;
    } catch (error) {
      if (error instanceof Left || error instanceof Overtaken) return true;
      throw error;
    }
  }

  /** Waits for a session that is being opened, restored or woken; it is leased meanwhile, and while something is done with it. */
  async #held(session: Session, { principal }: Exchange, act: () => Promise<void>): Promise<void> {
    session.hold();
    let begun = false;
    try {
      while (session.opening !== undefined) await session.opening;
      if (session.silenced) throw new Refusal('storeUnavailable');
      if (session.state === 'closing' || session.state === 'closed') throw new Refusal('sessionNotFound');
      if (!this.#answersTo(session.principal, principal)) throw new Refusal('sessionNotFound');
      begun = true;
      await act();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // Another node may own it by now, and knows better. Where something was begun, the reply is not free any more.
      if (session.silenced && session.lost && !begun) throw new Left();
      if (session.silenced) throw new Refusal('storeUnavailable', { cause: error });
      const gone = error.reason === 'sessionNotFound';
      if (!gone || !session.stored || !(this.#draining || session.leaving)) throw error;
      // It ends here because this process does, or another node asked for it, and the next one has it.
      if (this.#elsewhere === undefined) throw new Refusal('draining');
      // Whoever is refused by a session that is here would only come back to it.
      throw this.#registry.get(session.id) === session ? error : new Left();
    } finally {
      session.release();
    }
  }

  /** A session that was not here; undefined when another node answers. */
  async #locate(exchange: Exchange, sessionId: string, said: Said): Promise<Session | undefined> {
    const found = await this.#handOver(exchange, sessionId, said);
    if (found === 'answered') return undefined;
    const session = this.#here(exchange, sessionId) ?? (await this.#restore(exchange, sessionId, found));
    if (session !== undefined) return session;
    if (this.#reissuer !== undefined && exchange.req.method === 'POST' && !this.#draining) {
      const version = exchange.checkedVersion() ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
      const id = await this.#reissuer.reissue(sessionId, version, exchange.caller);
      if (id !== undefined && !exchange.res.headersSent) exchange.res.setHeader('Mcp-Session-Id', id);
    }
    throw new Refusal('sessionNotFound');
  }

  /** Someone else's session is told from none by nothing at all. */
  #here({ principal }: Exchange, sessionId: string): Session | undefined {
    const session = this.#registry.get(sessionId);
    return session !== undefined && this.#answersTo(session.principal, principal) ? session : undefined;
  }

  /** Has another node answer, if one owns the session; undefined where there are no other nodes. */
  async #handOver(
    exchange: Exchange,
    sessionId: string | undefined,
    said: Said,
  ): Promise<'answered' | Unowned | undefined> {
    if (this.#elsewhere === undefined) return undefined;
    if (sessionId !== undefined && !this.#restorer.mayRestore(sessionId)) return { record: undefined };
    const { underWay } = this.#registry;
    underWay.begin();
    try {
      const request = handingOver(exchange, sessionId, said);
      return (await this.#elsewhere.handOver(request, exchange.res)) ?? 'answered';
    } finally {
      underWay.end();
    }
  }

  #restore(exchange: Exchange, sessionId: string, unowned?: Unowned): Promise<Session | undefined> {
    if (!this.#restorer.mayRestore(sessionId)) return Promise.resolve(undefined);
    // Whoever comes after this process can restore it.
    if (this.#draining) throw new Refusal('draining');
    return this.#restorer.restore(sessionId, exchange.caller, unowned);
  }

  #wake(session: Session, exchange: Exchange): Promise<void> {
    if (this.#draining) throw this.#elsewhere === undefined ? new Refusal('draining') : new Left();
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
    if (this.#here(exchange, sessionId) !== undefined) return true;
    return this.#elsewhere !== undefined && (await this.#restorer.knows(sessionId, exchange.principal));
  }

  async #endStream({ record, transport }: Session): Promise<void> {
    // What fails is tried again when the session is closed, and told of then.
    await record?.flush().catch(() => undefined);
    transport?.stopStandalone('draining');
  }

  async #initialize(exchange: Exchange, call: Initialize, body: unknown, form: ReplyForm): Promise<void> {
    const { sessionId } = exchange;
    if (sessionId !== undefined && (await this.#isOpen(exchange, sessionId))) throw new Refusal('alreadyInitialized');
    const found = await this.#handOver(exchange, undefined, { body, messages: [call.message] });
    if (found === 'answered') return;
    await initialize(this.#opener, this.#events, exchange, call, form);
  }
}

type Messages = Extract<Classified, { kind: 'messages' }>;

type Act = (transport: HttpTransport, session: Session) => Promise<void>;

/** How long nothing must have come until a node of a cluster that drains counts as withdrawn from, in ms. */
const QUIET = 1_000;

function required(exchange: Exchange): string {
  const { sessionId } = exchange;
  if (sessionId === undefined) throw new Refusal('sessionRequired');
  exchange.note({ session: sessionId });
  return sessionId;
}
