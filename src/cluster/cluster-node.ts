import { createSecretKey } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { inTime, type Clock } from '../runtime/clock.js';
import type { CoreEvents, SessionInfo } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { ResolvedClusterOptions, ResolvedOptions } from '../options/options.js';
import {
  type ForwardingPort,
  type ForwardedRequest,
  type Membership,
  type UnownedSession,
} from '../sessions/ownership.js';
import { createAnswersTo, mayAnswer, type AnswersTo } from '../sessions/answers-to.js';
import type { PrincipalCounts } from '../sessions/limits/principal-counts.js';
import type { RecordStore } from '../sessions/records/record-store.js';
import type { Registry } from '../sessions/registry.js';
import type { Sessions } from '../sessions/session-api.js';
import type { SessionStore } from '../stores/session-store.js';
import { openRedis, type SendCommand } from '../stores/redis-client.js';
import { recordKey, redisStore } from '../stores/redis-store.js';
import { OwnerRouting } from './forwarding/owner-routing.js';
import { authOf, type Order, type RequestOrder } from './envelope.js';
import { NodeClient } from './forwarding/node-client.js';
import { Mailbox, type Message } from './migration/mailbox.js';
import type { Lease } from './membership/lease.js';
import { NodeServer, maxPayload } from './forwarding/node-server.js';
import { Migration } from './migration/migration.js';
import { NodeMembership } from './membership/membership.js';
import { OwnerCache } from './forwarding/owner-cache.js';
import { Peers } from './membership/peers.js';
import { ClusterPrincipalCounts, type LocalOrphans } from './principal-counts.js';
import { ownProof } from './membership/process-proof.js';
import { notReached } from './membership/unreachable.js';

/** Of an answer that is passed on something is to be read in so many keep-alive intervals, in each of which something comes. */
const STALLED = 3;

/** After so many times of a lease the IDs of nodes that ended without a word are removed. */
const SWEEP_LEASES = 4;

/** How long this node may take to answer its own probe, in ms. At the start of an app, its event loop may be busy. */
const PROBE_TIMEOUT = 5_000;

/** How long Redis may take for one answer, in ms, before the request that waits for it is refused. */
const REDIS_TIMEOUT = 2_000;

/** What a member of a cluster needs of its router. */
export interface Host {
  readonly records: RecordStore;
  readonly registry: Registry;
  readonly sessions: Sessions;
  /** Ends a session that is only stored. */
  readonly destroy: (sessionId: string, unowned: UnownedSession) => Promise<boolean>;
  /** Answers a request that another node handed over. Rejects with NotHere, and never otherwise. */
  serve(request: RequestOrder, body: Buffer, req: IncomingMessage, res: ServerResponse): Promise<void>;
}

/** A router as a node of a cluster: all parts of that, put together. */
export class ClusterNode implements ForwardingPort {
  readonly store: SessionStore;
  readonly principals: PrincipalCounts;
  readonly recordKey: (id: string) => string;
  readonly #node: NodeMembership;
  readonly #peers: Peers;
  readonly #nodeClient: NodeClient;
  readonly #listener: NodeServer;
  readonly #mailbox: Mailbox | undefined;
  readonly #options: ResolvedClusterOptions;
  readonly #answersTo: AnswersTo;
  readonly #clock: Clock;
  readonly #events: Emitter<CoreEvents>;
  #sweeping: unknown;
  #isLeft = false;
  #port: number | undefined;
  #stopProbe: () => void = () => undefined;
  #host: Host | undefined;
  #cluster: OwnerRouting | undefined;
  #migration: Migration | undefined;

