import type { Clock } from '../runtime/clock.js';
import { Refusal } from '../errors.js';
import type { CloseReason, CoreEvents, SessionStats } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { ResolvedOptions } from '../options/options.js';
import type { Lifecycle } from '../runtime/lifecycle-phase.js';
import type { ServerBuilder } from './server/server-builder.js';
import { Caps } from './limits/caps.js';
import type { FactoryContext } from './server/server-context.js';
import type { Membership } from './ownership.js';
import { ClosingSessions, SessionIndex } from './session-index.js';
import type { SessionPersistence } from './session-persistence.js';
import type { RecordWriter } from './records/record-writer.js';
import { Reaper, type Delays, type ReaperActions } from './limits/reaper.js';
import { isVisibleAscii } from './session-ids.js';
import { Session, type SessionHome } from './session.js';
import { SessionStates } from './session-states.js';
import type { Slot } from './limits/slot.js';
import { InFlight } from '../runtime/in-flight.js';
import { onRejection } from '../runtime/user-code.js';

type Limits = Delays &
  Pick<ResolvedOptions, 'maxSessions' | 'maxSessionsPerPrincipal' | 'maxAnonymousSessions' | 'clock'>;

/**
 * All sessions of a router, and the only place where a session changes its state:
 * `initializing → active ⇄ orphaned → closing → closed`, and `hibernated` beside orphaned.
 */
export class Registry implements SessionHome, ReaperActions {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly states = new SessionStates();
  readonly inFlight = new InFlight();
  readonly caps: Caps;
  readonly #events: Emitter<CoreEvents>;
  readonly #builder: ServerBuilder;
  readonly #persistence: SessionPersistence;
  readonly #membership: () => Membership | undefined;
  readonly #reaper: Reaper;
  readonly #sessions = new SessionIndex();
  /** Sessions that are closing: their servers have not let go of them, or their opening is not undone yet. */
  readonly closingSessions = new ClosingSessions();

  /** @param membership - This node's, where it is one of a cluster. */
  constructor(
    limits: Limits,
    lifecycle: Lifecycle,
    events: Emitter<CoreEvents>,
    builder: ServerBuilder,
    persistence: SessionPersistence,
    membership: () => Membership | undefined = () => undefined,
  ) {
    this.clock = limits.clock;
    this.lifecycle = lifecycle;
    this.#events = events;
    this.#builder = builder;
    this.#persistence = persistence;
    this.#membership = membership;
    persistence.onLost = (session, reason) =>
      void (reason === 'moved' ? this.fenced(session) : this.close(session, reason));
    this.#reaper = new Reaper(limits.clock, limits, this);
    this.caps = new Caps(limits, this.#sessions, this.#reaper, (session) => void this.close(session, 'evicted'));
  }

  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): Session[] {
    return this.#sessions.all();
  }

