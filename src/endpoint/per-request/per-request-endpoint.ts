import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest } from '../../protocol/messages.js';
import { Refusal } from '../../errors.js';
import type { Exchange } from '../../http/exchange.js';
import { checkRequest } from '../../http/per-request/check.js';
import type { Envelope } from '../../http/per-request/envelope.js';
import type { Post } from '../../http/receive.js';
import type { ResolvedPerRequest } from '../../options/resolve-per-request.js';
import { InFlight } from '../../runtime/in-flight.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import type { ServerBuilder } from '../../sessions/server/server-builder.js';
import { UnkeptState } from '../../sessions/records/app-state.js';
import { FactoryContext } from '../../sessions/server/server-context.js';
import { replyEmpty } from '../../transport/response.js';
import type { TransportContext } from '../../transport/transport-types.js';
import type { Endpoint } from '../endpoint.js';
import { toForwardedRequest } from '../session/forwarded-request.js';
import { BridgedServer } from './bridge/bridged-server.js';
import { BridgedCall, inputResponsesOf } from './bridge/call.js';
import { RequestServer } from './bridge/request-server.js';
import { nodeOfState, SuspendedCalls } from './bridge/suspended-calls.js';
import type { OtherNodes } from './other-nodes.js';
import { Replies, type RoundTaker } from './replies.js';
import { Results } from './results.js';
import { OpenSubscriptions } from './subscriptions/open-subscriptions.js';

/** What servers of the session era answer, and MCP 2026-07-28 does not have (changelog). */
const REMOVED_METHODS = /^(initialize|ping|logging\/setLevel|resources\/(un)?subscribe|tasks\/.*)$/;

/** The endpoint of MCP 2026-07-28. A server is built for each request, and serves it through the bridge. */
export class PerRequestEndpoint implements Endpoint {
  readonly methods = ['POST'];
  readonly #builder: ServerBuilder;
  readonly #lifecycle: Lifecycle;
  readonly #events: TransportContext['events'];
  readonly #results: Results;
  readonly #inFlight = new InFlight();
  /** Retries that other nodes answer. */
  readonly #forwarded = new InFlight();
  readonly #others: OtherNodes | undefined;
  readonly #replies: Replies;
  readonly #suspended: SuspendedCalls<BridgedCall>;
  readonly #subscriptions: OpenSubscriptions;
  readonly #servers = new Set<RequestServer>();
  readonly #calls = new Set<BridgedCall>();
  /** Servers keep maps by session ID, so no client may have that of another principal. */
  readonly #sessionKey = randomBytes(32);