  /**
   * @param lifetime - How long a record lives on when it is not touched, in ms.
   * @throws TypeError for options of Redis that are wrong.
   */
  constructor(
    options: ResolvedClusterOptions,
    {
      adoptAnonymous,
      clock,
      keepAlive,
      requestTimeout,
      maxBodySize,
      maxSessionsPerPrincipal,
      ttl,
      orphanAfter,
    }: ResolvedOptions,
    lifetime: number,
    events: Emitter<CoreEvents>,
  ) {
    const { send: ask, prefix } = openRedis('mcpRouter: option cluster.redis', options.redis);
    const late = (): Error => new Error('Redis did not answer in time');
    const send: SendCommand = (...command) => inTime(clock, REDIS_TIMEOUT, ask(...command), late);
    this.#options = options;
    this.#answersTo = createAnswersTo(adoptAnonymous);
    this.#clock = clock;
    this.#events = events;
    this.store = redisStore({ sendCommand: send, prefix });
    this.recordKey = (id) => recordKey(prefix, id);
    this.principals = new ClusterPrincipalCounts({
      send,
      prefix,
      lifetime,
      // In use, it is renewed four times in a ttl.
      unused: lifetime - ttl + orphanAfter,
      most: maxSessionsPerPrincipal,
      evict: (principal) => this.#started.evict(principal, this.#orphans),
    });
    if (options.routing === 'migrate') {
      const failed = (error: unknown): void => events.emit('failure', 'cluster: the mailbox cannot be read', error);
      this.#mailbox = new Mailbox(send, prefix, clock, failed);
    }
    const proof = ownProof();
    const key = createSecretKey(Buffer.from(options.secret));
    this.#peers = new Peers(send, prefix, clock, options.renewInterval, proof);
    this.#nodeClient = new NodeClient(key, clock, STALLED * keepAlive, requestTimeout, maxPayload(maxBodySize));
    this.#listener = new NodeServer({
      key,
      host: options.host,
      port: options.port,
      maxBodySize,
      check: (envelope) => this.#node.check(envelope),
      carryOut: (order, body, req, res) => this.#carryOut(order, body, req, res),
    });
    this.#node = new NodeMembership({
      send,
      prefix,
      clock,
      events,
      timing: options,
      proof,
      address: () => this.#address(),
      probe: (lease) => this.#probe(lease),
      onFenced: () => this.#loseAll(),
    });
  }

  get membership(): Membership {
    return this.#node.membership;
  }

  /** Milliseconds since the lease was last renewed; Infinity while there is none. */
  get leaseAge(): number {
    return this.#node.leaseAge;
  }

  /** Joins. */
  start(host: Host): void {
    this.#host = host;
    const isLeaving = (id: string): boolean => host.registry.closingSessions.isMoving(id);
    this.#migration =
      this.#mailbox &&
      new Migration({
        mailbox: this.#mailbox,
        node: this.#node,
        peers: this.#peers,
        records: host.records,
        isLeaving,
        clock: this.#clock,
        claimTimeout: this.#options.claimTimeout,
      });
    this.#cluster = new OwnerRouting({
      node: this.#node,
      peers: this.#peers,
      owners: new OwnerCache(),
      nodeClient: this.#nodeClient,
      records: host.records,
      principals: this.principals,
      mayAnswer: (record, id, caller) => mayAnswer(record, id, caller, this.#answersTo),
      migration: this.#migration,
      isLeaving,
      clock: this.#clock,
      events: this.#events,
      claimTimeout: this.#options.claimTimeout,
    });
    this.#node.start();
    this.#sweepLater();
    void this.#mailbox?.open(
      () => this.#node.membership.id,
      (message) => this.#read(message, host),
    );
  }

  checkMember(): Promise<void> {
    return this.#node.checkMember();
  }

  forward(request: ForwardedRequest, res: ServerResponse): Promise<UnownedSession | undefined> {
    return this.#started.handOver(request, res);
  }

  pauseRestoring(sessionId: string): void {
    this.#cluster?.gaveUp(sessionId);
  }

  list(): Promise<SessionInfo[]> {
    return this.#started.list();
  }

  close(sessionId: string): Promise<UnownedSession | boolean> {
    return this.#started.close(sessionId);
  }

  drain(): void {
    this.#cluster?.drain();
  }

  /** @param last - Said before the end where that is between two events. */
  endStreams(last: string): void {
    this.#nodeClient.endStreams(last);
  }

  /** When this node owns nothing any more. */
  async leave(): Promise<void> {
    this.#mailbox?.close();
    this.#cluster?.stop();
    this.#isLeft = true;
    this.#clock.clearTimeout(this.#sweeping);
    this.#stopProbe();
    await this.#node.leave();
    this.#nodeClient.close();
    await this.#listener.close();
  }

  /** The next sweep follows when this one is over, however late Redis answers. */
  #sweepLater(): void {
    const { lease } = this.#options;
    this.#sweeping = this.#clock.setTimeout(() => {
      const swept = this.#peers.sweep(() => this.#node.membership);
      // When Redis does not answer, another node does it, or this one the next time.
      void swept.catch(() => undefined).then(() => this.#isLeft || this.#sweepLater());
    }, SWEEP_LEASES * lease);
  }

  async #address(): Promise<{ host: string; port: number }> {
    this.#port ??= await this.#listener.listen();
    return { host: this.#options.advertise, port: this.#port };
  }

  /** With `routing: 'migrate'`, sessions move through Redis, and no node needs to reach another. */
  async #probe(lease: Lease): Promise<boolean> {
    if (this.#options.routing === 'migrate') return false;
    const { sent, closed, abort } = this.#nodeClient.send(lease, { kind: 'probe' }, undefined, PROBE_TIMEOUT);
    this.#stopProbe = abort;
    const result = await sent;
    if (result.outcome !== 'answered') {
      const isRefused = result.outcome === 'untaken' && result.why !== 'unreachable';
      throw notReached(lease, isRefused ? result.why : undefined);
    }
    result.response.resume();
    await closed;
    return result.informed;
  }

  async #carryOut(order: Order, body: Buffer, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const host = this.#host;
    if (host === undefined) throw new Error('not started');
    switch (order.kind) {
      case 'request':
        return host.serve({ ...order, auth: authOf(order.auth) }, body, req, res);
      case 'list':
        return answer(res, host.sessions.list());
      case 'close':
        return answer(res, await this.#close(host, order.sessionId));
      case 'orphaned':
        return answer(res, this.#orphans.longest(order.principal));
      case 'evict':
        return answer(res, await this.#orphans.evict(order.principal));
      case 'probe':
        return answer(res, true);
    }
  }

  readonly #orphans: LocalOrphans = {
    longest: (principal) => this.#host?.registry.caps.longestOrphanedOf(principal)?.info().idleMs ?? -1,
    evict: async (principal) => {
      const session = this.#host?.registry.caps.longestOrphanedOf(principal);
      if (session === undefined) return false;
      await this.#host?.registry.close(session, 'evicted');
      return true;
    },
  };

  /** One hop at most: a session that is another node's is not looked for there. */
  async #close({ registry, sessions, destroy }: Host, sessionId: string): Promise<boolean> {
    if (registry.get(sessionId) !== undefined) return sessions.close(sessionId);
    return destroy(sessionId, await this.#started.unowned(sessionId));
  }

  async #read(message: Message, { registry, sessions }: Host): Promise<void> {
    const { sessionId, action, by, body } = message;
    const session = registry.get(sessionId);
    if (session === undefined) return this.#migration?.passOn(message);
    if (session.mayNotRespond) return;
    const adopts = by !== 'app' && by.principal !== session.principal;
    if (adopts && !this.#answersTo(session.principal, by.principal)) return;
    // What was opened without a principal ends in any case, and need not be waited for. What the principal says before the
    // session is its own is not said in it.
    if (adopts && action === 'handOff') return void registry.close(session, 'moved');
    if (adopts && action === 'take') return;
    switch (action) {
      case 'handOff':
        return registry.handOff(session);
      case 'end':
        await sessions.close(sessionId);
        return;
      case 'take':
        await session.transport?.post(NO_OWNER, [body].flat() as JSONRPCMessage[], { batch: false, extra: {} });
    }
  }

  #loseAll(): void {
    const { registry } = this.#host ?? {};
    for (const session of registry?.all() ?? []) registry?.fenced(session);
  }

  get #started(): OwnerRouting {
    if (this.#cluster === undefined) throw new Error('the cluster was not started');
    return this.#cluster;
  }
}

function answer(res: ServerResponse, value: unknown): void {
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(value));
}

/** Whoever said it was told that it is accepted, and hears no more of it. */
const NO_OWNER = { destroyed: true } as unknown as ServerResponse;
