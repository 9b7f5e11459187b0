import type { Implementation, JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../runtime/clock.js';
import { Deadline } from '../runtime/deadline-queue.js';
import type { OrphanCause, SessionInfo, SessionState, StreamKind } from '../events.js';
import type { McpServerLike } from '../options/options.js';
import type { TransportOwner } from '../transport/transport-types.js';
import type { HttpTransport } from '../transport/transport.js';
import type { FactoryContext, Life } from './server/server-context.js';
import type { RecordState, SessionStates } from './session-states.js';
import type { Membership } from './ownership.js';
import type { RecordWriter } from './records/record-writer.js';
import type { Slot } from './limits/slot.js';
import type { InFlight } from '../runtime/in-flight.js';

/** Where a session lives: told when it gets its first lease, when it loses its last, and when its server ends it. */
export interface SessionHome {
  readonly clock: Clock;
  readonly states: SessionStates;
  /** All leases but those of standalone streams. */
  readonly inFlight: InFlight;
  attached(session: Session): void;
  detached(session: Session): void;
  /** Its last request is settled and answered. */
  requestsSettled(session: Session): void;
  closedByServer(session: Session): void;
  /** Another node owns it. */
  fenced(session: Session): void;
}

/** One client's session: its state and its leases. What happens to it is decided by its home. */
export class Session implements TransportOwner {
  readonly id: string;
  /** Set once at most, by its registry, for a session that was opened without. */
  principal: string | undefined;
  /** Its place under the caps. */
  slot: Slot;
  /** From one build of its server to the next. */
  life: Life;
  /** Grows with each life. */
  epoch: number;
  readonly clientInfo: Implementation | undefined;
  /** When it was opened, by the router's clock. */
  openedAt: number;
  /** When its last lease went, by the router's clock. */
  idleSince: number;
  /** Past `maxLifetime`: what runs may finish, nothing new may begin. */
  pastMaxLifetime = false;
  /** The lock: what concurrent requests await while it is being opened, restored or woken. Rejects with what they are told. */
  opening: Promise<void> | undefined;
  /** Gives up opening it; undefined once it is open. */
  abandonOpening: ((reason: Error) => void) | undefined;
  server: McpServerLike | undefined;
  /** Undefined where no record is kept, and while it hibernates. */
  record: RecordWriter | undefined;
  /** The record's text, while it hibernates. */
  hibernatedRecord: string | undefined;
  /** The epoch in which this process got it: what ran in those before died with another process. */
  readonly firstEpoch: number;
  /** In which this node came to own it; undefined without a cluster. */
  readonly membership: Membership | undefined;
  /** Whether it ends here as soon as no request of it is under way, for another node to own it. */
  handingOff = false;
  /** The next time to look whether its record must be touched. */
  touchDue: Deadline<Session> | undefined;
  /** Agreed on when it was opened. */
  protocolVersion: string | undefined;
  /** Whether anything was ever asked of it after its opening. */
  used = false;
  /** Its turn to be orphaned, or to expire. */
  readonly idleDue = new Deadline<Session>(this);
  /** The end of its `maxLifetime`. */
  lifetimeDue: Deadline<Session> | undefined;
  readonly #home: SessionHome;
  #state: SessionState;
  #orphanCause: OrphanCause | undefined;
  #recordState: RecordState = 'none';
  answersRefused = false;
  #transport: HttpTransport | undefined;
  #leases = 0;
  #requests = 0;
  #streamLost = false;

  constructor(id: string, context: FactoryContext, slot: Slot, home: SessionHome, membership?: Membership) {
    this.id = id;
    this.slot = slot;
    this.membership = membership;
    this.principal = context.principal;
    this.clientInfo = context.clientInfo;
    this.life = context.life;
    this.epoch = context.epoch;
    this.firstEpoch = context.epoch;
    this.#home = home;
    this.#state = home.states.enter();
    this.openedAt = home.clock.now();
    this.idleSince = this.openedAt;
  }

  /** See {@link SESSION_STATES}. */
  get state(): SessionState {
    return this.#state;
  }

  /** Set while it is orphaned, and while it hibernates after that. */
  get orphanCause(): OrphanCause | undefined {
    return this.#orphanCause;
  }

  /** See {@link RecordState}. */
  get recordState(): RecordState {
    return this.#recordState;
  }

  /** Whether the store holds its record, in this epoch. */
  get stored(): boolean {
    return this.#recordState === 'stored';
  }

  /** Whether another node owns it. */
  get ownershipLost(): boolean {
    return this.#recordState === 'lost';
  }

  moveRecordTo(state: RecordState): void {
    this.#recordState = this.#home.states.moveRecord(this.#recordState, state);
  }

  /** What becomes known of the record after its final state changes nothing. */
  moveRecordToFinal(state: 'lost' | 'removed'): void {
    if (this.#recordState !== 'lost' && this.#recordState !== 'removed') this.moveRecordTo(state);
  }

  /** Its server answers from now on: the session was opened, restored or woken, or its client came back. */
  activate(): void {
    if (this.#state === 'initializing') this.idleSince = this.#home.clock.now();
    this.#moveTo('active');
    this.#orphanCause = this.hibernatedRecord = undefined;
    this.opening = this.abandonOpening = undefined;
  }

  /** Nothing was attached to it for long. Returns the cause. */
  orphan(): OrphanCause {
    this.#moveTo('orphaned');
    this.#orphanCause = this.causeIfOrphaned;
    return this.#orphanCause;
  }

  /** Its end begins: it takes no request any more. */
  beginClosing(): void {
    this.#moveTo('closing');
  }

  finishClosing(): void {
    this.#moveTo('closed');
  }

  /** Its opening has failed. */
  discard(): void {
    this.#moveTo('closed');
    this.opening = this.abandonOpening = undefined;
    this.touchDue?.cancel();
  }

  /** A life begins, in which the transport is the session's. */
  begin({ life, epoch }: FactoryContext, transport: HttpTransport): void {
    this.life = life;
    this.epoch = epoch;
    this.#transport = transport;
  }

  /** A life that was begun was not to be, and all that was only for it is let go of. */
  end(): void {
    this.record?.end();
    this.#transport = this.server = this.record = undefined;
  }

  /** A life has ended, and only its record stays. */
  hibernate(record: string): void {
    this.#moveTo('hibernated');
    this.hibernatedRecord = record;
    this.touchDue?.cancel();
    this.touchDue = undefined;
    this.end();
  }

  /** Undefined until it is being built, and while it hibernates. */
  get transport(): HttpTransport | undefined {
    return this.#transport;
  }

  get mayNotRespond(): boolean {
    return this.membership !== undefined && (this.ownershipLost || !this.membership.isValid);
  }

  get pastGracePeriod(): boolean {
    return this.membership?.inGracePeriod === false;
  }

  /** Whether a request of it is under way: anything but a standalone stream. */
  get busy(): boolean {
    return this.#requests > 0;
  }

  get attached(): boolean {
    return this.#leases > 0;
  }

  /** Why it would count as orphaned if it were now. */
  get causeIfOrphaned(): OrphanCause {
    return this.#streamLost ? 'stream_lost' : 'idle';
  }

  hold(kind: StreamKind = 'request'): void {
    this.used = true;
    this.#leases += 1;
    if (this.#leases === 1) this.#home.attached(this);
    if (kind !== 'request') return;
    this.#requests += 1;
    this.#home.inFlight.begin();
  }

  release(kind: StreamKind = 'request'): void {
    if (kind === 'request') {
      this.#requests -= 1;
      this.#home.inFlight.end();
    }
    this.#leases -= 1;
    if (this.#leases === 0) {
      this.idleSince = this.#home.clock.now();
      this.#home.detached(this);
    }
    if (kind === 'request' && this.#requests === 0) this.#home.requestsSettled(this);
  }

  streamOpened(): void {
    this.#streamLost = false;
  }

  streamLost(): void {
    this.#streamLost = true;
  }

  transportClosed(): void {
    this.#home.closedByServer(this);
  }

  fenced(): void {
    this.#home.fenced(this);
  }

  reserve(request: JSONRPCRequest): boolean {
    return this.record?.reserve(request) ?? true;
  }

  free(request: JSONRPCRequest): void {
    this.record?.free(request);
  }

  settledWell(request: JSONRPCRequest): Promise<void> | undefined {
    return this.record?.remember(request);
  }

  /** Milliseconds since the session was opened. */
  get age(): number {
    return this.#home.clock.now() - this.openedAt;
  }

  info(): SessionInfo {
    const now = this.#home.clock.now();
    return {
      id: this.id,
      principal: this.principal,
      state: this.state,
      orphanCause: this.orphanCause,
      protocolVersion: this.protocolVersion,
      clientInfo: this.clientInfo && { name: this.clientInfo.name, version: this.clientInfo.version },
      ageMs: now - this.openedAt,
      idleMs: this.attached ? 0 : now - this.idleSince,
      requests: this.#transport?.unsettled ?? 0,
    };
  }

  #moveTo(state: SessionState): void {
    this.#state = this.#home.states.move(this.#state, state);
  }
}