  ofPrincipal(principal: string): Session[] {
    return [...this.#sessions.of(principal)];
  }

  stats(): SessionStats {
    return this.states.stats();
  }

  /**
   * Makes the entry of a session that is about to be opened; from here on it counts against the caps.
   *
   * @throws Refusal `draining` when the router stops; `storeUnavailable` when this node is not a member of its cluster;
   * `atCapacity` or `principalAtCapacity` when a cap is reached and no session may be evicted.
   * @throws TypeError when the ID generator gave an ID that is taken, or that the protocol does not allow.
   */
  admit(context: FactoryContext): Session {
    const id = context.sessionId;
    if (typeof id !== 'string' || !isVisibleAscii(id)) {
      onRejection(id, () => undefined);
      throw new TypeError('sessionIdGenerator must return a non-empty string of visible ASCII');
    }
    if (this.#sessions.has(id)) throw new TypeError('sessionIdGenerator returned the ID of a session that is open');
    // A request that still waits for the session's record must not build it after all is closed.
    if (this.lifecycle.isDraining) throw new Refusal('draining');
    const membership = this.#membership();
    if (membership?.isValid === false) throw new Refusal('storeUnavailable');
    const session = new Session(id, context, this.caps.take(context.principal), this, membership);
    this.#sessions.add(session);
    return session;
  }

  /** The session answered its `initialize`. */
  activate(session: Session): void {
    session.activate();
    session.restartAge();
    this.#reaper.opened(session);
    if (!session.attached) this.#reaper.detached(session);
    // Last, as a listener may close it at once.
    this.#events.emit('opened', session.info());
  }

  /** The session has been built again, from its stored record or out of hibernation. */
  revive(session: Session): void {
    const before = session.state === 'hibernated' ? session.info() : undefined;
    session.activate();
    if (before === undefined) this.#reaper.opened(session);
    if (session.pastMaxLifetime) session.transport?.stopStandalone('sessionNotFound');
    if (session.attached) this.#persistence.attached(session);
    else this.#reaper.detached(session);
    this.#events.emit('restored', session.info(), before);
  }

  /** Undoes {@link admit} for a session that could not be opened; nobody is told of a session that never was. */
  discard(session: Session): void {
    if (session.state !== 'initializing') return;
    session.discard();
    this.#remove(session);
  }

  /**
   * Ends a session as {@link close} does, but not before its record is removed: nothing can bring it back once anybody is
   * told. Resolves when it has ended, to a promise of the server's own clean-up.
   *
   * Rejects with Refusal `storeUnavailable`: the session is as it was then.
   */
  async terminate(session: Session): Promise<{ cleanUp: Promise<void> }> {
    // Without a store, nobody may be called between the wish and the end.
    const removed = this.#persistence.destroy(session);
    if (removed !== undefined) await removed;
    return { cleanUp: this.close(session, 'deleted') };
  }

  /**
   * Ends a session: every reply ends, every handler's signal aborts, its server is closed. All but the server's own clean-up
   * is done when this returns; the promise is for that. One that is being opened is given up.
   */
  close(session: Session, reason: CloseReason): Promise<void> {
    if (session.state === 'initializing' || session.opening !== undefined) {
      return this.closingSessions.track(this.#giveUp(session, reason));
    }
    if (session.state === 'closing' || session.state === 'closed') return Promise.resolve();
    const before = session.info();
    session.beginClosing();
    this.#remove(session);
    void session.transport?.close();
    session.life.end();
    this.#events.emit('closed', before, reason);
    const moving = reason === 'shutdown' || reason === 'moved' ? session.id : undefined;
    return this.closingSessions.track(this.#closeServer(session, reason), moving);
  }

  /**
   * The session, open or hibernated, is the principal's from now on: all that it was asked without one ends, and only its record
   * is kept until it is woken.
   *
   * @param slot - Its place in the principal's share.
   */
  adopt(session: Session, principal: string, slot: Slot): void {
    const { record, slot: before } = session;
    if (session.state === 'active' && record !== undefined) void this.#sleep(session, record);
    this.#sessions.reassign(session, principal, slot);
    before.release();
    this.#events.emit('adopted', session.info());
  }

  attached(session: Session): void {
    session.idleDue.cancel();
    this.#persistence.attached(session);
    if (session.state !== 'orphaned') return;
    const before = session.info();
    session.activate();
    this.#events.emit('revived', before);
  }

  detached(session: Session): void {
    if (session.state === 'hibernated') this.#reaper.resting(session, session.causeIfOrphaned);
    if (session.state !== 'active') return;
    if (session.pastMaxLifetime) void this.close(session, 'lifetime');
    else this.#reaper.detached(session);
  }

  /** Has another node own the session as soon as no request of it is under way. */
  handOff(session: Session): void {
    session.handOff();
    this.requestsSettled(session);
  }

  requestsSettled(session: Session): void {
    if (!session.handingOff || session.busy || session.state === 'initializing') return;
    session.transport?.stopStandalone('draining');
    void this.close(session, this.lifecycle.isDraining ? 'shutdown' : 'moved');
  }

  fenced(session: Session): void {
    session.moveRecordToFinal('lost');
    void this.close(session, 'moved');
  }

  closedByServer(session: Session): void {
    session.abandonOpening(() => new Error('The server closed its transport while the session was being opened'));
    if (session.state === 'hibernated') return this.#closeOnceAwake(session);
    void this.close(session, 'deleted');
  }

  orphan(session: Session): void {
    const cause = session.orphan();
    this.#reaper.orphaned(session, cause);
    this.#events.emit('orphaned', session.info(), cause);
  }

  /** Nobody comes for it: its server is closed, and only its record kept. */
  hibernate(session: Session): void {
    this.#reaper.resting(session, session.causeIfOrphaned);
    void this.#hibernate(session);
  }

  expire(session: Session): void {
    void this.close(session, 'expired');
  }

  retire(session: Session): void {
    session.retire();
    if (!session.attached) void this.close(session, 'lifetime');
  }

  #remove(session: Session): void {
    this.#reaper.removed(session);
    this.#sessions.delete(session);
    session.slot.release();
  }

  /** The server of a session that is being woken closed itself: that has failed, or it has just not been told yet. */
  #closeOnceAwake(session: Session): void {
    session.opening?.then(
      () => void this.close(session, 'deleted'),
      () => undefined,
    );
  }

  async #giveUp(session: Session, reason: CloseReason): Promise<void> {
    session.abandonOpening(
      () =>
        new Refusal(
          reason === 'shutdown' ? 'draining' : session.mayNotRespond ? 'storeUnavailable' : 'sessionNotFound',
        ),
    );
    await session.opening?.catch(() => undefined);
    // Given up too late, it is open now.
    await this.close(session, reason);
  }

  async #hibernate(session: Session): Promise<void> {
    const { life, record, idleSince } = session;
    try {
      await life.save();
      await record?.flush();
    } catch (error) {
      this.#events.emit('failure', 'a session cannot hibernate', error, session.id);
      return;
    }
    // Its client may have come back meanwhile, and even gone again.
    if (session.state !== 'orphaned' || session.idleSince !== idleSince || record === undefined) return;
    await this.#sleep(session, record);
  }

  /** All but the server's own clean-up is done when this returns; the promise is for that. */
  #sleep(session: Session, record: RecordWriter): Promise<void> {
    const { life, transport, server } = session;
    const before = session.info();
    session.hibernate(record.encode());
    this.#events.emit('hibernated', before);
    void transport?.close();
    life.end();
    return server === undefined ? Promise.resolve() : this.closingSessions.track(this.#builder.close(server));
  }

  async #closeServer(session: Session, reason: CloseReason): Promise<void> {
    const { server } = session;
    const closing = server === undefined ? undefined : this.#builder.close(server);
    await Promise.all([closing, this.#persistence.ended(session, reason)]);
    session.finishClosing();
  }
}
