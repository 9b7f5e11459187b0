import type { Implementation } from '../protocol/client.js';
import { wallTime, type Clock } from '../runtime/clock.js';
import { Deadline } from '../runtime/deadline-queue.js';
import type { InFlight } from '../runtime/in-flight.js';
import type { OrphanCause, SessionInfo, SessionState, SessionStreams, StreamKind } from '../events.js';
import { Refusal } from '../errors.js';
import type { Lease, TransportOwner } from '../transport/transport-types.js';
import type { HttpTransport } from '../transport/transport.js';
import type { FactoryContext } from './server/server-context.js';
import type { Membership } from './ownership.js';
import { SessionEpoch } from './session-epoch.js';
import type { SessionStates } from './session-states.js';
import type { Slot } from './limits/slot.js';

/** The owner of all sessions of a router. It acts when the use of a session changes. */
export interface SessionHome {
  readonly clock: Clock;
  readonly states: SessionStates;
  /** Counts all leases except those of standalone streams. */
  readonly inFlight: InFlight;
  /** The session got its first lease. */
  attached(session: Session): void;
  /** The session lost its last lease. */
  detached(session: Session): void;
  /** The last request of a session that is handed off is settled and answered. */
  requestsSettled(session: Session): void;
  closedByServer(session: Session): void;
  /** Another node owns the session. */
  fenced(session: Session): void;
}

/** One client's session: its state and its leases. Its home decides what happens to it. */
export class Session extends SessionEpoch implements TransportOwner {
  readonly id: string;
  readonly clientInfo: Implementation | undefined;
  /** The epoch in which this process got the session. Requests of earlier epochs ended with their process. */
  readonly firstEpoch: number;
  /** The membership of this node when it became the owner. Undefined without a cluster. */
  readonly membership: Membership | undefined;
  /** The time to be orphaned, to hibernate or to expire. */
  readonly idleDue = new Deadline<Session>(this);
  readonly #home: SessionHome;
  #principal: string | undefined;
  #slot: Slot;
  #openedAt: number;
  #idleSince: number;
  #state: SessionState;
  #orphanCause: OrphanCause | undefined;
  #hibernatedRecord: string | undefined;
  #protocolVersion: string | undefined;
  #touchDue: Deadline<Session> | undefined;
  #lifetimeDue: Deadline<Session> | undefined;
  #isHandingOff = false;
  #isPastMaxLifetime = false;
  #used = false;
  #leases = 0;
  #requests = 0;
  #streamLost = false;
  readonly #streams = { standalone: 0, request: 0 };
  #answersRefused = false;

  constructor(id: string, context: FactoryContext, slot: Slot, home: SessionHome, membership?: Membership) {
    super(context, home.states);
    this.id = id;
    this.membership = membership;
    this.clientInfo = context.clientInfo;
    this.firstEpoch = context.epoch;
    this.#home = home;
    this.#state = home.states.enter();
    this.#slot = slot;
    this.#principal = context.principal;
    this.#openedAt = this.#idleSince = home.clock.now();
  }

  get principal(): string | undefined {
    return this.#principal;
  }

  /** Its place under the caps. */
  get slot(): Slot {
    return this.#slot;
  }

  /** When it was opened, by the router's clock. */
  get openedAt(): number {
    return this.#openedAt;
  }

  /** When its last lease was released, by the router's clock. */
  get idleSince(): number {
    return this.#idleSince;
  }

  /** See {@link SESSION_STATES}. */
  get state(): SessionState {
    return this.#state;
  }

  /** Set while the session is orphaned or hibernated. */
  get orphanCause(): OrphanCause | undefined {
    return this.#orphanCause;
  }

  /** The record's text, while the session hibernates. */
  get hibernatedRecord(): string | undefined {
    return this.#hibernatedRecord;
  }

  /** The next time to check whether its record must be touched. */
  get touchDue(): Deadline<Session> | undefined {
    return this.#touchDue;
  }

  /** The end of its `maxLifetime`. */
  get lifetimeDue(): Deadline<Session> | undefined {
    return this.#lifetimeDue;
  }

  /** Whether the session ends as soon as it has no request in flight, so that another node can own it. */
  get handingOff(): boolean {
    return this.#isHandingOff;
  }

  /** Past `maxLifetime`, running requests may finish, and no new one may begin. */
  get pastMaxLifetime(): boolean {
    return this.#isPastMaxLifetime;
  }

  /** Whether a request or a stream has used the session after it was opened. */
  get used(): boolean {
    return this.#used;
  }

  get answersRefused(): boolean {
    return this.#answersRefused;
  }

  get mayNotRespond(): boolean {
    return this.membership !== undefined && (this.ownershipLost || !this.membership.isValid);
  }

  get pastGracePeriod(): boolean {
    return this.membership?.inGracePeriod === false;
  }

  /** Whether a request is in flight. A standalone stream is no request. */
  get busy(): boolean {
    return this.#requests > 0;
  }

  get attached(): boolean {
    return this.#leases > 0;
  }

  /** The cause, if it were orphaned now. */
  get causeIfOrphaned(): OrphanCause {
    return this.#streamLost ? 'stream_lost' : 'idle';
  }

  /** Milliseconds since the session was opened. */
  get age(): number {
    return this.#home.clock.now() - this.#openedAt;
  }

