import type { Clock } from '../runtime/clock.js';
import { DeadlineQueue } from '../runtime/deadline-queue.js';
import { Refusal } from '../errors.js';
import type { CloseReason, CoreEvents } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { MemoryEvents } from '../stores/memory-event-store.js';
import { type FencedEventStore, sessionHash } from '../stores/session-event-store.js';
import { OwnershipChanged } from './ownership.js';
import { RecordWriter, type RecordWriterInit } from './records/record-writer.js';
import { timedCall } from '../stores/timed-call.js';
import type { PrincipalCounts } from './limits/principal-counts.js';
import type { Claim, RecordStore } from './records/record-store.js';
import type { Session } from './session.js';

/** The time after which a failed touch is repeated, and between the touches that check a claim, in ms. */
const TOUCH_AGAIN = 5_000;

/**
 * How long touches check a claim, in ms. A primary that Redis Cluster has replaced acknowledges writes until its
 * `cluster-node-timeout` has passed: by default 15 s, and its failure must be detected before.
 */
const CLAIM_CHECKED_FOR = 30_000;

/** How long the end of a session waits for the event store to remove its events, in ms. */
const PURGE_TIMEOUT = 5_000;

/** The parts and settings with which a router keeps records and events. */
export interface SessionPersistenceInit {
  /** Undefined without a store. */
  readonly records: RecordStore | undefined;
  /** Undefined without a cluster. */
  readonly principals?: PrincipalCounts | undefined;
  readonly eventStore: FencedEventStore | undefined;
  /** Answers that the event store refused. */
  readonly refusedAnswers: MemoryEvents | undefined;
  readonly hibernates: boolean;
  /** Whether a principal may adopt a session without a principal, which then gets a new server. */
  readonly adopts: boolean;
  /** Whether records contain the session's age, because `maxLifetime` bounds it. */
  readonly keepsAge: boolean;
  readonly maxSubscriptions: number;
  /** How long a record may go without being touched while its session is attached, in ms. */
  readonly touchInterval: number;
  readonly clock: Clock;
  readonly events: Emitter<CoreEvents>;
}

/** Keeps the data that may outlive a session's server: its record, and the events of its streams. */
export class SessionPersistence {
  readonly records: RecordStore | undefined;
  /** The cap of each session. */
  readonly maxSubscriptions: number;
  /** Called when a session's record was removed, or another node claimed it. */
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
  /** When this router last wrote or touched the record, by its clock. A hibernated session has no record writer. */
  readonly #writtenAt = new WeakMap<Session, number>();
  readonly #claimedAt = new WeakMap<Session, number>();
  /** Sessions whose records this router lost, while the store is asked for the new owner. */
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

