import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import type { Exchange } from '../../http/exchange.js';
import type { Envelope } from '../../http/per-request/envelope.js';
import type { ResolvedPerRequest } from '../../options/resolve-per-request.js';
import { cached } from '../../runtime/checks.js';
import type { Clock } from '../../runtime/clock.js';
import { InFlight } from '../../runtime/in-flight.js';
import type { PrincipalStates } from '../../sessions/records/principal-state.js';
import type { ServerBuilder } from '../../sessions/server/server-builder.js';
import { FactoryContext } from '../../sessions/server/server-context.js';
import type { TransportContext } from '../../transport/transport-types.js';
import { BridgeTransport, type ServerListener } from './bridge/bridge-transport.js';
import { digestOf } from './bridge/questions.js';
import { RequestServer, sharedFactsOf } from './bridge/request-server.js';
import type { TakeAnnouncement } from './other-nodes.js';
import { ServerPool, type ServerLease, type ShareKey } from './server-pool.js';

/** Entries in the cache of digests. A client describes itself in the same way in each request. */
const MAX_CACHED_CLIENTS = 100;

/** The servers that answer requests of MCP 2026-07-28, those of the session era through a bridge. */
export class RequestServers {
  readonly #builder: ServerBuilder;
  readonly #events: TransportContext['events'];
  readonly #shares: boolean;
  readonly #sdk: ResolvedPerRequest['sdk'];
  readonly #states: PrincipalStates;
  readonly #clock: Clock;
  readonly #pool: ServerPool<RequestServer>;
  readonly #leases: InFlight;
  readonly #announce: TakeAnnouncement;
  readonly #unclosed = new InFlight();
  readonly #digestOf = cached(MAX_CACHED_CLIENTS, (client) => digestOf(JSON.parse(client)));
  /** Servers keep maps by session ID, so no two principals may have the same. */
  readonly #sessionKey: Buffer;

  /**
   * @param leases - Counts each lease until its release.
   * @param sessionKey - The key of the session IDs of handlers. Default: one of this process.
   */
  constructor(
    builder: ServerBuilder,
    { events, clock }: TransportContext,
    options: ResolvedPerRequest,
    states: PrincipalStates,
    leases: InFlight,
    announce: TakeAnnouncement,
    sessionKey: Buffer = randomBytes(32),
  ) {
    this.#sessionKey = sessionKey;
    this.#announce = announce;
    this.#states = states;
    this.#leases = leases;
    this.#builder = builder;
    this.#events = events;
    this.#sdk = options.sdk;
    this.#shares = options.servers === 'principal';
    this.#clock = clock;
    this.#pool = new ServerPool(options, clock);
  }

  stats(): { readonly open: number; readonly idle: number } {
    return this.#pool.stats();
  }

  /** A server that is not shared, and not counted as a lease. */
  own(exchange: Exchange, envelope: Envelope): ServerLease<RequestServer> {
    return this.#pool.acquire(undefined, (onEnd) => this.#create(exchange, envelope, false, onEnd));
  }

  /**
   * A server for a request. It may not be open yet.
   *
   * @param isBridged - Whether the server is sure to be bridged. Then only clients with equal facts share it.
   */
  acquire(exchange: Exchange, envelope: Envelope, isBridged = this.#sdk === undefined): ServerLease<RequestServer> {
    const share = this.#shareOf(exchange.principal, isBridged ? envelope : undefined);
    const open = (onEnd: () => void): RequestServer => this.#create(exchange, envelope, share !== undefined, onEnd);
    return this.#pool.acquire(share, open, this.#leases);
  }

  /** Whether an open server may serve the client that the envelope describes. */
  mayServe(server: RequestServer, envelope: Envelope): boolean {
    return server.isFor(() => this.#clientOf(envelope));
  }

  /**
   * Closes all servers. Resolves when nothing of them remains.
   *
   * @param reason - For the requests that wait for an opening.
   */
  close(reason: Error): Promise<void> {
    this.#pool.close(reason);
    return this.#unclosed.whenNone();
  }

  /** Callers without a principal share no server, as each may be another client. */
  #shareOf(principal: string | undefined, envelope: Envelope | undefined): ShareKey | undefined {
    if (!this.#shares || principal === undefined) return undefined;
    const client = envelope === undefined ? ' ' : this.#clientOf(envelope);
    // A digest has no space and a fixed length, so that the rest of the key is the principal.
    return { principal, key: client + principal };
  }

  #clientOf(envelope: Envelope): string {
    return this.#digestOf(JSON.stringify(sharedFactsOf(envelope)));
  }

  #create(
    { principal, req }: Exchange,
    { clientInfo, clientCapabilities }: Envelope,
    isShared: boolean,
    onEnd: () => void,
  ): RequestServer {
    const context = new FactoryContext({
      era: 'request',
      sessionId: undefined,
      principal,
      req: { headers: req.headers, auth: req.auth },
      clientInfo: isShared ? undefined : clientInfo,
      clientCapabilities: isShared ? undefined : clientCapabilities,
      restored: false,
      epoch: 0,
      state: this.#states.of(principal),
    });
    const report = (what: string, error: unknown): void => this.#events.emit('failure', what, error);
    const bridge = new BridgeTransport(this.#sessionIdOf(principal), report, isShared);
    this.#unclosed.begin();
    const onClosed = (): void => this.#unclosed.end();
    const server = new RequestServer(bridge, this.#builder, context, this.#sdk, this.#clock, onEnd, onClosed);
    if (isShared) bridge.listen(this.#announcing(principal, server));
    return server;
  }

  /** Takes the messages of a shared server that belong to no call: they may announce a change. */
  #announcing(principal: string | undefined, server: RequestServer): ServerListener {
    return {
      asked: () => undefined,
      notified: (notification) => {
        if (server.hasOpened) this.#announce(principal, notification);
        return undefined;
      },
    };
  }

  #sessionIdOf(principal: string | undefined): string {
    if (principal === undefined) return randomUUID();
    return createHmac('sha256', this.#sessionKey).update(principal).digest('base64url');
  }
}
