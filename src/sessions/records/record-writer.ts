import { keepingAlive } from '../../runtime/clock.js';
import {
  LoggingLevelSchema,
  type InitializeRequestParams,
  type JSONRPCRequest,
  type LoggingLevel,
} from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../../errors.js';
import { encodeRecord, type SessionRecord } from './record-format.js';
import type { RecordStore } from './record-store.js';
import type { AppState } from './app-state.js';
import { Subscriptions } from './subscriptions.js';

/** Writes that a flush waits for: the current one, the next, and one for a change that came meanwhile. */
const MAX_FLUSH_WRITES = 3;

const ignore = (): void => undefined;

/** What a live record is made with: a session's first facts, or what was read of it. */
export type RecordWriterInit = Omit<SessionRecord, 'state' | 'age'> & { readonly state: AppState };

/** The part of a session that its record reads. */
interface Aging {
  /** Milliseconds since the session was opened. */
  readonly age: number;
}

/** The parts that all records of a router share. */
interface RecordWriterContext {
  /** Undefined without a store. */
  readonly records: RecordStore | undefined;
  readonly maxSubscriptions: number;
}

/** A session's record while the session has a server: kept up to date, and saved where there is a store. */
export class RecordWriter {
  readonly #id: string;
  #principal: string | undefined;
  readonly #initialize: InitializeRequestParams;
  readonly #protocolVersion: string;
  readonly #openedAt: number;
  readonly #subscriptions: Subscriptions;
  readonly #state: AppState;
  readonly #session: Aging;
  readonly #epoch: number;
  readonly #records: RecordStore | undefined;
  readonly #onLost: () => void;
  #logLevel: LoggingLevel | undefined;
  /** Something has changed since the last write that succeeded, or was never written. */
  #dirty = false;
  #ended = false;
  #writing: Promise<void> | undefined;
  #nextWrite: Promise<void> | undefined;

  /** @param onLost - Called when the record is gone, or another node's: the session must not live on here. */
  constructor(
    init: RecordWriterInit,
    session: Aging,
    epoch: number,
    { records, maxSubscriptions }: RecordWriterContext,
    onLost: () => void,
  ) {
    this.#id = init.id;
    this.#principal = init.principal;
    this.#initialize = init.initialize;
    this.#protocolVersion = init.protocolVersion;
    this.#openedAt = init.openedAt;
    this.#logLevel = init.logLevel;
    this.#subscriptions = new Subscriptions(init.subscriptions, maxSubscriptions);
    this.#state = init.state;
    this.#session = session;
    this.#epoch = epoch;
    this.#records = records;
    this.#onLost = onLost;
    // A handler may await it after the last socket has closed.
    init.state.save = () => handled(keepingAlive(this.save()));
  }

  /** Whether something is still to be written. */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** The life that it was made for is over: whoever changes anything of it from now on is told so. */
  end(): void {
    this.#ended = true;
  }

  /** Gives the session to a principal. Rejects as `save` does; the session is without a principal then, as before. */
  async adopt(principal: string): Promise<void> {
    this.#principal = principal;
    try {
      await this.save();
    } catch (error) {
      this.#principal = undefined;
      throw error;
    }
  }

  /** Writes the record for the first time; what changes meanwhile is written after. False when there is one already. */
  async create(records: RecordStore): Promise<boolean> {
    const creating = records.create(this.#id, this.encode());
    this.#writing = handled(creating.then(ignore).finally(() => (this.#writing = undefined)));
    return creating;
  }

  /** Whether the session has room for the change that a request makes. If true, the request must be settled or {@link free}d. */
  reserve(request: JSONRPCRequest): boolean {
    return request.method !== 'resources/subscribe' || this.#subscriptions.reserve(request);
  }

  /** Releases the room of a request that has changed nothing. */
  free(request: JSONRPCRequest): void {
    this.#subscriptions.free(request);
  }

  /** Takes note of what a settled request has changed; the promise, if there is one, resolves when it is saved. */
  remember(request: JSONRPCRequest): Promise<void> | undefined {
    const { method, params } = request;
    this.free(request);
    if (method === 'logging/setLevel') {
      const level = LoggingLevelSchema.safeParse(params?.level);
      if (!level.success) return undefined;
      this.#logLevel = level.data;
      return this.save();
    }
    // A server may answer well to whatever it is asked.
    if (typeof params?.uri !== 'string') return undefined;
    if (method === 'resources/subscribe') this.#subscriptions.add(params.uri);
    else this.#subscriptions.delete(params.uri);
    return this.save();
  }

  /**
   * Writes the record as it is. One write is under way at a time; changes that come meanwhile share the next.
   *
   * Rejects with Refusal `storeUnavailable`, or `sessionNotFound` when the session has ended, hibernates or was taken over
   * elsewhere. Who does not await it is not told: a rejection that nobody handles would end the process.
   */
  save(): Promise<void> {
    const records = this.#records;
    if (this.#ended) return handled(Promise.reject(new Refusal('sessionNotFound')));
    if (records === undefined) return Promise.resolve();
    this.#dirty = true;
    this.#nextWrite ??= handled(this.#writeNext(records));
    return this.#nextWrite;
  }

  /** Has the record live on, with what could not be written before. Rejects as `save` does. */
  async touch(): Promise<void> {
    const records = this.#records;
    if (records === undefined) return;
    if (this.#dirty) return this.save();
    if (!(await records.touch(this.#id, this.#epoch, () => this.encode()))) this.#lose();
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
        logLevel: this.#logLevel,
        subscriptions: this.#subscriptions.all(),
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
      if (!(await records.update(this.#id, this.#epoch, this.encode()))) this.#lose();
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }

  #lose(): never {
    if (!this.#ended) this.#onLost();
    throw new Refusal('sessionNotFound');
  }
}

function handled(promise: Promise<void>): Promise<void> {
  promise.catch(ignore);
  return promise;
}
