import { keepingAlive } from '../../runtime/clock.js';
import type { JSONRPCRequest } from '../../protocol/messages.js';
import type { InitializeRequestParams } from '../../protocol/session-era.js';
import { Refusal } from '../../errors.js';
import { encodeRecord, type SessionRecord } from './record-format.js';
import type { Claim, RecordStore } from './record-store.js';
import type { AppState } from './app-state.js';
import { ClientSettings } from './client-settings.js';

/** Writes that a flush waits for: the current one, the next, and one for a change that was made during these. */
const MAX_FLUSH_WRITES = 3;

const ignore = (): void => undefined;

/** The first contents of a record: the data of a new session, or the stored record. */
export type RecordWriterInit = Omit<SessionRecord, 'state' | 'age'> & { readonly state: AppState };

/** The part of a session that its record writer reads. */
interface Aging {
  /** Milliseconds since the session was opened. */
  readonly age: number;
}

interface RecordWriterListener {
  /** Called when the record was written or touched. @param at - When that was sent, by the router's clock. */
  readonly onWritten: (at: number) => void;
  /** Called when the record was removed or claimed by another node. The session must then end here. */
  readonly onLost: () => void;
}

/** Shared by all record writers of a router. */
interface RecordWriterContext {
  /** Undefined without a store. */
  readonly records: RecordStore | undefined;
  readonly maxSubscriptions: number;
}

/** Keeps the record of a session up to date while the session has a server, and saves it if there is a store. */
export class RecordWriter {
  readonly settings: ClientSettings;
  readonly #id: string;
  #principal: string | undefined;
  readonly #initialize: InitializeRequestParams;
  readonly #protocolVersion: string;
  readonly #openedAt: number;
  readonly #state: AppState;
  readonly #session: Aging;
  readonly #claim: Claim;
  readonly #records: RecordStore | undefined;
  readonly #listener: RecordWriterListener;
  /** The record was changed after the last successful write, or was never written. */
  #dirty = false;
  #ended = false;
  #writing: Promise<void> | undefined;
  #nextWrite: Promise<void> | undefined;

  constructor(
    init: RecordWriterInit,
    session: Aging,
    claim: Claim,
    { records, maxSubscriptions }: RecordWriterContext,
    listener: RecordWriterListener,
  ) {
    this.#id = init.id;
    this.#principal = init.principal;
    this.#initialize = init.initialize;
    this.#protocolVersion = init.protocolVersion;
    this.#openedAt = init.openedAt;
    this.settings = new ClientSettings(maxSubscriptions, init.logLevel, init.subscriptions);
    this.#state = init.state;
    this.#session = session;
    this.#claim = claim;
    this.#records = records;
    this.#listener = listener;
    // A handler may await the save after the last socket has closed. The process must not exit before it is done.
    init.state.save = () => handled(keepingAlive(this.save()));
  }

  /** Whether a change is not written yet. */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** Called when the epoch ends. From now on, `save` rejects. */
  end(): void {
    this.#ended = true;
  }

  /** Writes the principal that adopts the session. If it rejects (as `save` does), the record has no principal, as before. */
  async adopt(principal: string): Promise<void> {
    this.#principal = principal;
    try {
      await this.save();
    } catch (error) {
      this.#principal = undefined;
      throw error;
    }
  }

  /** Writes the record for the first time. Later changes are written after it. False when the store has a record of that ID. */
  async create(records: RecordStore): Promise<boolean> {
    const creating = this.#timed(records, records.create(this.#id, this.encode(), this.#claim.owner));
    this.#writing = handled(creating.then(ignore).finally(() => (this.#writing = undefined)));
    return creating;
  }

  /** Records the change of a request that succeeded. The promise, if there is one, resolves when the change is saved. */
  remember(request: JSONRPCRequest): Promise<void> | undefined {
    return this.settings.remember(request) ? this.save() : undefined;
  }

  /**
   * Writes the current record. One write runs at a time. Changes during a write share the next one.
   *
   * Rejects with Refusal `storeUnavailable` when the store fails. Rejects with `sessionNotFound` when the session has ended,
   * hibernates or was claimed by another node. The rejection is marked as handled: otherwise it would end the process when the
   * caller does not await the promise.
   */
  save(): Promise<void> {
    const records = this.#records;
    if (this.#ended) return handled(Promise.reject(new Refusal('sessionNotFound')));
    if (records === undefined) return Promise.resolve();
    this.#dirty = true;
    this.#nextWrite ??= handled(this.#writeNext(records));
    return this.#nextWrite;
  }

  /** Extends the record's time in the store, and writes changes of failed writes. Rejects as `save` does. */
  async touch(): Promise<void> {
    const records = this.#records;
    if (records === undefined) return;
    if (this.#dirty) return this.save();
    const touching = records.touch(this.#id, this.#claim, () => this.encode());
    if (!(await this.#timed(records, touching))) this.#lose();
  }

  /**
   * Resolves when everything is written, or after {@link MAX_FLUSH_WRITES} writes. A server that keeps changing its state must
   * not delay the end of its session. Rejects as `save` does.
   */
  async flush(): Promise<void> {
    for (let writes = 0; writes < MAX_FLUSH_WRITES; writes += 1) {
      if (this.#nextWrite === undefined && this.#writing === undefined && !this.#dirty) return;
      await (this.#nextWrite ?? this.#writing ?? this.save());
    }
  }

  encode(): string {
    return encodeRecord(
      {
        id: this.#id,
        principal: this.#principal,
        initialize: this.#initialize,
        protocolVersion: this.#protocolVersion,
        logLevel: this.settings.logLevel,
        subscriptions: this.settings.subscriptions,
        openedAt: this.#openedAt,
        age: Math.floor(this.#session.age),
      },
      this.#state.toString(),
    );
  }

  async #writeNext(records: RecordStore): Promise<void> {
    await this.#writing?.catch(ignore);
    this.#nextWrite = undefined;
    this.#writing = handled(this.#write(records).finally(() => (this.#writing = undefined)));
    await this.#writing;
  }

  async #write(records: RecordStore): Promise<void> {
    this.#dirty = false;
    try {
      const updating = records.update(this.#id, this.#claim, this.encode());
      if (!(await this.#timed(records, updating))) this.#lose();
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }

  /** @param sent - A write that was sent in this turn of the event loop. */
  async #timed(records: RecordStore, sent: Promise<boolean>): Promise<boolean> {
    const at = records.now();
    const done = await sent;
    if (done) this.#listener.onWritten(at);
    return done;
  }

  #lose(): never {
    if (!this.#ended) this.#listener.onLost();
    throw new Refusal('sessionNotFound');
  }
}

function handled(promise: Promise<void>): Promise<void> {
  promise.catch(ignore);
  return promise;
}