  get #keepsRecords(): boolean {
    return this.records !== undefined || this.#hibernates;
  }

  /** Gives the session a record writer. Undefined when the record would never be read. */
  begin(session: Session, init: RecordWriterInit, epoch: number): RecordWriter | undefined {
    if (!this.#keepsRecords && !(this.#adopts && session.principal === undefined)) {
      session.keepSettings(this.maxSubscriptions, init);
      return undefined;
    }
    const claim = { owner: session.owner, epoch };
    const listener = {
      onWritten: (at: number): void => void this.#writtenAt.set(session, at),
      onLost: (): void => void this.#lost(session),
    };
    return session.keepRecord(new RecordWriter(init, session, claim, this, listener));
  }

  /**
   * Puts the record of a new session into the store.
   *
   * @param evicts - Whether another session of its principal may be evicted for it.
   * @throws Refusal `storeUnavailable` when the store does not answer.
   * @throws Refusal `principalAtCapacity` when the principal has too many sessions in the cluster.
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
    // The client disconnected during the write. The removal of the record may have come before the write.
    else void this.ended(session, 'failed');
  }

  /**
   * Counts an adopted session as one of the principal, and writes its record.
   *
   * @param write - Writes the record by compare-and-set. Rejects when another node has claimed the session.
   * @throws Refusal `principalAtCapacity` when the principal has too many sessions in the cluster.
   * @throws Refusal `storeUnavailable` when the store does not answer; the error of `write`.
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
   * @throws Refusal `storeUnavailable` when the store does not answer.
   * @throws Refusal `sessionNotFound` when the record was removed, or another node claimed it.
   */
  async rewrite(session: Session, text: string, epoch = session.epoch): Promise<void> {
    if (this.records === undefined) return;
    const claim = { owner: session.owner, epoch };
    const at = this.#clock.now();
    if (!(await this.records.update(session.id, claim, text))) {
      await this.#lost(session);
      throw new Refusal('sessionNotFound');
    }
    this.#writtenAt.set(session, at);
  }

  /** Begins the next epoch of a hibernated session. False when its record was removed, or another node claimed it. */
  async claimAgain(session: Session): Promise<boolean> {
    if (this.records === undefined) return true;
    const owner = this.records.newOwner();
    const claimed = await this.records.claim(session.id, session, owner);
    if (claimed) session.ownBy({ owner, epoch: session.epoch + 1 });
    else await this.#lost(session);
    return claimed;
  }

  /** Called when the session is in use: keeps the record from expiring. */
  attached(session: Session): void {
    if (!session.stored || session.record === undefined || session.touchDue?.queue !== undefined) return;
    const isClaimed = session.membership !== undefined && session.touchDue === undefined;
    if (isClaimed) this.#claimedAt.set(session, this.#clock.now());
    this.#touch(session);
  }

  /**
   * Removes the record before the session itself ends, so that the session cannot be restored after its end was announced.
   * Undefined when there is no record to remove.
   *
   * Rejects with Refusal `storeUnavailable` when the store does not answer. The session has not ended then. Rejects with
   * OwnershipChanged when another node has claimed the session.
   */
  destroy(session: Session): Promise<void> | undefined {
    const losing = this.#losing.get(session);
    if (losing !== undefined) return losing.then(rejectWithOwnershipChanged);
    if (!session.stored) return undefined;
    return this.#destroy(session);
  }

  /**
   * Removes the record and the events of a session that this process does not have. False when there is no record of it.
   *
   * @param principal - The principal of the session, if it is known.
   * @param claim - If set, the record is removed only when it still has that owner and epoch.
   * @throws Refusal `storeUnavailable` when the store does not answer.
   */
  async discard(id: string, principal?: string, claim?: Claim): Promise<boolean> {
    const removed = (await this.records?.destroy(id, claim)) ?? false;
    if (removed && principal !== undefined) await this.#principals?.leave(principal, id);
    if (removed) await this.#purge(id).catch((error: unknown) => this.#leftBehind(id, error));
    return removed;
  }

  /** Called when the session is closed here. Never rejects: data that could not be removed expires in the store. */
  async ended(session: Session, reason: CloseReason): Promise<void> {
    session.touchDue?.cancel();
    const { records } = this;
    try {
      if (reason === 'moved' || reason === 'shutdown') {
        if (reason === 'moved' && !session.stored) return;
        await session.record?.flush();
        if (session.stored) await records?.release(session.id, session, this.#writtenAt.get(session));
        return;
      }
      if (session.principal !== undefined) await this.#principals?.leave(session.principal, session.id);
      const removed =
        session.recordState === 'removed' || (session.stored && (await records?.destroy(session.id, session)));
      // If another node claimed the record, the session goes on there, and its streams are still needed.
      if (records === undefined || removed === true) await this.#purge(session.id);
    } catch (error) {
      this.#leftBehind(session.id, error);
    } finally {
      session.record?.end();
    }
  }

  async #destroy(session: Session): Promise<void> {
    // In a cluster, another node may claim the session before the store removes the record. The claim prevents that removal.
    const claim = session.membership === undefined ? undefined : session;
    const removed = await this.records?.destroy(session.id, claim);
    if (claim !== undefined && removed !== true) return this.#lost(session).then(rejectWithOwnershipChanged);
    session.moveRecordToFinal('removed');
  }

  /** Counts the session of this node among those of its principal. */
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
    const onTimeout = (): Error => new Error('the event store did not answer purge in time');
    const call = { operation: 'purge', answer: Promise.resolve(purged), limit: PURGE_TIMEOUT, onTimeout } as const;
    await timedCall(this.#clock, call, (...answer) => this.#events.emit('storeAnswered', 'event', ...answer));
  }

  #leftBehind(id: string, error: unknown): void {
    this.#events.emit('failure', 'what an ended session leaves behind', error, id);
  }

  #touch(session: Session): void {
    // A fail-over of Redis may lose a claim and no renewal of this node, which only a write can find out.
    const claimAge = this.#clock.now() - (this.#claimedAt.get(session) ?? -Infinity);
    const next = claimAge < CLAIM_CHECKED_FOR ? this.#untouched : this.#touched;
    next.add(session.startTouching());
    this.enlist(session);
    const { record } = session;
    // A touch does not write the age, so a crash would lose it. A save does.
    const touched = this.#keepsAge ? record?.save() : record?.touch();
    touched?.catch((error: unknown) => {
      // If the record was lost, the session is closing for that reason.
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
    // If the store does not answer, another node may own the session. So its record and its events are not removed.
    const found = await this.records?.find(session.id).catch(() => 'unknown');
    this.onLost(session, found === undefined ? 'deleted' : 'moved');
  }
}

function rejectWithOwnershipChanged(): never {
  throw new OwnershipChanged();
}
