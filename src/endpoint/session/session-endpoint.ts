import { setImmediate as endOfTurn } from 'node:timers/promises';
import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION, type JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../../errors.js';
import type { CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { Adopter } from '../../sessions/life/adopt.js';
import type { AnswersTo } from '../../sessions/answers-to.js';
import type { ForwardingPort } from './forwarding-port.js';
import type { Opener } from '../../sessions/life/open.js';
import type { Registry } from '../../sessions/registry.js';
import type { Reissuer } from '../../sessions/life/reissue.js';
import type { Restorer } from '../../sessions/life/restore.js';
import type { Session } from '../../sessions/session.js';
import { replyEmpty } from '../../transport/reply-empty.js';
import type { ReplyForm } from '../../transport/reply-form.js';
import { createAcceptCheck } from '../../http/accept.js';
import type { BodyReader } from '../../http/body.js';
import { checkBatch, classify, idOf, methodOf, type Classified } from '../../http/classify.js';
import type { Endpoint } from '../endpoint.js';
import type { Exchange } from '../../http/exchange.js';
import { NO_BODY, toForwardedRequest } from './forwarded-request.js';
import { initialize, type Initialize } from './initialize.js';
import { SessionLocator } from './locate.js';

/** The MCP endpoint of a router that keeps sessions. */
export class SessionEndpoint implements Endpoint {
  readonly methods = ['GET', 'POST', 'DELETE'];
  readonly #opener: Opener;
  readonly #locator: SessionLocator;
  readonly #reissuer: Reissuer | undefined;
  readonly #registry: Registry;
  readonly #forwarding: ForwardingPort | undefined;
  readonly #events: Emitter<CoreEvents>;
  readonly #bodies: BodyReader;
  readonly #checkAccept = createAcceptCheck();
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
    this.#reissuer = reissuer;
    this.#forwarding = forwarding;
    this.#registry = opener.registry;
    this.#locator = new SessionLocator({
      registry: opener.registry,
      restorer,
      adopter: new Adopter(opener, restorer),
      answersTo,
      forwarding,
    });
    this.#events = events;
    this.#bodies = bodies;
  }

  handle(exchange: Exchange): Promise<void> {
    return this.#forwarding === undefined ? this.#serve(exchange) : this.#serveAsNode(exchange, this.#forwarding);
  }

  drain(): void {
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

  async #serveAsNode(exchange: Exchange, forwarding: ForwardingPort): Promise<void> {
    this.#lastRequest = this.#registry.clock.now();
    await forwarding.checkMember();
    await this.#serve(exchange);
  }

  #serve(exchange: Exchange): Promise<void> {
    switch (exchange.req.method) {
      case 'POST':
        return this.#post(exchange);
      case 'GET':
        return this.#counted(this.#get(exchange));
      case 'DELETE':
        return this.#counted(this.#delete(exchange));
      default:
        return Promise.reject(new Refusal('methodNotAllowed'));
    }
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
    const { messages, batch } = classified;
    const sessionId = requiredSessionId(exchange);
    for (;;) {
      const location =
        this.#locator.findReady(exchange, sessionId) ??
        (await this.#locator.locate(exchange, sessionId, { body, messages }));
      if (location.at === 'forwarded') return;
      if (location.at === 'gone') return this.#refuseUnknown(exchange, sessionId);
      const { session, lease } = location;
      try {
        const transport = this.#locator.transportOf(session, exchange);
        exchange.checkedVersion();
        if (session.pastMaxLifetime && messages.some(isRequest)) throw new Refusal('sessionNotFound');
        checkBatch(classified, transport.protocolVersion);
        return await transport.post(exchange.res, messages, { batch, extra: exchange.extra, form, lease });
      } catch (failure) {
        const error = this.#locator.errorOf(session, failure);
        lease.release();
        if (error !== undefined) throw error;
      }
      // The session left for another node before a message was taken. Yield, so that its other leases can be released.
      await endOfTurn();
    }
  }

  async #get(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req);
    const sessionId = requiredSessionId(exchange);
    while (!(await this.#tryGet(exchange, sessionId))) await endOfTurn();
  }

  /** False when the session left for another node before the stream was opened. */
  async #tryGet(exchange: Exchange, sessionId: string): Promise<boolean> {
    const location =
      this.#locator.findReady(exchange, sessionId) ?? (await this.#locator.locate(exchange, sessionId, NO_BODY));
    if (location.at === 'forwarded') return true;
    if (location.at === 'gone') throw new Refusal('sessionNotFound');
    const { session, lease } = location;
    const { lastEventId } = exchange;
    try {
      const transport = this.#locator.transportOf(session, exchange);
      exchange.checkedVersion();
      // A stream may be resumed to its end while this process drains. A new one would delay that end.
      if (this.#registry.lifecycle.isDraining && lastEventId === undefined && this.#forwarding === undefined)
        throw new Refusal('draining');
      await transport.get(exchange.res, lastEventId);
      return true;
    } catch (failure) {
      const error = this.#locator.errorOf(session, failure);
      if (error !== undefined) throw error;
      return false;
    } finally {
      lease.release();
    }
  }

  async #delete(exchange: Exchange): Promise<void> {
    const outcome = await this.#locator.end(exchange, requiredSessionId(exchange));
    if (outcome === 'forwarded') return;
    if (outcome === 'gone') throw new Refusal('sessionNotFound');
    return replyEmpty(exchange.res, 200);
  }

  async #initialize(exchange: Exchange, call: Initialize, body: unknown, form: ReplyForm): Promise<void> {
    const { sessionId, res } = exchange;
    if (sessionId !== undefined && (await this.#locator.isOpen(exchange, sessionId)))
      throw new Refusal('alreadyInitialized');
    if (this.#forwarding !== undefined) {
      const request = toForwardedRequest(exchange, undefined, { body, messages: [call.message] });
      const unowned = await this.#counted(this.#forwarding.forward(request, res));
      if (unowned === undefined) return;
    }
    await initialize(this.#opener, this.#events, exchange, call, form);
  }

  /** Has a drain wait for the work: as long as no session is found, the request has no lease to be waited for. */
  async #counted<T>(work: Promise<T>): Promise<T> {
    const { inFlight } = this.#registry;
    inFlight.begin();
    try {
      return await work;
    } finally {
      inFlight.end();
    }
  }

  /** Refuses a POST for a session that is nowhere. If stale sessions are reissued, the refusal names the new session. */
  async #refuseUnknown(exchange: Exchange, sessionId: string): Promise<never> {
    if (this.#reissuer !== undefined && !this.#registry.lifecycle.isDraining) {
      const version = exchange.checkedVersion() ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
      const id = await this.#reissuer.reissue(sessionId, version, exchange.caller);
      if (id !== undefined && !exchange.res.headersSent) exchange.res.setHeader('Mcp-Session-Id', id);
    }
    throw new Refusal('sessionNotFound');
  }

  async #endStream({ record, transport }: Session): Promise<void> {
    // What fails is tried again when the session is closed, and told of then.
    await record?.flush().catch(() => undefined);
    transport?.stopStandalone('draining');
  }
}

type Messages = Extract<Classified, { kind: 'messages' }>;

/** How long nothing must have come until a node of a cluster that drains counts as withdrawn from, in ms. */
const QUIET_BEFORE_STOP = 1_000;

function isRequest(message: JSONRPCMessage): boolean {
  return 'method' in message && 'id' in message;
}

function requiredSessionId(exchange: Exchange): string {
  const { sessionId } = exchange;
  if (sessionId === undefined) throw new Refusal('sessionRequired');
  exchange.note({ session: sessionId });
  return sessionId;
}
