import { inTime, type Clock } from '../runtime/clock.js';
import { DeadlineQueue } from '../runtime/deadline-queue.js';
import { Refusal } from '../errors.js';
import type { CloseReason, CoreEvents } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { MemoryEvents } from '../stores/memory-event-store.js';
import { type FencedEventStore, sessionHash } from '../stores/session-event-store.js';
import { OwnershipChanged } from './ownership.js';
import { RecordWriter, type RecordWriterInit } from './records/record-writer.js';
import type { PrincipalCounts } from './limits/principal-counts.js';
import type { RecordStore } from './records/record-store.js';
import type { Session } from './session.js';

/** How soon a store that failed is told again that a session is in use, in ms. */
const TOUCH_AGAIN = 5_000;

/** How long an event store may take to remove the events of one session, in ms. After that, the end does not wait for it. */
const PURGE_TIMEOUT = 5_000;

/** What a router that keeps its sessions beyond their servers does so with. */
export interface SessionPersistenceInit {
  /** Undefined without a store. */
  readonly records: RecordStore | undefined;
  /** Undefined without a cluster. */
  readonly principals?: PrincipalCounts | undefined;
  readonly eventStore: FencedEventStore | undefined;
  /** Answers that the event store refused. */
  readonly refusedAnswers: MemoryEvents | undefined;
  readonly hibernates: boolean;
  /** Whether sessions without a principal may get one, and so a new server. */
  readonly adopts: boolean;
  /** Whether records hold the session's age, because `maxLifetime` bounds it. */
  readonly keepsAge: boolean;
  readonly maxSubscriptions: number;
  /** How long a record may go without being touched while its session is attached, in ms. */
  readonly touchInterval: number;
  readonly clock: Clock;
  readonly events: Emitter<CoreEvents>;
}

/** Sees to what may outlive a session's server: its record, and the events of its streams. */
export class SessionPersistence {
  readonly records: RecordStore | undefined;
  /** The cap of each session. */
  readonly maxSubscriptions: number;
  /** Called when a session's record is gone, or another node's. */
  onLost: (session: Session, reason: 'deleted' | 'moved') => void = () => undefined;
  readonly #hibernates: boolean;
  readonly #adopts: boolean;
  readonly #keepsAge: boolean;
  readonly #principals: PrincipalCounts | undefined;
  readonly #eventStore: SessionPersistenceInit['eventStore'];
  readonly #refusedAnswers: SessionPersistenceInit['refusedAnswers'];
  readonly #events: Emitter<CoreEvents>;
  readonly #clock: Clock;
  readonly #touched: DeadlineQueue<Session>;
  readonly #untouched: DeadlineQueue<Session>;
  /** Sessions of whose records it is being looked whose they are now. */
  readonly #losing = new Map<Session, Promise<void>>();

