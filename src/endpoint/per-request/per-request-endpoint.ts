import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest } from '../../protocol/messages.js';
import { Refusal } from '../../errors.js';
import type { Exchange } from '../../http/exchange.js';
import { checkRequest } from '../../http/per-request/check.js';
import type { Envelope } from '../../http/per-request/envelope.js';
import type { Post } from '../../http/receive.js';
import type { ResolvedPerRequest } from '../../options/resolve-per-request.js';
import { runIn, type Operation } from '../../options/telemetry.js';
import { inTime } from '../../runtime/clock.js';
import { InFlight } from '../../runtime/in-flight.js';
import { LinkedList } from '../../runtime/linked-list.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import type { PrincipalStates } from '../../sessions/records/principal-state.js';
import type { ServerBuilder } from '../../sessions/server/server-builder.js';
import { replyEmpty } from '../../transport/response.js';
import type { TransportContext } from '../../transport/transport-types.js';
import type { Endpoint } from '../endpoint.js';
import { toForwardedRequest } from '../session/forwarded-request.js';
import { BridgedCall, inputResponsesOf } from './bridge/call.js';
import type { OpeningCall, RequestServer } from './bridge/request-server.js';
import { nodeOfState, SuspendedCalls } from './bridge/suspended-calls.js';
import { RequestServers } from './request-servers.js';
import type { OpenCall } from './bridge/round.js';
import { NativeCall } from './native/native-call.js';
import type { OtherNodes } from './other-nodes.js';
import { Replies, type RoundTaker } from './replies.js';
import { Results, type ServerFacts } from './results.js';
import type { ServerLease } from './server-pool.js';
import { keptMemory } from './shares.js';
import { asksForList, isAnnouncement } from './subscriptions/filter.js';
import { OpenSubscriptions } from './subscriptions/open-subscriptions.js';
import type { Subscription } from './subscriptions/subscription.js';

/** Methods of the session era that MCP 2026-07-28 has removed (changelog). Bridged servers would answer them. */
const REMOVED_METHODS = /^(initialize|ping|logging\/setLevel|resources\/(un)?subscribe|tasks\/.*)$/;

/** The endpoint of MCP 2026-07-28. Servers of the session era answer its requests through the bridge, others by themselves. */
export class PerRequestEndpoint implements Endpoint {
  readonly methods = ['POST'];
  readonly #transports: TransportContext;
  readonly #lifecycle: Lifecycle;
  readonly #openTimeout: number;
  /** Whether servers may serve MCP 2026-07-28 themselves. */
  readonly #hasNatives: boolean;
  readonly #results: Results;
  readonly #inFlight = new InFlight();
  /** Retries that other nodes answer. */
  readonly #forwarded = new InFlight();
  readonly #others: OtherNodes | undefined;
  readonly #replies: Replies;
  readonly #suspended: SuspendedCalls<BridgedCall>;
  readonly #servers: RequestServers;
  readonly #subscriptions: OpenSubscriptions;
  readonly #calls = new LinkedList<OpenCall>();

