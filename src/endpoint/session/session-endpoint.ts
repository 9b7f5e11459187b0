import { setImmediate as endOfTurn } from 'node:timers/promises';
import type { JSONRPCMessage } from '../../protocol/messages.js';
import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION } from '../../protocol/session-era.js';
import { Refusal } from '../../errors.js';
import type { CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { Adopter } from '../../sessions/life/adopt.js';
import type { MayUse } from '../../sessions/access.js';
import type { ForwardingPort } from './forwarding-port.js';
import type { SessionParts } from '../../sessions/life/open.js';
import type { Registry } from '../../sessions/registry.js';
import type { Reissuer } from '../../sessions/life/reissue.js';
import type { Restorer } from '../../sessions/life/restore.js';
import type { Session } from '../../sessions/session.js';
import { replyEmpty } from '../../transport/response.js';
import { createAcceptCheck, streamFormOf } from '../../transport/reply-form.js';
import type { ArrivingBodies } from '../../http/arriving-bodies.js';
import { checkBatch, checkInitialize, type Initialize } from '../../http/classify.js';
import type { Endpoint } from '../endpoint.js';
import type { Exchange } from '../../http/exchange.js';
import type { Post } from '../../http/receive.js';
import { toForwardedRequest } from './forwarded-request.js';
import { initialize } from './initialize.js';
import { SessionLocator } from './locate.js';

/** The MCP endpoint of a router that keeps sessions. */
export class SessionEndpoint implements Endpoint {
  readonly methods = ['GET', 'POST', 'DELETE'];
  readonly #parts: SessionParts;
  readonly #locator: SessionLocator;
  readonly #reissuer: Reissuer | undefined;
  readonly #registry: Registry;
  readonly #forwarding: ForwardingPort | undefined;
  readonly #events: Emitter<CoreEvents>;
  readonly #arriving: Pick<ArrivingBodies, 'isNone' | 'whenNone'>;
  readonly #checkAccept = createAcceptCheck(streamFormOf);

  /**
   * @param reissuer - Undefined when stale sessions are only rejected.
   * @param forwarding - Undefined without a cluster.
   * @param arriving - The bodies of POSTs that are being read. A drain waits for them.
   */
  constructor(
    parts: SessionParts,
    restorer: Restorer,
    mayUse: MayUse,
    reissuer: Reissuer | undefined,
    forwarding: ForwardingPort | undefined,
    events: Emitter<CoreEvents>,
    arriving: Pick<ArrivingBodies, 'isNone' | 'whenNone'>,
  ) {
    this.#parts = parts;
    this.#reissuer = reissuer;
    this.#forwarding = forwarding;
    this.#registry = parts.registry;
    this.#locator = new SessionLocator({
      registry: parts.registry,
      restorer,
      adopter: new Adopter(parts, restorer),
      mayUse,
      forwarding,
    });
    this.#events = events;
    this.#arriving = arriving;
  }

  drain(): void {
    // Other nodes can take the sessions over at once. Without a cluster, the sessions stay here until the close.
    if (this.#forwarding !== undefined) for (const session of this.#registry.all()) this.#registry.handOff(session);
  }

  async idle(): Promise<void> {
    const { inFlight, clock } = this.#registry;
    do {
      await this.#arriving.whenNone();
      await inFlight.whenNone();
      // A POST acquires its lease within the turn of the event loop in which its body is complete.
      await endOfTurn();
    } while (!this.#arriving.isNone || !inFlight.isNone);
    // The load balancer sends requests until it notices the drain. This node still forwards them.
    const wait = this.#forwarding?.untilQuiet() ?? 0;
    if (wait <= 0) return;
    await new Promise<void>((resolve) => clock.setTimeout(resolve, wait));
    return this.idle();
  }

  async endStreams(): Promise<void> {
    await Promise.all(this.#registry.all().map((session) => this.#endStream(session)));
  }

  async close(): Promise<void> {
    this.drain();
    for (const session of this.#registry.all()) void this.#registry.close(session, 'shutdown');
    await this.#registry.closingSessions.settled();
  }

  async post(exchange: Exchange, post: Post): Promise<void> {
    if (post.initialize !== undefined) return this.#initialize(exchange, post, checkInitialize(post.initialize));
    const { messages, batch, form, memory } = post;
    const sessionId = requiredSessionId(exchange);
    for (;;) {
      const location =
        this.#locator.findReady(exchange, sessionId) ?? (await this.#locator.locate(exchange, sessionId, post));
      if (location.at === 'forwarded') return;
      if (location.at === 'gone') return this.#refuseUnknown(exchange, sessionId);
      const { session, lease } = location;
      try {
        const transport = session.transportFor(exchange.principal);
        exchange.checkedVersion();
        if (session.pastMaxLifetime && messages.some(isRequest)) throw new Refusal('sessionNotFound');
        checkBatch(post, transport.protocolVersion);
        const { res, extra, operations } = exchange;
        return await transport.post(res, messages, { batch, extra, form, memory, operations, lease });
      } catch (failure) {
        const error = this.#locator.errorOf(session, failure);
        lease.release();
        if (error !== undefined) throw error;
      }
      // This node released the session before a message was taken. Yield, so that its other leases can be released.
      await this.#yield();
    }
  }

  async get(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req.headers);
    const sessionId = requiredSessionId(exchange);
    while (!(await this.#tryGet(exchange, sessionId))) await this.#yield();
  }

  /** False when this node released the session before the stream was opened. */
  async #tryGet(exchange: Exchange, sessionId: string): Promise<boolean> {
    const location = this.#locator.findReady(exchange, sessionId) ?? (await this.#locator.locate(exchange, sessionId));
    if (location.at === 'forwarded') return true;
    if (location.at === 'gone') throw new Refusal('sessionNotFound');
    const { session, lease } = location;
    const { lastEventId } = exchange;
    try {
      const transport = session.transportFor(exchange.principal);
      exchange.checkedVersion();
      // A stream may be resumed to its end while this process drains. A new stream would delay the end of the drain.
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

  async delete(exchange: Exchange): Promise<void> {
    const outcome = await this.#locator.end(exchange, requiredSessionId(exchange));
    if (outcome === 'forwarded') return;
    if (outcome === 'gone') throw new Refusal('sessionNotFound');
    return replyEmpty(exchange.res, 200);
  }

  async #initialize(exchange: Exchange, post: Post, message: Initialize): Promise<void> {
    const { sessionId, res } = exchange;
    if (sessionId !== undefined && (await this.#locator.isOpen(exchange, sessionId)))
      throw new Refusal('alreadyInitialized');
    if (this.#forwarding !== undefined) {
      const forwarded = this.#forwarding.forward(toForwardedRequest(exchange, undefined, post), res);
      if ((await this.#registry.inFlight.during(forwarded)) === undefined) return;
    }
    await initialize(this.#parts, this.#events, exchange, message, post.form);
  }

  /** Refuses a POST for an unknown session. If stale sessions are reissued, the refusal names the new session. */
  async #refuseUnknown(exchange: Exchange, sessionId: string): Promise<never> {
    if (this.#reissuer !== undefined && !this.#registry.lifecycle.isDraining) {
      const version = exchange.checkedVersion() ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
      const reissued = this.#reissuer.reissue(sessionId, version, exchange.caller);
      const id = await this.#registry.inFlight.during(reissued);
      if (id !== undefined && !exchange.res.headersSent) exchange.res.setHeader('Mcp-Session-Id', id);
    }
    throw new Refusal('sessionNotFound');
  }

  #yield(): Promise<void> {
    return this.#registry.inFlight.during(endOfTurn());
  }

  async #endStream({ record, transport }: Session): Promise<void> {
    // A failed write is repeated when the session is closed, and is reported then.
    await record?.flush().catch(() => undefined);
    transport?.standalone.stop('draining');
  }
}

function isRequest(message: JSONRPCMessage): boolean {
  return 'method' in message && 'id' in message;
}

function requiredSessionId(exchange: Exchange): string {
  const { sessionId } = exchange;
  if (sessionId === undefined) throw new Refusal('sessionRequired');
  exchange.note({ session: sessionId });
  return sessionId;
}
