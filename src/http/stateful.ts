import { Refusal } from '../errors.js';
import { REJECT_REASONS, type CoreEvents, type Events, type RejectReason } from '../events.js';
import { openSession, type Opener } from '../sessions/open.js';
import type { Registry } from '../sessions/registry.js';
import type { Session } from '../sessions/session.js';
import { replyEmpty } from '../transport/reply-empty.js';
import { Reply } from '../transport/reply.js';
import { createAcceptCheck } from './accept.js';
import { sendJson } from './answer.js';
import { readBody } from './body.js';
import { checkBatch, classify, idOf, methodOf, type Classified } from './classify.js';
import type { Endpoint } from './endpoint.js';
import type { Exchange } from './exchange.js';

type Initialize = Extract<Classified, { kind: 'initialize' }>;

/** The MCP endpoint of a router that keeps sessions. */
export class StatefulEndpoint implements Endpoint {
  readonly methods = ['GET', 'POST', 'DELETE'];
  readonly #opener: Opener;
  readonly #registry: Registry;
  readonly #events: Events<CoreEvents>;
  readonly #maxBodySize: number;
  readonly #checkAccept = createAcceptCheck();
  #draining = false;

  constructor(opener: Opener, events: Events<CoreEvents>, maxBodySize: number) {
    this.#opener = opener;
    this.#registry = opener.registry;
    this.#events = events;
    this.#maxBodySize = maxBodySize;
  }

  handle(exchange: Exchange): Promise<void> {
    switch (exchange.req.method) {
      case 'POST':
        return this.#post(exchange);
      case 'GET':
        return this.#get(exchange);
      case 'DELETE':
        return this.#delete(exchange);
      default:
        return Promise.reject(new Refusal('methodNotAllowed'));
    }
  }

  drain(): void {
    this.#draining = true;
    for (const session of this.#registry.all())
      if (session.opening === undefined) session.transport.stopStandalone('draining');
  }

  idle(): Promise<void> {
    return this.#registry.idle();
  }

  async close(): Promise<void> {
    this.#draining = true;
    for (const session of this.#registry.all()) void this.#registry.close(session, 'shutdown');
    await this.#registry.settled();
  }

  async #post(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req);
    const body = await readBody(exchange.req, this.#maxBodySize);
    exchange.id = idOf(body);
    const classified = classify(body);
    exchange.note({ method: methodOf(classified) });
    if (classified.kind === 'initialize') return this.#initialize(exchange, classified);

    const asks = classified.messages.some((message) => 'method' in message && 'id' in message);
    await this.#within(exchange, (session) => {
      if (session.retiring && asks) throw new Refusal('sessionNotFound');
      checkBatch(classified, session.transport.protocolVersion);
      return session.transport.post(exchange.res, classified.messages, {
        batch: classified.batch,
        extra: exchange.extra,
      });
    });
  }

  async #get(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req);
    const { lastEventId } = exchange;
    await this.#within(exchange, (session) => {
      // What was begun may be heard to its end; a new stream would hold up the end that it is for.
      if (this.#draining && lastEventId === undefined) throw new Refusal('draining');
      return session.transport.get(exchange.res, lastEventId);
    });
  }

  async #delete(exchange: Exchange): Promise<void> {
    await this.#within(exchange, (session) => {
      void this.#registry.close(session, 'deleted');
      return replyEmpty(exchange.res, 200);
    });
  }

  /** Does something with the session that the request names, which cannot end while it is done. */
  async #within(exchange: Exchange, act: (session: Session) => Promise<void>): Promise<void> {
    const { sessionId } = exchange;
    if (sessionId === undefined) throw new Refusal('sessionRequired');
    exchange.note({ session: sessionId });
    const session = this.#registry.get(sessionId);
    // Someone else's session is told from none by nothing at all.
    if (session === undefined || session.principal !== exchange.principal) throw new Refusal('sessionNotFound');

    session.hold();
    try {
      if (session.opening !== undefined) await session.opening.catch(() => undefined);
      if (session.state !== 'active') throw new Refusal('sessionNotFound');
      exchange.checkedVersion();
      await act(session);
    } finally {
      session.release();
    }
  }

  async #initialize(exchange: Exchange, { message, params }: Initialize): Promise<void> {
    const { res, principal, sessionId } = exchange;
    const named = sessionId === undefined ? undefined : this.#registry.get(sessionId);
    if (named !== undefined && named.principal === principal) throw new Refusal('alreadyInitialized');

    const { session, answer } = await this.#open(exchange, { message, params });
    if (session === undefined) {
      sendJson(res, 200, answer);
      return;
    }
    exchange.note({ session: session.id });
    const reply = new Reply(res, 'request', session.transport, {
      // A client that did not get its session ID can never come back for the session.
      replyClosed: (_, complete) => {
        if (!complete) void this.#registry.close(session, 'failed');
      },
    });
    if (this.#opener.transports.enableJsonResponse) reply.json(JSON.stringify(answer));
    else reply.lastEvent(JSON.stringify(answer));
  }

  async #open(exchange: Exchange, { message, params }: Pick<Initialize, 'message' | 'params'>) {
    const { req, res, principal } = exchange;
    try {
      if (this.#draining) throw new Refusal('draining');
      return await openSession(this.#opener, {
        message,
        params,
        principal,
        extra: exchange.extra,
        req: { headers: req.headers, auth: req.auth },
        onGone: (listener) => res.once('close', listener),
      });
    } catch (error) {
      const reason = rejectReason(error);
      if (!res.destroyed && reason !== undefined) this.#events.emit('rejected', reason);
      throw error;
    }
  }
}

/** Undefined when it was not refused, but given up by the app. */
function rejectReason(error: unknown): RejectReason | undefined {
  return error instanceof Refusal ? REJECT_REASONS.find((reason) => reason === error.reason) : 'internalError';
}
