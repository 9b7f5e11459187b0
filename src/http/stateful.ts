import { DEFAULT_NEGOTIATED_PROTOCOL_VERSION } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import { rejectReason, type CoreEvents, type Events } from '../events.js';
import { openSession, type Caller, type Opened, type Opener } from '../sessions/open.js';
import type { Registry } from '../sessions/registry.js';
import type { Reissuer } from '../sessions/reissue.js';
import type { Restorer } from '../sessions/restore.js';
import type { Session } from '../sessions/session.js';
import type { HttpTransport } from '../transport/transport.js';
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
  readonly #restorer: Restorer;
  readonly #reissuer: Reissuer | undefined;
  readonly #registry: Registry;
  readonly #events: Events<CoreEvents>;
  readonly #maxBodySize: number;
  readonly #checkAccept = createAcceptCheck();
  #draining = false;

  /** @param reissuer - Undefined where stale sessions are only rejected. */
  constructor(
    opener: Opener,
    restorer: Restorer,
    reissuer: Reissuer | undefined,
    events: Events<CoreEvents>,
    maxBodySize: number,
  ) {
    this.#opener = opener;
    this.#restorer = restorer;
    this.#reissuer = reissuer;
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
    this.#registry.stop();
  }

  idle(): Promise<void> {
    return this.#registry.underWay.none();
  }

  async endStreams(): Promise<void> {
    await Promise.all(this.#registry.all().map((session) => this.#endStream(session)));
  }

  async close(): Promise<void> {
    this.drain();
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
    await this.#within(exchange, (transport, session) => {
      if (session.retiring && asks) throw new Refusal('sessionNotFound');
      checkBatch(classified, transport.protocolVersion);
      return transport.post(exchange.res, classified.messages, {
        batch: classified.batch,
        extra: exchange.extra,
      });
    });
  }

  async #get(exchange: Exchange): Promise<void> {
    this.#checkAccept(exchange.req);
    const { lastEventId } = exchange;
    await this.#within(exchange, (transport) => {
      // What was begun may be heard to its end; a new stream would hold up the end that it is for.
      if (this.#draining && lastEventId === undefined) throw new Refusal('draining');
      return transport.get(exchange.res, lastEventId);
    });
  }

  async #delete(exchange: Exchange): Promise<void> {
    const sessionId = required(exchange);
    const session = this.#here(exchange, sessionId);
    if (session !== undefined) {
      await this.#held(session, async () => {
        exchange.checkedVersion();
        await this.#registry.terminate(session);
      });
    } else if (!(await this.#restorer.discard(sessionId, exchange.principal))) {
      throw new Refusal('sessionNotFound');
    }
    return replyEmpty(exchange.res, 200);
  }

  /** Does something with the session that the request names, which cannot end while it is done. */
  async #within(exchange: Exchange, act: (transport: HttpTransport, session: Session) => Promise<void>): Promise<void> {
    const { underWay } = this.#registry;
    // Whoever waits for a session's record holds no session yet.
    underWay.begin();
    try {
      const session = await this.#locate(exchange);
      await this.#held(session, async () => {
        if (session.state === 'hibernated') await this.#wake(session, exchange);
        if (session.state !== 'active' || session.transport === undefined) throw new Refusal('sessionNotFound');
        exchange.checkedVersion();
        await act(session.transport, session);
      });
    } finally {
      underWay.end();
    }
  }

  /** Waits for a session that is being opened, restored or woken; it is leased meanwhile, and while something is done with it. */
  async #held(session: Session, act: () => Promise<void>): Promise<void> {
    session.hold();
    try {
      if (session.opening !== undefined) await session.opening;
      if (session.state === 'closing' || session.state === 'closed') throw new Refusal('sessionNotFound');
      await act();
    } catch (error) {
      const gone = error instanceof Refusal && error.reason === 'sessionNotFound';
      // It ends here because this process does, and the next one has it.
      throw gone && this.#draining && session.stored ? new Refusal('draining') : error;
    } finally {
      session.release();
    }
  }

  async #locate(exchange: Exchange): Promise<Session> {
    const sessionId = required(exchange);
    const session = this.#here(exchange, sessionId) ?? (await this.#restore(exchange, sessionId));
    if (session !== undefined) return session;
    if (this.#reissuer !== undefined && exchange.req.method === 'POST' && !this.#draining) {
      const version = exchange.checkedVersion() ?? DEFAULT_NEGOTIATED_PROTOCOL_VERSION;
      const id = await this.#reissuer.reissue(sessionId, version, callerOf(exchange));
      if (id !== undefined && !exchange.res.headersSent) exchange.res.setHeader('Mcp-Session-Id', id);
    }
    throw new Refusal('sessionNotFound');
  }

  /** Someone else's session is told from none by nothing at all. */
  #here({ principal }: Exchange, sessionId: string): Session | undefined {
    const session = this.#registry.get(sessionId);
    return session?.principal === principal ? session : undefined;
  }

  #restore(exchange: Exchange, sessionId: string): Promise<Session | undefined> {
    if (!this.#restorer.mayRestore(sessionId)) return Promise.resolve(undefined);
    // Whoever comes after this process can restore it.
    if (this.#draining) throw new Refusal('draining');
    return this.#restorer.restore(sessionId, callerOf(exchange));
  }

  #wake(session: Session, exchange: Exchange): Promise<void> {
    if (this.#draining) throw new Refusal('draining');
    return this.#restorer.wake(session, callerOf(exchange));
  }

  async #endStream({ record, transport }: Session): Promise<void> {
    // What fails is tried again when the session is closed, and told of then.
    await record?.flush().catch(() => undefined);
    transport?.stopStandalone('draining');
  }

  async #initialize(exchange: Exchange, { message, params }: Initialize): Promise<void> {
    const { res, principal, sessionId } = exchange;
    const named = sessionId === undefined ? undefined : this.#registry.get(sessionId);
    if (named !== undefined && named.principal === principal) throw new Refusal('alreadyInitialized');

    const opened = await this.#open(exchange, { message, params });
    const { session, answer } = opened;
    if (session === undefined) return sendJson(res, 200, answer);
    exchange.note({ session: session.id });
    const reply = new Reply(res, 'request', opened.transport, {
      // A client that did not get its session ID can never come back for the session.
      replyClosed: (_, complete) => {
        if (!complete) void this.#registry.close(session, 'failed');
      },
    });
    if (this.#opener.transports.enableJsonResponse) reply.json(JSON.stringify(answer));
    else reply.lastEvent(JSON.stringify(answer));
  }

  async #open(exchange: Exchange, { message, params }: Pick<Initialize, 'message' | 'params'>): Promise<Opened> {
    const { res } = exchange;
    try {
      if (this.#draining) throw new Refusal('draining');
      return await openSession(this.#opener, {
        ...callerOf(exchange),
        message,
        params,
        onGone: (listener) => res.once('close', listener),
      });
    } catch (error) {
      const reason = rejectReason(error);
      if (!res.destroyed && reason !== undefined) this.#events.emit('rejected', reason);
      throw error;
    }
  }
}

function required(exchange: Exchange): string {
  const { sessionId } = exchange;
  if (sessionId === undefined) throw new Refusal('sessionRequired');
  exchange.note({ session: sessionId });
  return sessionId;
}

function callerOf({ req, principal, extra }: Exchange): Caller {
  return { principal, extra, req: { headers: req.headers, auth: req.auth } };
}
