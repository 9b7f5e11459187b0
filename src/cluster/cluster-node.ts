import { orStoreUnavailable } from '../errors.js';
import { createSecretKey } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { inTime, type Clock } from '../runtime/clock.js';
import type { Lifecycle } from '../runtime/lifecycle-phase.js';
import type { CoreEvents, SessionInfo } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { ResolvedClusterOptions, ResolvedOptions } from '../options/options.js';
import type { TakeAnnouncement } from '../endpoint/per-request/other-nodes.js';
import type { ForwardedRequest, ForwardingPort } from '../endpoint/session/forwarding-port.js';
import type { Inspection, InspectedCluster } from '../inspection/inspection.js';
import type { Notice, Notified } from '../notify/notification.js';
import type { NotifiedNodes } from '../notify/notify.js';
import type { Membership, OtherNodes, UnownedSession } from '../sessions/ownership.js';
import { accessRule, mayUseRecord, type MayUse } from '../sessions/access.js';
import type { PrincipalCounts } from '../sessions/limits/principal-counts.js';
import { RecordStore } from '../sessions/records/record-store.js';
import type { Registry } from '../sessions/registry.js';
import type { Sessions } from '../sessions/session-api.js';
import { openRedis, type SendCommand } from '../stores/redis-client.js';
import { recordKey, redisStoreWithSpare } from '../stores/redis-store.js';
import { Eviction } from './eviction.js';
import { OwnerCache } from './forwarding/owner-cache.js';
import { OwnerRouting } from './forwarding/owner-routing.js';
import { watchError } from '../transport/response-facts.js';
import { ResponseRelay } from './forwarding/response-relay.js';
import { InspectedClusterNodes } from './inspected-nodes.js';
import { localSessionsOf, NO_SESSIONS, type LocalSessions } from './local-sessions.js';
import type { Lease } from './membership/lease.js';
import { NodeMembership } from './membership/membership.js';
import { Peers } from './membership/peers.js';
import { ownProof } from './membership/process-proof.js';
import { Mailbox } from './migration/mailbox.js';
import { Migration } from './migration/migration.js';
import { createMessageReader } from './migration/read-message.js';
import { NotifiedClusterNodes } from './notify/notified-nodes.js';
import { authOf } from './port/envelope.js';
import { ERROR } from './port/node-client.js';
import type { Announcement, RequestHeaders } from './port/node-port.js';
import type { Reach } from './port/node-queues.js';
import { SignedHttpPort } from './port/signed-http-port.js';
import { PerRequestNodes } from './per-request/per-request-nodes.js';
import { ClusterPrincipalCounts } from './principal-counts.js';

/** A client has stalled when it reads nothing of a relayed answer for this many keep-alive intervals. */
const STALLED = 3;

/** When a draining node got no request for this long, in ms, the load balancer no longer sends it any. */
const QUIET_BEFORE_STOP = 1_000;

/**
 * How much longer Redis keeps a record than its session lives, in ms. A step of Redis' clock that is no longer removes no record of
 * a session that a node owns.
 */
const SPARE_LIFETIME = 24 * 3_600_000;

/** How long Redis may take for one answer, in ms. After that, the waiting request is refused. */
const REDIS_TIMEOUT = 2_000;

/** The parts of the router that its cluster node uses. */
export interface Host {
  readonly registry: Registry;
  readonly sessions: Sessions;
  /** Takes an announcement of a server of another node. */
  readonly announced: TakeAnnouncement;
  /** Delivers notifications of another node to the clients of this node. */
  readonly notified: (notices: readonly Notice[]) => Promise<Notified[]>;
  /** Shows operators of another node the sessions of this node. */
  readonly inspection: Pick<Inspection, 'answer'>;
  /** Ends the principal's subscriptions and calls on this node that belong to no session. False without `perRequest`. */
  readonly endPrincipal: (principal: string) => boolean;
  /** Ends every stream that belongs to no session. */
  readonly endStreams: () => void;
  /** Ends a session that is only stored. */
  readonly destroy: (sessionId: string, unowned: UnownedSession) => Promise<boolean>;
  /** Answers a client's request that another node forwarded. Rejects only with NotOwner. */
  readonly serve: (request: RequestHeaders, body: Buffer, req: IncomingMessage, res: ServerResponse) => Promise<void>;
}