  constructor({
    records,
    principals,
    eventStore,
    refusedAnswers,
    hibernates,
    adopts,
    keepsAge,
    maxSubscriptions,
    touchInterval,
    clock,
    events,
  }: SessionPersistenceInit) {
    this.records = records;
    this.#hibernates = hibernates;
    this.#adopts = adopts;
    this.#keepsAge = keepsAge;
    this.maxSubscriptions = maxSubscriptions;
    this.#principals = principals;
    this.#events = events;
    this.#clock = clock;
    this.#eventStore = eventStore;
    this.#refusedAnswers = refusedAnswers;
    this.#touched = new DeadlineQueue(clock, touchInterval, (session) => {
      if (session.attached || session.record?.dirty === true) this.#touch(session);
    });
    this.#untouched = new DeadlineQueue(clock, TOUCH_AGAIN, (session) => this.#touch(session));
  }

  get #keeps(): boolean {
    return this.records !== undefined || this.#hibernates;
  }

  /** Gives the session a record from here on; undefined when nobody would ever read it. */
  begin(session: Session, init: RecordWriterInit, epoch: number): RecordWriter | undefined {
    if (!this.#keeps && !(this.#adopts && session.principal === undefined)) return undefined;
    return session.keepRecord(new RecordWriter(init, session, epoch, this, () => void this.#lost(session)));
  }

  /**
   * Puts the record of a new session into the store.
   *
   * @param evicts - Whether another session of its principal may be ended for it.
   * @throws Refusal `storeUnavailable`; `principalAtCapacity`, where other nodes have to be asked.
   * @throws TypeError when the ID generator gave an ID that is stored already.
   */
  async create(session: Session, init: RecordWriterInit, evicts: boolean): Promise<void> {
    const record = this.begin(session, init, 0);
    if (record === undefined || this.records === undefined) return;
    if (session.principal !== undefined) await this.#principals?.enter(session.principal, session.id, evicts);
    if (session.ownershipLost) throw new Refusal('storeUnavailable');
    session.moveRecordTo('stored');
    if (!(await record.create(this.records))) {
      if (session.stored) session.moveRecordTo('none');
      throw new TypeError('sessionIdGenerator returned the ID of a session that is stored');
    }
    if (session.state === 'initializing') this.#touched.add(session.startTouching());
    // Its client hung up meanwhile, and its record may have been removed before it was there.
    else void this.ended(session, 'failed');
  }

  /**
   * Counts a session that has no principal among those of one, and writes so into its record.
   *
   * @param write - Writes the record by compare-and-set; rejects when the session is not this router's any more.
   * @throws Refusal `principalAtCapacity`, where other nodes have to be asked; `storeUnavailable`; what `write` rejects with.
   */
  async adopt({ id }: Session, principal: string, write: () => Promise<void>): Promise<void> {
    await this.#principals?.enter(principal, id, true);
    try {
      await write();
    } catch (error) {
      this.#principals?.leave(principal, id).catch((failure: unknown) => this.#leftBehind(id, failure));
      throw error;
    }
  }

  /**
   * Replaces the record of a session that has no server.
   *
   * @throws Refusal `storeUnavailable`; `sessionNotFound` when the record is gone, or another node's.
   */
  async rewrite(session: Session, text: string, epoch = session.epoch): Promise<void> {
    if (this.records === undefined || (await this.records.update(session.id, epoch, text))) return;
    await this.#lost(session);
    throw new Refusal('sessionNotFound');
  }

  /** Begins the next epoch of a session that hibernated; false when its record is gone, or another node's. */
  async claimAgain(session: Session): Promise<boolean> {
    if (this.records === undefined) return true;
    const claimed = await this.records.claimOwn(session.id, session.epoch);
    if (claimed) session.advanceEpoch();
    else await this.#lost(session);
    return claimed;
  }

  /** Has the record of a session that is in use live on. */
  attached(session: Session): void {
    if (!session.stored || session.record === undefined || session.touchDue?.queue !== undefined) return;
    this.#touch(session);
  }

  /**
   * Removes the record before the session itself is ended, so that who is told of its end can rely on it.
   *
   * Rejects with Refusal `storeUnavailable`: then the session has not ended. With OwnershipChanged when the record is not its own any
   * more. Undefined when there is none to remove.
   */
  destroy(session: Session): Promise<void> | undefined {
    const losing = this.#losing.get(session);
    if (losing !== undefined) return losing.then(rejectWithOwnershipChanged);
    if (!session.stored) return undefined;
    return this.#destroy(session);
  }

  /**
   * Removes all that is left of a session that is not here. False when there is no record of it.
   *
   * @param principal - Whose it is, where that is known.
   * @param epoch - Only if the record is in that epoch still.
   * @throws Refusal `storeUnavailable`.
   */
  async discard(id: string, principal?: string, epoch?: number): Promise<boolean> {
    const removed = (await this.records?.destroy(id, epoch)) ?? false;
    if (removed && principal !== undefined) await this.#principals?.leave(principal, id);
    if (removed) await this.#purge(id).catch((error: unknown) => this.#leftBehind(id, error));
    return removed;
  }

  /** The session is closed here. Never rejects: what could not be removed goes when its time is over. */
  async ended(session: Session, reason: CloseReason): Promise<void> {
    session.touchDue?.cancel();
    const { records } = this;
    try {
      if (reason === 'moved' || reason === 'shutdown') {
        if (reason === 'moved' && !session.stored) return;
        await session.record?.flush();
        if (session.stored) await records?.release(session.id, session.epoch);
        return;
      }
      if (session.principal !== undefined) await this.#principals?.leave(session.principal, session.id);
      const removed =
        session.recordState === 'removed' || (session.stored && (await records?.destroy(session.id, session.epoch)));
      // A record that is not ours to remove is that of a session which goes on elsewhere, and so do its streams.
      if (records === undefined || removed === true) await this.#purge(session.id);
    } catch (error) {
      this.#leftBehind(session.id, error);
    } finally {
      session.record?.end();
    }
  }

  async #destroy(session: Session): Promise<void> {
    // Another node may own it by the time that this is carried out.
    const epoch = session.membership === undefined ? undefined : session.epoch;
    const removed = await this.records?.destroy(session.id, epoch);
    if (epoch !== undefined && removed !== true) return this.#lost(session).then(rejectWithOwnershipChanged);
    session.moveRecordToFinal('removed');
  }

  /** The session is its principal's, from now on by this node. */
  enlist({ principal, id }: Session): void {
    if (principal === undefined) return;
    this.#principals?.renew(principal, id).catch((error: unknown) => {
      this.#events.emit('failure', "a principal's session could not be counted", error, id);
    });
  }

  async #purge(id: string): Promise<void> {
    await this.#refusedAnswers?.purge(sessionHash(id));
    const purged = this.#eventStore?.purge?.(sessionHash(id));
    if (purged === undefined) return;
    const late = (): Error => new Error('the event store did not answer purge in time');
    await inTime(this.#clock, PURGE_TIMEOUT, Promise.resolve(purged), late);
  }

  #leftBehind(id: string, error: unknown): void {
    this.#events.emit('failure', 'what an ended session leaves behind', error, id);
  }

  #touch(session: Session): void {
    this.#touched.add(session.startTouching());
    this.enlist(session);
    const { record } = session;
    // A touch does not write the age, so after a crash it could not be told.
    const touched = this.#keepsAge ? record?.save() : record?.touch();
    touched?.catch((error: unknown) => {
      // One that was lost is closed for it.
      if (!session.stored || session.touchDue === undefined) return;
      this.#events.emit('failure', 'a session record could not be touched', error, session.id);
      if (session.state !== 'closing' && session.state !== 'closed') this.#untouched.add(session.touchDue);
    });
  }

  #lost(session: Session): Promise<void> {
    if (!session.stored) return this.#losing.get(session) ?? Promise.resolve();
    session.moveRecordTo('missing');
    const losing = this.#lose(session).finally(() => this.#losing.delete(session));
    this.#losing.set(session, losing);
    return losing;
  }

  async #lose(session: Session): Promise<void> {
    // An owner that cannot be asked for is treated as one: nothing of the record may be removed then.
    const found = await this.records?.find(session.id).catch(() => 'unknown');
    this.onLost(session, found === undefined ? 'deleted' : 'moved');
  }
}

function rejectWithOwnershipChanged(): never {
  throw new OwnershipChanged();
}
