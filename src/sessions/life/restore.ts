import { wallTime } from '../../runtime/clock.js';
import { Refusal } from '../../errors.js';
import { isHttpError, type HttpError } from '../../http-error.js';
import { rejectReason, type CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import type { StoredRecord } from '../../stores/session-store.js';
import type { MayUse } from '../access.js';
import { FactoryContext } from '../server/server-context.js';
import { OwnershipChanged, type UnownedSession } from '../ownership.js';
import { start, openingLock, type Caller, type SessionParts } from './open.js';
import {
  decodeIfReadable,
  decodeRecord,
  principalOf,
  UnreadableRecord,
  withPrincipal,
  type SessionRecord,
} from '../records/record-format.js';
import { nodeOf, type Claim, type RecordStore } from '../records/record-store.js';
import { replayToServer } from './replay-record.js';
import type { Session } from '../session.js';
import { AppState } from '../records/app-state.js';

/** Attempts to restore a session that other nodes claim at the same time. */
const ATTEMPTS = 3;

/** Restores sessions from the store and wakes hibernated ones. Concurrent requests for a session share one restore. */
export class Restorer {
  readonly #parts: SessionParts;
  readonly #events: Emitter<CoreEvents>;
  readonly #isSessionId: (id: string) => boolean;
  readonly #mayUse: MayUse;
  readonly #maxLifetime: number;
  readonly #pauseRestoring: ((sessionId: string) => void) | undefined;
  /** The locks, by session ID and principal: the restore of a refused principal must not block the session's own principal. */
  readonly #restoring = new Map<string, Promise<Session | undefined>>();

  /**
   * @param isSessionId - Whether this router could have issued the ID. The store is not asked for any other.
   * @param pauseRestoring - Makes this node restore the session no more for a while. Undefined without a cluster.
   */
  constructor(
    parts: SessionParts,
    events: Emitter<CoreEvents>,
    isSessionId: (id: string) => boolean,
    mayUse: MayUse,
    maxLifetime: number | undefined,
    pauseRestoring?: (sessionId: string) => void,
  ) {
    this.#parts = parts;
    this.#events = events;
    this.#isSessionId = isSessionId;
    this.#mayUse = mayUse;
    this.#maxLifetime = maxLifetime ?? Infinity;
    this.#pauseRestoring = pauseRestoring;
  }

  /** Whether the store may have a session of that ID. */
  mayRestore(id: string): boolean {
    return this.#parts.persistence.records !== undefined && this.#isSessionId(id);
  }

  /**
   * Restores a session that this process does not have. Undefined when the store has none of that ID and principal.
   *
   * @param unowned - The record in which no other node owns the session. Undefined without a cluster.
   * @throws Refusal when the store does not answer, a cap is reached, or the server cannot be built now. The record is kept.
   * @throws OwnershipChanged when the record changed since it was read.
   */
  async restore(id: string, caller: Caller, unowned?: UnownedSession): Promise<Session | undefined> {
    const { records } = this.#parts.persistence;
    if (records === undefined || !this.#isSessionId(id)) return undefined;
    const key = JSON.stringify([id, caller.principal]);
    const current = this.#restoring.get(key);
    if (current !== undefined) return current;
    const restoring = this.#countFailure(this.#restore(records, id, caller, unowned), id, caller).finally(() =>
      this.#restoring.delete(key),
    );
    this.#restoring.set(key, restoring);
    return restoring;
  }

  /**
   * Builds the server of a hibernated session again. The caller must have a lease of it.
   *
   * @throws The errors of {@link restore}. The session then still hibernates, unless it was ended or another node claimed it.
   */
  async wake(session: Session, caller: Caller): Promise<void> {
    const waking = this.#countFailure(this.#wake(session, caller), session.id, caller);
    const unlock = session.lock(openingLock(waking, (error) => error as Error));
    await waking.finally(unlock);
  }

  /**
   * Ends a session that this process does not have. False when the store has none of that ID and principal.
   *
   * @param unowned - See {@link restore}.
   * @throws Refusal `storeUnavailable` when the store does not answer.
   * @throws OwnershipChanged when the record changed since it was read.
   */
  async discard(id: string, principal: string | undefined, unowned?: UnownedSession): Promise<boolean> {
    const { records } = this.#parts.persistence;
    if (records === undefined || !this.#isSessionId(id)) return false;
    const { record: stored } = unowned ?? { record: await records.find(id) };
    if (stored === undefined) return false;
    const record = await this.#read(records, id, stored);
    if (record === undefined || !this.#mayUse(record.principal, principal)) return false;
    return this.#destroy(id, principal, unowned);
  }

  /**
   * Whether the store has a record of that ID and principal. Changes nothing: another node may own the session, and only its owner
   * knows whether it has expired.
   *
   * @throws Refusal `storeUnavailable` when the store does not answer; `restoreFailed` for a record of a newer version.
   */
  async knows(id: string, principal: string | undefined): Promise<boolean> {
    const { records } = this.#parts.persistence;
    if (records === undefined || !this.#isSessionId(id)) return false;
    const stored = await records.find(id);
    const record = stored && decodeIfReadable(stored, id);
    return record !== undefined && this.#mayUse(record.principal, principal);
  }

  /** Ends a session of any principal that this process does not have. False when the store has none of that ID. */
  async destroy(id: string, unowned?: UnownedSession): Promise<boolean> {
    if (!this.mayRestore(id)) return false;
    return this.#destroy(id, unowned?.record && principalOf(unowned.record, id), unowned);
  }

  async #destroy(id: string, principal: string | undefined, unowned?: UnownedSession): Promise<boolean> {
    const removed = await this.#parts.persistence.discard(id, principal, unowned?.record);
    if (!removed && unowned?.record !== undefined) throw new OwnershipChanged();
    // A request may have restored the session while its record was removed.
    const here = this.#parts.registry.get(id);
    if (here !== undefined) void this.#parts.registry.close(here, 'deleted');
    return removed;
  }

  async #restore(
    records: RecordStore,
    id: string,
    caller: Caller,
    unowned?: UnownedSession,
  ): Promise<Session | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const { record: stored } = unowned ?? { record: await records.find(id) };
      if (stored === undefined) return undefined;
      const record = await this.#read(records, id, stored);
      if (record === undefined || !this.#mayUse(record.principal, caller.principal)) return undefined;
      // The session is here already: a request with another principal, or without one, is restoring it.
      if (this.#parts.registry.get(id) !== undefined) throw new OwnershipChanged();
      const session = await this.#rebuild(records, stored, record, caller);
      if (session !== undefined) return session;
      if (unowned !== undefined) throw new OwnershipChanged();
    }
    throw claimRefusal();
  }

  /** Undefined when the record was claimed, written or removed since it was read. */
  async #rebuild(
    records: RecordStore,
    stored: StoredRecord,
    record: SessionRecord,
    caller: Caller,
  ): Promise<Session | undefined> {
    const { registry } = this.#parts;
    const context = contextOf(record, stored.epoch + 1, caller);
    const session = registry.admit(context);
    session.restartAge(record.age);
    const owner = records.newOwner();
    const claim = { owner, epoch: context.epoch };
    session.ownBy(claim);
    const build = async (): Promise<boolean> => {
      let claimed = false;
      try {
        claimed = await records.claim(session.id, stored, owner);
        if (claimed) {
          // The owner before may have written the record after this node read it. No other node writes it from now on.
          const current = await records.find(session.id);
          // This node may have been fenced meanwhile, or have been paused. Another node may own the session then.
          if (session.mayNotRespond) throw new Refusal('storeUnavailable');
          if (current?.data !== stored.data) {
            registry.discard(session);
            await this.#release(records, session.id, claim);
            return false;
          }
          session.moveRecordTo('stored');
          if (record.principal === caller.principal) this.#parts.persistence.enlist(session);
          else await this.#adopt(session, stored, context.epoch, caller.principal);
          if (session.membership !== undefined)
            this.#events.emit('claimed', session.id, nodeOf(stored.owner), context.epoch);
          await this.#start(session, record, context, caller);
          registry.revive(session);
        } else registry.discard(session);
        return claimed;
      } catch (error) {
        if (session.stored) session.moveRecordTo('none');
        registry.discard(session);
        if (error instanceof UnreadableRecord) await records.destroy(session.id, claim);
        if (claimed && this.#mayOthersRestore(session, error)) {
          session.end();
          await this.#release(records, session.id, claim);
          throw new OwnershipChanged();
        }
        throw this.#refusal(error, session.id);
      }
    };
    const building = build();
    session.lock(
      openingLock(
        building.then((claimed) => checkClaimed(claimed, session)),
        (error) => error as Error,
      ),
    );
    return (await building) ? session : undefined;
  }

  /** Lets any node claim the session. Never rejects: after a failure this node can claim it again, as its record still names it. */
  async #release(records: RecordStore, id: string, claim: Claim): Promise<void> {
    await records.release(id, claim).catch((failure: unknown) => {
      this.#events.emit('failure', 'a session could not be given up', failure, id);
    });
  }

  /** Gives a session to a principal after the claim, before its server is built. */
  async #adopt(session: Session, { data }: StoredRecord, epoch: number, principal = ''): Promise<void> {
    const { persistence } = this.#parts;
    const text = withPrincipal(data, session.id, principal);
    await persistence.adopt(session, principal, () => persistence.rewrite(session, text, epoch));
  }

  async #wake(session: Session, caller: Caller): Promise<void> {
    const { registry, persistence } = this.#parts;
    const record = decodeRecord(session.hibernatedRecord ?? '', session.id);
    const context = contextOf(record, session.epoch + 1, caller);
    checkClaimed(await persistence.claimAgain(session), session);
    try {
      await this.#start(session, record, context, caller);
    } catch (error) {
      session.end();
      if (error instanceof UnreadableRecord) void registry.close(session, 'failed');
      else if (this.#mayOthersRestore(session, error)) {
        // Closing the session releases it. The promise is not awaited, as it waits for this restore itself.
        void registry.close(session, 'moved');
        throw new OwnershipChanged();
      }
      throw this.#refusal(error, session.id);
    }
    registry.revive(session);
  }

  /** Begins a new epoch from the record. Throws Refusal `storeUnavailable` when this node was fenced since the claim. */
  async #start(session: Session, record: SessionRecord, context: FactoryContext, caller: Caller): Promise<void> {
    if (session.mayNotRespond) throw new Refusal('storeUnavailable');
    // Before the factory runs, as the factory may change `context.state`, which is then saved.
    const { principal, state } = context;
    this.#parts.persistence.begin(session, { ...record, principal, state }, context.epoch);
    await start(this.#parts, session, context, (transport) =>
      replayToServer(this.#parts, this.#events, transport, record, caller.extra),
    );
    session.agreeOnVersion(record.protocolVersion);
  }

  /** Whether other nodes may be able to build the server, unless the app refuses. If so, this node pauses restoring it. */
  #mayOthersRestore({ id, membership }: Session, error: unknown): boolean {
    if (this.#pauseRestoring === undefined || membership?.isValid !== true || error instanceof UnreadableRecord)
      return false;
    if (isHttpError(error) || (error instanceof Refusal && error.reason !== 'openTimeout')) return false;
    this.#events.emit('failure', 'a session could not be restored by this node', error, id);
    this.#pauseRestoring(id);
    return true;
  }

  /** Decodes a record. Removes a record that can never be restored, and returns undefined for it. */
  async #read(records: RecordStore, id: string, stored: StoredRecord): Promise<SessionRecord | undefined> {
    const record = decodeIfReadable(stored, id, (error) => this.#unrestorable(error, id));
    const age = record && (await this.#ageOf(records, record));
    if (record !== undefined && age !== undefined && age < this.#maxLifetime) return { ...record, age };
    await records.destroy(id, stored);
    return undefined;
  }

  /**
   * The age of a stored session, or undefined when it has expired. The wall clocks of two nodes may differ, so they are never compared. The age is a sum of durations:
   * each owner measures its own, and the store measures the time since the last write. A duration that was not measured counts
   * as 0 (a record of an earlier version, a store without `remaining`).
   */
  async #ageOf(records: RecordStore, { id, openedAt, age = 0 }: SessionRecord): Promise<number | undefined> {
    const idle = this.#maxLifetime < Infinity || records.keepsExpired ? await records.idleTime(id) : 0;
    if (idle === undefined) return undefined;
    if (this.#maxLifetime < Infinity) return age + idle;
    // Without a `maxLifetime`, the age is for display only.
    return Math.max(0, wallTime(this.#parts.registry.clock) - openedAt);
  }

  /** The refusal of a request whose session could not be restored. */
  #refusal(error: unknown, id: string): Refusal | HttpError {
    if (!(error instanceof UnreadableRecord)) {
      return error instanceof Refusal || isHttpError(error) ? error : new Refusal('restoreFailed', { cause: error });
    }
    this.#unrestorable(error, id);
    return new Refusal('sessionNotFound');
  }

  #unrestorable(error: UnreadableRecord, id: string): void {
    this.#events.emit('failure', 'a session can never be restored', error, id);
    this.#events.emit('rejected', 'unrestorable', { sessionId: id, principal: undefined });
  }

  /** Counts a failed restore once, even if many requests wait for it. */
  async #countFailure<T>(restoring: Promise<T>, sessionId: string, { principal }: Caller): Promise<T> {
    try {
      return await restoring;
    } catch (error) {
      const reason = rejectReason(error);
      if (reason !== undefined && !(error instanceof OwnershipChanged))
        this.#events.emit('rejected', reason, { sessionId, principal });
      throw error;
    }
  }
}

/** @throws OwnershipChanged when a session of a cluster could not be claimed; Refusal `restoreFailed` without a cluster. */
function checkClaimed(claimed: boolean, { membership }: Session): void {
  if (!claimed) throw membership === undefined ? claimRefusal() : new OwnershipChanged();
}

function claimRefusal(): Refusal {
  return new Refusal('restoreFailed', { cause: new Error('another node claimed the session, or it ended') });
}

function contextOf(
  { id, initialize, state }: SessionRecord,
  epoch: number,
  { principal, req }: Caller,
): FactoryContext {
  return new FactoryContext({
    sessionId: id,
    principal,
    req,
    clientInfo: initialize.clientInfo,
    clientCapabilities: initialize.capabilities,
    restored: true,
    epoch,
    state: new AppState(state),
  });
}