  /** @param others - Undefined without a cluster. */
  constructor(
    builder: ServerBuilder,
    transports: TransportContext,
    lifecycle: Lifecycle,
    options: ResolvedPerRequest,
    states: PrincipalStates,
    others: OtherNodes | undefined,
  ) {
    this.#others = others;
    this.#transports = { ...transports, era: 'request' };
    this.#lifecycle = lifecycle;
    this.#openTimeout = builder.openTimeout;
    this.#hasNatives = options.sdk !== undefined;
    this.#results = new Results(options.cacheHints);
    this.#replies = new Replies(this.#transports, this.#inFlight);
    this.#suspended = new SuspendedCalls(
      { ...options, memory: keptMemory(transports.requestMemory.limit) },
      transports.clock,
      (call) => call.cancel('No answer came in time'),
      others && (() => others.nodeId),
    );
    this.#servers = new RequestServers(
      builder,
      transports,
      options,
      states,
      this.#inFlight,
      (...announced) => this.#announce(...announced),
      others?.sessionKey,
    );
    this.#subscriptions = new OpenSubscriptions(
      transports,
      this.#results,
      {
        total: options.maxSubscriptions,
        perPrincipal: options.maxSubscriptionsPerPrincipal,
        anonymous: options.maxSubscriptionsAnonymous,
      },
      (...call) => this.#servers.own(...call),
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
      return this.#listen(exchange, post, message, envelope);
    }
    return this.#begin(exchange, post, message, envelope);
  }

  stats(): { readonly suspended: number; readonly servers: number; readonly idle: number } {
    const { open, idle } = this.#servers.stats();
    return { suspended: this.#suspended.size, servers: open, idle };
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

  /** The open subscriptions of one principal, or of all. */
  streams(principal?: string): Subscription[] {
    return this.#subscriptions.streams(principal);
  }

  /** Ends the subscriptions of a principal on this node, and its calls, those that wait for its client included. */
  endPrincipal(principal: string): true {
    for (const stream of this.streams(principal)) stream.end();
    const calls: OpenCall[] = [];
    for (let call = this.#calls.first; call !== undefined; call = call.after) {
      if (call.principal === principal) calls.push(call);
    }
    for (const call of calls) call.cancel('The access was withdrawn');
    return true;
  }

  /** Does so on every node. Rejects when a node does not answer. */
  async endPrincipalEverywhere(principal: string): Promise<void> {
    this.endPrincipal(principal);
    await this.#others?.endPrincipal(principal);
  }

  endStreams(): Promise<void> {
    this.#subscriptions.endAll();
    return Promise.resolve();
  }

  async close(): Promise<void> {
    // A retry that another node answers ends when this node leaves the cluster.
    const idle = this.#inFlight.whenNone();
    this.#subscriptions.endAll();
    this.#replies.close();
    for (let { first } = this.#calls; first !== undefined; { first } = this.#calls) {
      this.#calls.delete(first);
      first.cancel('The router closes');
    }
    await Promise.all([idle, this.#servers.close(new Refusal('draining'))]);
  }

  /** For telemetry, the request ends when its stream has begun. */
  async #listen(exchange: Exchange, post: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    const operation = operationOf(exchange, request, envelope);
    const listen = (): Promise<void> => this.#subscriptions.listen(exchange, post, request, envelope);
    await this.#inFlight.during(runIn(operation, listen));
    operation?.end({ result: {} });
  }

  #begin(exchange: Exchange, post: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    const operation = operationOf(exchange, request, envelope);
    return runIn(operation, () => this.#serve(exchange, post, request, envelope));
  }

  /** Has a server answer a request. An open server gets it at once, unless the server must list its tools first. */
  async #serve(exchange: Exchange, post: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    let lease = this.#servers.acquire(exchange, envelope);
    try {
      const call = { request, envelope, headers: exchange.req.headers, extra: exchange.extra };
      let facts = lease.server.factsIfReady(call) ?? (await this.#open(exchange, post, lease.server, call));
      if (!this.#servers.mayServe(lease.server, envelope)) {
        lease.release();
        lease = this.#servers.acquire(exchange, envelope, true);
        facts = lease.server.factsIfReady(call) ?? (await this.#open(exchange, post, lease.server, call));
      }
      // The router made the states of bridged servers, and it has no such state.
      if (request.params?.requestState !== undefined && !lease.server.isNative)
        throw new Refusal('invalidRequestState');
      await this.#replies.post(exchange, post, request, envelope, this.#taker(exchange, post, request, lease, facts));
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /** Waits until a server is open, and has listed the tool that is called. */
  #open(exchange: Exchange, { memory }: Post, server: RequestServer, call: OpeningCall): Promise<ServerFacts> {
    return this.#transports.requestMemory.during(memory, () =>
      this.#whileWaitedFor(exchange, async (signal) => {
        const facts = await server.open(call);
        await server.checkArguments(call, signal);
        return facts;
      }),
    );
  }

  /**
   * Waits for the work of a server, until `openTimeout` is over or the client disconnects.
   *
   * @param work - Its signal aborts when the wait is over.
   */
  #whileWaitedFor<T>({ res }: Exchange, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock } = this.#transports;
    const wait = new AbortController();
    const waited = new Promise<T>((resolve, reject) => {
      const hangUp = (): void => reject(new Refusal('sessionClosed'));
      res.once('close', hangUp);
      inTime(clock, this.#openTimeout, work(wait.signal), () => new Refusal('openTimeout'))
        .finally(() => res.off('close', hangUp))
        .then(resolve, reject);
    });
    return waited.finally(() => wait.abort());
  }

  #taker(
    { principal }: Exchange,
    { memory }: Post,
    request: JSONRPCRequest,
    lease: ServerLease<RequestServer>,
    facts: ServerFacts,
  ): RoundTaker {
    const { bridge, isNative } = lease.server;
    if (request.method === 'server/discover' && !isNative) {
      return (round) => {
        round.end({ result: this.#results.discovery(facts) });
        lease.release();
        return { cancelled: () => undefined };
      };
    }
    return (round, messageExtra) => {
      const init = {
        request,
        principal,
        bridge,
        facts,
        results: this.#results,
        suspended: this.#suspended,
        announce: (notification: JSONRPCNotification) =>
          asksForList(request.method) ? undefined : this.#announce(principal, notification),
        report: (what: string, error: unknown) => this.#transports.events.emit('failure', what, error),
        telemetry: this.#transports.telemetry,
        memory,
        onServed: () => lease.release(),
        onEnd: () => call.list?.delete(call),
      };
      const call: OpenCall = isNative ? new NativeCall(init, round) : new BridgedCall(init, round);
      this.#calls.append(call);
      call.begin(messageExtra);
      return call;
    };
  }

  async #resume(exchange: Exchange, post: Post, request: JSONRPCRequest, envelope: Envelope): Promise<void> {
    const state = request.params?.requestState;
    const found = this.#suspended.find(state, exchange.principal);
    if (found === undefined && (await this.#forwarded.during(this.#forward(exchange, post, state)))) return;
    // A server that serves MCP 2026-07-28 itself has states of its own.
    if (found === undefined && this.#hasNatives) {
      if (this.#lifecycle.isDraining) throw new Refusal('draining');
      return this.#begin(exchange, post, request, envelope);
    }
    if (found?.call.isFor(request) !== true) throw new Refusal('invalidRequestState');
    const { call, round: number } = found;
    await this.#replies.post(exchange, post, request, envelope, (round) => {
      const resumed = call.resume(round, number, inputResponsesOf(request));
      if (!resumed) round.end(new Refusal('invalidRequestState'));
      return call;
    });
  }

  /** Forwards a retry to the node that its state names. Resolves to false when there is none: nothing was answered then. */
  async #forward(exchange: Exchange, post: Post, state: unknown): Promise<boolean> {
    const nodeId = nodeOfState(state);
    // One hop at most.
    if (this.#others === undefined || nodeId === undefined || exchange.forwarded) return false;
    return this.#others.forwardTo(nodeId, toForwardedRequest(exchange, undefined, post), exchange.res);
  }

  /** Tells the subscriptions of a principal on every node what a server of this node announces. Other notifications are ignored. */
  #announce(principal: string | undefined, notification: JSONRPCNotification): void {
    if (!isAnnouncement(notification)) return;
    this.#subscriptions.announce(principal, notification);
    this.#others?.announce(principal, notification);
  }
}

/** Undefined without telemetry. */
function operationOf({ operations }: Exchange, request: JSONRPCRequest, { version }: Envelope): Operation | undefined {
  return operations?.begin(request, { sessionId: undefined, protocolVersion: version });
}

function isRequest(message: JSONRPCMessage | undefined): message is JSONRPCRequest {
  return message !== undefined && 'method' in message && 'id' in message;
}
