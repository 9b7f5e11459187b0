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
 * All sessions of a router. Only the registry makes a session change its state (see {@link SESSION_STATES}).
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
  /** Sessions that are closing: their servers are not closed yet, or their opening was not rolled back yet. */
  readonly closingSessions = new ClosingSessions();

  /** @param membership - The current membership of this node. Undefined without a cluster. */
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
   * Registers a session that is about to be opened. From here on it counts against the caps.
   *
   * @throws Refusal `draining` when the router drains or closes; `storeUnavailable` when this node's membership has ended.
   * @throws Refusal `atCapacity` or `principalAtCapacity` when a cap is reached and no session may be evicted.
   * @throws TypeError when the ID generator gave an ID that is in use, or that the protocol does not allow.
   */
  admit(context: FactoryContext): Session {
    const id = context.sessionId;
    if (typeof id !== 'string' || !isVisibleAscii(id)) {
      onRejection(id, () => undefined);
      throw new TypeError('sessionIdGenerator must return a non-empty string of visible ASCII');
    }
    if (this.#sessions.has(id)) throw new TypeError('sessionIdGenerator returned the ID of a session that is open');
    // A restore that still reads its record must not create a session after the router has closed all sessions.
    if (this.lifecycle.isDraining) throw new Refusal('draining');
    const membership = this.#membership();
    if (membership?.isValid === false) throw new Refusal('storeUnavailable');
    const session = new Session(id, context, this.caps.take(context.principal), this, membership);
    this.#sessions.add(session);
    return session;
  }

  /** Called when the server has answered `initialize`. */
  activate(session: Session): void {
    session.activate();
    session.restartAge();
    this.#reaper.opened(session);
    if (!session.attached) this.#reaper.detached(session);
    // Last, as a listener may close the session at once.
    this.#events.emit('opened', session.info());
  }

  /** Called when the session was restored or woken. */
  revive(session: Session): void {
    const before = session.state === 'hibernated' ? session.info() : undefined;
    session.activate();
    if (before === undefined) this.#reaper.opened(session);
    if (session.pastMaxLifetime) session.transport?.standalone.stop('sessionNotFound');
    if (session.attached) this.#persistence.attached(session);
    else this.#reaper.detached(session);
    this.#events.emit('restored', session.info(), before);
  }

  /** Undoes {@link admit} for a session that could not be opened. No event is emitted, as `opened` was not emitted either. */
  discard(session: Session): void {
    if (session.state !== 'initializing') return;
    session.discard();
    this.#remove(session);
  }

  /**
   * Removes the record of a session, then ends the session as {@link close} does. In this order, the session cannot be restored
   * after its end was announced. Resolves when it has ended. `cleanUp` settles after the server's own clean-up.
   *
   * Rejects with Refusal `storeUnavailable` when the record could not be removed. The session is then unchanged.
   */
  async terminate(session: Session): Promise<{ cleanUp: Promise<void> }> {
    // Without a store, the session must end in the same turn of the event loop.
    const removed = this.#persistence.destroy(session);
    if (removed !== undefined) await removed;
    return { cleanUp: this.close(session, 'deleted') };
  }

  /**
   * Ends a session: every reply ends, every handler's signal aborts, and its server is closed. When this returns, only the
   * server's own clean-up is not done yet. The promise waits for it. The opening of a session is abandoned.
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
    session.lifetime.end();
    this.#events.emit('closed', before, reason);
    const mayBeRestored = reason === 'moved' || (reason === 'shutdown' && session.stored);
    if (!mayBeRestored) this.#events.emit('ended', before, reason);
    const moving = reason === 'shutdown' || reason === 'moved' ? session.id : undefined;
    return this.closingSessions.track(this.#closeServer(session, reason), moving);
  }

  /**
   * Gives an open or hibernated session to the principal. Requests and streams that began without the principal end. Only the
   * record is kept until the session is woken.
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

  /** Ends the session here as soon as it has no request in flight, so that another node can own it. */
  handOff(session: Session): void {
    session.handOff();
    this.requestsSettled(session);
  }

  requestsSettled(session: Session): void {
    if (!session.handingOff || session.busy || session.state === 'initializing') return;
    session.transport?.standalone.stop('draining');
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

  /** Closes the server of a session that was orphaned for `hibernateAfter`, and keeps only the record. */
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

  /** Closes a session whose server closed itself while the session was being woken. If waking fails, nothing is to be done. */
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
    // If the opening had succeeded already, the session is open now.
    await this.close(session, reason);
  }

  async #hibernate(session: Session): Promise<void> {
    const { lifetime, record, idleSince } = session;
    try {
      await lifetime.save();
      await record?.flush();
    } catch (error) {
      this.#events.emit('failure', 'a session cannot hibernate', error, session.id);
      return;
    }
    // The client may have used the session while its state was saved, so that the session is idle since another time.
    if (session.state !== 'orphaned' || session.idleSince !== idleSince || record === undefined) return;
    await this.#sleep(session, record);
  }

  /** Makes a session hibernate. When this returns, only the server's own clean-up is not done yet. The promise waits for it. */
  #sleep(session: Session, record: RecordWriter): Promise<void> {
    const { lifetime, transport, server } = session;
    const before = session.info();
    session.hibernate(record.encode());
    this.#events.emit('hibernated', before);
    void transport?.close();
    lifetime.end();
    return server === undefined ? Promise.resolve() : this.closingSessions.track(this.#builder.close(server));
  }

  async #closeServer(session: Session, reason: CloseReason): Promise<void> {
    const { server } = session;
    const closing = server === undefined ? undefined : this.#builder.close(server);
    await Promise.all([closing, this.#persistence.ended(session, reason)]);
    session.finishClosing();
  }
}