  /** @param others - Undefined without a cluster. */
  constructor(
    builder: ServerBuilder,
    transports: TransportContext,
    lifecycle: Lifecycle,
    options: ResolvedPerRequest,
    others: OtherNodes | undefined,
  ) {
    this.#others = others;
    this.#builder = builder;
    this.#lifecycle = lifecycle;
    this.#events = transports.events;
    this.#results = new Results(options.cacheHints);
    this.#replies = new Replies(transports, this.#inFlight);
    this.#suspended = new SuspendedCalls(
      options,
      transports.clock,
      (call) => call.cancel('No answer came in time'),
      others && (() => others.nodeId),
    );
    this.#subscriptions = new OpenSubscriptions(
      transports,
      this.#results,
      {
        total: options.maxSubscriptions,
        perPrincipal: options.maxSubscriptionsPerPrincipal,
        anonymous: options.maxSubscriptionsAnonymous,
      },
      (...init) => this.#newServer(...init),
    );
  }

  async post(exchange: Exchange, post: Post): Promise<void> {
    const [message] = post.messages;
    if (!isRequest(message)) return replyEmpty(exchange.res, 202);
    const envelope = checkRequest(message, exchange.req.headers);
    if (REMOVED_METHODS.test(message.method)) throw new Refusal('methodNotFound');
    if (message.params?.requestState !== undefined) return this.#resume(exchange, post, message, envelope);
    if (this.#lifecycle.isDraining) throw new Refusal('draining');
    if (message.method === 'subscriptions/listen') {
      return this.#inFlight.during(this.#subscriptions.listen(exchange, post, message, envelope));
    }
    const begin = await this.#inFlight.during(this.#open(exchange, message, envelope));
    return this.#replies.post(exchange, post, message, envelope, begin);
  }

  drain(): void {
    // The phase alone refuses new requests. Suspended calls go on.
  }

  async idle(): Promise<void> {
    await Promise.all([this.#inFlight.whenNone(), this.#forwarded.whenNone()]);
  }

  /** Tells the subscriptions of a principal on this node what a server of another node announced. */
  announced(principal: string | undefined, notification: JSONRPCNotification): void {
    this.#subscriptions.announce(principal, notification);
  }

  endStreams(): Promise<void> {
    this.#subscriptions.endAll();
    return Promise.resolve();
  }

  async close(): Promise<void> {
    // What other nodes answer ends when this node leaves the cluster.
    const idle = this.#inFlight.whenNone();
    this.#subscriptions.endAll();
    this.#replies.close();
    for (const call of this.#calls) call.cancel('The router closes');
    for (const server of this.#servers) server.abandon(new Refusal('draining'));
    await Promise.all([idle, this.#subscriptions.closed()]);
  }

  /** Opens a server for a request. What it resolves to begins the request, once there is a reply. */
  async #open(exchange: Exchange, request: JSONRPCRequest, envelope: Envelope): Promise<RoundTaker> {
    const { res, req, extra, principal } = exchange;
    const server = this.#newServer(exchange, envelope, this.#inFlight);
    const hangUp = (): void => server.abandon(new Refusal('sessionClosed'));
    res.once('close', hangUp);
    const facts = await server.open({ request, envelope, headers: req.headers, extra });
    res.off('close', hangUp);
    if (request.method === 'server/discover') {
      return (round) => {
        round.end({ result: this.#results.discovery(facts) });
        server.close();
        return { cancelled: () => undefined };
      };
    }
    return (round, messageExtra) => {
      const call = new BridgedCall(
        {
          request,
          principal,
          server: server.bridge,
          facts,
          results: this.#results,
          suspended: this.#suspended,
          announce: (notification) => {
            this.#subscriptions.announce(principal, notification);
            this.#others?.announce(principal, notification);
          },
          onServed: () => server.close(),
          onEnd: () => this.#calls.delete(call),
        },
        round,
      );
      this.#calls.add(call);
      call.begin(messageExtra);
      return call;
    };
  }

  async #resume(exchange: Exchange, post: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    const state = request.params?.requestState;
    const found = this.#suspended.find(state, exchange.principal);
    if (found === undefined && (await this.#forwarded.during(this.#forward(exchange, post, state)))) return;
    if (found?.call.isFor(request) !== true) throw new Refusal('invalidRequestState');
    const { call, round: number } = found;
    await this.#replies.post(exchange, post, request, envelope, (round) => {
      const resumed = call.resume(round, number, inputResponsesOf(request));
      if (!resumed) round.end(new Refusal('invalidRequestState'));
      return call;
    });
  }

  /** Has the node that a state names answer. Resolves to false where none is to be asked: nothing was answered then. */
  async #forward(exchange: Exchange, post: Post, state: unknown): Promise<boolean> {
    const nodeId = nodeOfState(state);
    // One hop at most.
    if (this.#others === undefined || nodeId === undefined || exchange.forwarded) return false;
    return this.#others.forwardTo(nodeId, toForwardedRequest(exchange, undefined, post), exchange.res);
  }

  /** @param servers - Counts the server until it is closed. */
  #newServer(
    { principal, req }: Exchange,
    { clientInfo, clientCapabilities }: Envelope,
    servers: InFlight,
  ): RequestServer {
    const context = new FactoryContext({
      era: 'request',
      sessionId: undefined,
      principal,
      req: { headers: req.headers, auth: req.auth },
      clientInfo,
      clientCapabilities,
      restored: false,
      epoch: 0,
      state: new UnkeptState(),
    });
    const bridge = new BridgedServer(this.#sessionIdOf(principal), (what, error) =>
      this.#events.emit('failure', what, error),
    );
    const server = new RequestServer(bridge, this.#builder, context, () => {
      this.#servers.delete(server);
      servers.end();
    });
    this.#servers.add(server);
    servers.begin();
    return server;
  }

  #sessionIdOf(principal: string | undefined): string {
    if (principal === undefined) return randomUUID();
    return createHmac('sha256', this.#sessionKey).update(principal).digest('base64url');
  }
}

function isRequest(message: JSONRPCMessage | undefined): message is JSONRPCRequest {
  return message !== undefined && 'method' in message && 'id' in message;
}