  /** @param age - Milliseconds for which the session was open in other processes. */
  restartAge(age = 0): void {
    this.#openedAt = this.#home.clock.now() - age;
  }

  /** @param slot - Its place in the principal's share. */
  assignPrincipal(principal: string, slot: Slot): void {
    this.#principal = principal;
    this.#slot = slot;
  }

  agreeOnVersion(protocolVersion: string | undefined): void {
    this.#protocolVersion = protocolVersion;
  }

  /** The deadline for the next touch of the record. It exists until the session hibernates. */
  startTouching(): Deadline<Session> {
    this.#touchDue ??= new Deadline<Session>(this);
    return this.#touchDue;
  }

  startLifetime(): Deadline<Session> {
    this.#lifetimeDue ??= new Deadline<Session>(this);
    return this.#lifetimeDue;
  }

  /** Ends the standalone stream. The session itself ends with its last lease. */
  retire(): void {
    this.#isPastMaxLifetime = true;
    this.transport?.standalone.stop('sessionNotFound');
  }

  /** Marks the session to end, so that another node can own it. */
  handOff(): void {
    this.#isHandingOff = true;
  }

  /** Called when the session was opened, restored or woken, or when an orphaned session is used again. */
  activate(): void {
    if (this.#state === 'initializing') this.#idleSince = this.#home.clock.now();
    this.#moveTo('active');
    this.#orphanCause = this.#hibernatedRecord = undefined;
    this.unlock();
  }

  /** Moves the session to `orphaned`. Returns the cause. */
  orphan(): OrphanCause {
    this.#moveTo('orphaned');
    this.#orphanCause = this.causeIfOrphaned;
    return this.#orphanCause;
  }

  /** Ends the epoch. Only the text of the record is kept. */
  hibernate(record: string): void {
    this.#moveTo('hibernated');
    this.#hibernatedRecord = record;
    this.#touchDue?.cancel();
    this.#touchDue = undefined;
    this.end();
  }

  /** Replaces the text of its record, while it hibernates. */
  replaceHibernatedRecord(record: string): void {
    this.#hibernatedRecord = record;
  }

  /** Moves the session to `closing`. It takes no request any more. */
  beginClosing(): void {
    this.#moveTo('closing');
  }

  finishClosing(): void {
    this.#moveTo('closed');
  }

  /** Called when opening the session has failed. */
  discard(): void {
    this.#moveTo('closed');
    this.unlock();
    this.#touchDue?.cancel();
  }

  /** A lease for a request of the principal, if the session can serve it at once. Most requests take only this path. */
  acquireIfReady(principal: string | undefined): Lease | undefined {
    const canServe = this.#state === 'active' || this.#state === 'orphaned';
    if (!canServe || this.#principal !== principal || this.opening !== undefined || this.mayNotRespond)
      return undefined;
    return this.acquire('request');
  }

  /**
   * The transport, for a request of the principal.
   *
   * @throws Refusal `sessionNotFound` when the session has ended, or another principal has adopted it.
   */
  transportFor(principal: string | undefined): HttpTransport {
    const { transport } = this;
    if (transport !== undefined && this.#state === 'active' && this.#principal === principal) return transport;
    throw new Refusal('sessionNotFound');
  }

  acquire(kind: StreamKind): Lease {
    this.#used = true;
    this.#leases += 1;
    if (this.#leases === 1) this.#home.attached(this);
    if (kind === 'request') {
      this.#requests += 1;
      this.#home.inFlight.begin();
    }
    let isReleased = false;
    return {
      release: () => {
        if (isReleased) return;
        // First, as the release may end the session, which releases all its leases again.
        isReleased = true;
        this.#release(kind);
      },
    };
  }

  streamOpened(kind: keyof SessionStreams): void {
    this.#streams[kind] += 1;
    if (kind === 'standalone') this.#streamLost = false;
  }

  streamClosed(kind: keyof SessionStreams): void {
    this.#streams[kind] -= 1;
  }

  streamLost(): void {
    this.#streamLost = true;
  }

  answerRefused(): void {
    this.#answersRefused = true;
  }

  transportClosed(): void {
    // A closing session closes its transport itself.
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#home.closedByServer(this);
  }

  fenced(): void {
    this.#home.fenced(this);
  }

  info(): SessionInfo {
    const now = this.#home.clock.now();
    return {
      id: this.id,
      principal: this.#principal,
      state: this.#state,
      orphanCause: this.#orphanCause,
      protocolVersion: this.#protocolVersion,
      clientInfo: this.clientInfo && { name: this.clientInfo.name, version: this.clientInfo.version },
      ageMs: now - this.#openedAt,
      idleMs: this.attached ? 0 : now - this.#idleSince,
      requests: this.transport?.unsettled ?? 0,
      streams: { ...this.#streams },
      openedAt: Math.round(wallTime(this.#home.clock) - (now - this.#openedAt)),
      node: this.membership?.id,
    };
  }

  #release(kind: StreamKind): void {
    if (kind === 'request') {
      this.#requests -= 1;
      this.#home.inFlight.end();
    }
    this.#leases -= 1;
    if (this.#leases === 0) {
      this.#idleSince = this.#home.clock.now();
      this.#home.detached(this);
    }
    if (kind === 'request' && this.#requests === 0 && this.#isHandingOff) this.#home.requestsSettled(this);
  }

  #moveTo(state: SessionState): void {
    this.#state = this.#home.states.move(this.#state, state);
  }
}