/** Creates and connects the parts that make a router a node of a cluster. */
export class ClusterNode implements ForwardingPort, OtherNodes {
  readonly records: RecordStore;
  readonly principals: PrincipalCounts;
  readonly recordKey: (id: string) => string;
  /** The other nodes, as requests of MCP 2026-07-28, notifications and operators see them. */
  readonly nodes: {
    readonly perRequest: PerRequestNodes;
    readonly notified: NotifiedNodes;
    readonly inspected: InspectedCluster;
  };
  readonly #membership: NodeMembership;
  readonly #peers: Peers;
  readonly #port: SignedHttpPort;
  readonly #relay: ResponseRelay;
  readonly #routing: OwnerRouting;
  readonly #mailbox: Mailbox | undefined;
  readonly #migration: Migration | undefined;
  readonly #options: ResolvedClusterOptions;
  readonly #mayUse: MayUse;
  readonly #clock: Clock;
  #local: LocalSessions = NO_SESSIONS;
  /** The time of the last request, or of the beginning of the drain, by the router's clock. */
  #lastRequest = -Infinity;

  /**
   * @param lifetime - How long a session without an owner is kept, in ms.
   * @throws TypeError when the options of Redis are invalid.
   */
  constructor(
    options: ResolvedClusterOptions,
    {
      adoptAnonymous,
      clock,
      keepAlive,
      requestTimeout,
      maxBodySize,
      maxBodyMemory,
      maxSessionsPerPrincipal,
      ttl,
      orphanAfter,
    }: ResolvedOptions,
    lifetime: number,
    lifecycle: Lifecycle,
    events: Emitter<CoreEvents>,
  ) {
    const { send: ask, prefix } = openRedis('mcpRouter: option cluster.redis', options.redis);
    const onTimeout = (): Error => new Error('Redis did not answer in time');
    const send: SendCommand = (...command) => inTime(clock, REDIS_TIMEOUT, ask(...command), onTimeout);
    const { claimTimeout } = options;
    const isMoving = (sessionId: string): boolean => this.#local.isMoving(sessionId);
    this.#options = options;
    this.#mayUse = accessRule(adoptAnonymous);
    this.#clock = clock;
    this.recordKey = (id) => recordKey(prefix, id);
    const proof = ownProof();
    this.#peers = new Peers({ send, prefix, clock, timing: options, proof });
    this.#membership = new NodeMembership({
      send,
      prefix,
      clock,
      lifecycle,
      events,
      timing: options,
      proof,
      address: async () => ({ host: options.advertise, port: await this.#port.listen() }),
      // With `routing: 'migrate'`, sessions move through Redis, and no node needs to reach another.
      probe: async (lease) => options.routing !== 'migrate' && this.#port.probe(lease),
      onFenced: () => {
        this.#peers.startAnew();
        this.#local.fence();
      },
    });
    const store = redisStoreWithSpare(send, prefix, SPARE_LIFETIME);
    this.records = new RecordStore({
      store,
      clock,
      node: () => this.membership.id,
      lifetime,
      keepsExpired: true,
      onAnswer: (...answer) => events.emit('storeAnswered', 'session', ...answer),
    });
    const others = (): Promise<Lease[]> => this.#others();
    this.#port = new SignedHttpPort({
      key: createSecretKey(Buffer.from(options.secret)),
      clock,
      lifecycle,
      host: options.host,
      port: options.port,
      maxBodySize,
      maxBodyMemory,
      requestTimeout,
      claimTimeout,
      peers: this.#peers,
      others,
      check: (envelope, isKnown) => this.#membership.check(envelope, isKnown),
    });
    const eviction = new Eviction({
      membership: () => this.membership,
      peers: this.#peers,
      port: this.#port,
      records: this.records,
      principals: () => this.principals,
      local: () => this.#local,
      claimTimeout,
    });
    this.principals = new ClusterPrincipalCounts({
      send,
      prefix,
      lifetime,
      spare: SPARE_LIFETIME,
      // A session in use is renewed four times in a `ttl`. The margin is `orphanAfter`.
      unused: lifetime - ttl + orphanAfter,
      most: maxSessionsPerPrincipal,
      evict: (principal) => eviction.evict(principal),
    });
    const parts = {
      node: this.#membership,
      peers: this.#peers,
      records: this.records,
      isMoving,
      clock,
      lifecycle,
    };
    if (options.routing === 'migrate') {
      const failed = (error: unknown): void => events.emit('failure', 'cluster: the mailbox cannot be read', error);
      this.#mailbox = new Mailbox(send, prefix, clock, failed);
      this.#migration = new Migration({ ...parts, mailbox: this.#mailbox, claimTimeout });
    }
    this.#relay = new ResponseRelay(STALLED * keepAlive);
    const reach: Reach = {
      others,
      lastKnown: () => this.#peers.lastKnown().filter(({ id }) => id !== this.membership.id),
      find: (id) => this.#peers.find(id),
      clock,
      claimTimeout,
    };
    const perRequest = new PerRequestNodes({
      ...parts,
      ...reach,
      nodeId: () => this.membership.id,
      secret: options.secret,
      reaches: options.routing !== 'migrate',
      port: this.#port,
      relay: this.#relay,
      events,
    });
    const notified = new NotifiedClusterNodes({
      ...reach,
      lifecycle,
      port: this.#port,
      report: (what, error) => events.emit('failure', what, error),
    });
    const { secret } = options;
    const inspected = { secret, nodeId: () => this.membership.id, others: new InspectedClusterNodes(this.#port) };
    this.nodes = { perRequest, notified, inspected };
    this.#routing = new OwnerRouting({
      ...parts,
      owners: new OwnerCache(),
      port: this.#port,
      others,
      relay: this.#relay,
      mayUseRecord: (record, id, caller) => mayUseRecord(record, id, caller, this.#mayUse),
      migration: this.#migration,
      events,
      claimTimeout,
    });
  }

  get membership(): Membership {
    return this.#membership.membership;
  }

  /** Milliseconds since the lease was last renewed. Infinity while this node has no lease, undefined once it closes. */
  get leaseAge(): number | undefined {
    return this.#membership.leaseAge;
  }

  /** Joins the cluster, and handles requests of other nodes for the sessions of this node. */
  start({ registry, sessions, announced, notified, inspection, endPrincipal, endStreams, destroy, serve }: Host): void {
    this.#local = localSessionsOf(registry, endStreams);
    this.#port.handle('endPrincipal', ({ headers: { principal } }) => endPrincipal(principal));
    this.#port.handle('request', async ({ headers, body, req, reply }) => {
      watchError(reply, (error) => {
        if (!reply.headersSent) reply.setHeader(ERROR, error);
      });
      await serve({ ...headers, auth: authOf(headers.auth) }, body, req, reply);
      return undefined;
    });
    this.#port.handle('announce', ({ body }) => {
      for (const { principal, method, uri } of JSON.parse(body.toString()) as Announcement[]) {
        announced(principal, { jsonrpc: '2.0', method, ...(uri !== undefined && { params: { uri } }) });
      }
      return true;
    });
    this.#port.handle('notify', ({ body }) => notified(JSON.parse(body.toString()) as Notice[]));
    this.#port.handle('list', () => sessions.list());
    this.#port.handle('inspect', ({ headers }) => inspection.answer(headers.request));
    // One hop at most: if another node owns the session, `unowned` rejects instead of asking that node.
    this.#port.handle('close', async ({ headers: { sessionId } }) =>
      registry.get(sessionId) !== undefined
        ? sessions.close(sessionId)
        : destroy(sessionId, await this.#routing.unowned(sessionId)),
    );
    this.#membership.start();
    this.#peers.start();
    if (this.#mailbox === undefined || this.#migration === undefined) return;
    void this.#mailbox.open(
      () => this.membership.id,
      createMessageReader({ registry, sessions, migration: this.#migration, mayUse: this.#mayUse }),
    );
  }

  checkMember(): Promise<void> {
    this.#lastRequest = this.#clock.now();
    return this.#membership.checkMember();
  }

  untilQuiet(): number {
    return this.#lastRequest + QUIET_BEFORE_STOP - this.#clock.now();
  }

  forward(request: ForwardedRequest, res: ServerResponse): Promise<UnownedSession | undefined> {
    return this.#routing.forward(request, res);
  }

  /** Called when this node failed to restore the session. For a while, other nodes are asked to restore it. */
  readonly pauseRestoring = (sessionId: string): void => this.#routing.pauseRestoring(sessionId);

  list(): Promise<SessionInfo[]> {
    return this.#routing.list();
  }

  close(sessionId: string): Promise<UnownedSession | boolean> {
    return this.#routing.close(sessionId);
  }

  sessionsOf(principal: string): Promise<string[]> {
    return this.principals.sessionsOf(principal);
  }

  drain(): void {
    this.#lastRequest = this.#clock.now();
    this.#membership.announceDraining();
  }

  /** @param last - Written before the end of a stream, unless the stream ends within an event. */
  endStreams(last: string): void {
    this.#relay.endStreams(last);
  }

  /** Leaves the cluster. Called when this node owns no session any more. */
  async leave(): Promise<void> {
    this.#mailbox?.close();
    this.#peers.stop();
    this.#port.abortProbe();
    await this.#membership.leave();
    await this.#port.close();
  }

  /** The other nodes. None with `routing: 'migrate'`, as this node cannot reach them. */
  async #others(): Promise<Lease[]> {
    if (this.#options.routing === 'migrate') return [];
    return (await orStoreUnavailable(this.#peers.all())).filter(({ id }) => id !== this.membership.id);
  }
}
