import type { InitializeRequestParams, JSONRPCRequest, LoggingLevel } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import { encodeRecord, type SessionRecord } from './record.js';
import type { Records } from './records.js';
import type { State } from './state.js';

/** Bytes that the URIs of a session's subscriptions may take: a record is read and written whole. */
const MAX_SUBSCRIPTIONS = 64 * 1024;

const ignore = (): void => undefined;

/** What a live record is made with: a session's first facts, or what was read of it. */
export type LiveRecordInit = Omit<SessionRecord, 'state'> & { readonly state: State };

/** A session's record while the session has a server: kept up to date, and saved where there is a store. */
export class LiveRecord {
  readonly #id: string;
  readonly #principal: string | undefined;
  readonly #initialize: InitializeRequestParams;
  readonly #protocolVersion: string;
  readonly #openedAt: number;
  readonly #subscriptions: Set<string>;
  readonly #state: State;
  readonly #epoch: number;
  readonly #records: Records | undefined;
  readonly #onLost: () => void;
  #logLevel: LoggingLevel | undefined;
  /** Something has changed since the last write that succeeded, or was never written. */
  #dirty = false;
  #writing: Promise<void> | undefined;
  #nextWrite: Promise<void> | undefined;

  /** @param onLost - Called when the record is gone, or another node's: the session must not live on here. */
  constructor(init: LiveRecordInit, epoch: number, records: Records | undefined, onLost: () => void) {
    this.#id = init.id;
    this.#principal = init.principal;
    this.#initialize = init.initialize;
    this.#protocolVersion = init.protocolVersion;
    this.#openedAt = init.openedAt;
    this.#logLevel = init.logLevel;
    this.#subscriptions = new Set(init.subscriptions);
    this.#state = init.state;
    this.#epoch = epoch;
    this.#records = records;
    this.#onLost = onLost;
    if (records !== undefined) init.state.save = () => this.save();
  }

  /** Writes the record for the first time; what changes meanwhile is written after. False when there is one already. */
  async create(records: Records): Promise<boolean> {
    const creating = records.create(this.#id, this.encode());
    this.#writing = creating.then(ignore);
    this.#writing.catch(ignore);
    return creating;
  }

  /** Takes note of what a settled request has changed; the promise, if there is one, resolves when it is saved. */
  remember({ method, params }: JSONRPCRequest): Promise<void> | undefined {
    if (method === 'logging/setLevel') this.#logLevel = params?.level as LoggingLevel;
    else if (method === 'resources/unsubscribe') this.#subscriptions.delete(params?.uri as string);
    else if (method === 'resources/subscribe') this.#subscribe(params?.uri as string);
    else return undefined;
    return this.save();
  }

  /**
   * Writes the record as it is. One write is under way at a time; changes that come meanwhile share the next.
   *
   * Rejects with Refusal `storeUnavailable`, or `sessionNotFound` when the session was ended or taken over elsewhere. Who does
   * not await it is not told: a rejection that nobody handles would end the process.
   */
  save(): Promise<void> {
    const records = this.#records;
    if (records === undefined) return Promise.resolve();
    this.#dirty = true;
    if (this.#nextWrite !== undefined) return this.#nextWrite;
    const before = this.#writing?.catch(ignore) ?? Promise.resolve();
    const write = before.then(() => {
      this.#nextWrite = undefined;
      return (this.#writing = this.#write(records));
    });
    write.catch(ignore);
    return (this.#nextWrite = write);
  }

  /** Has the record live on, with what could not be written before. Rejects as `save` does. */
  async touch(): Promise<void> {
    const records = this.#records;
    if (records === undefined) return;
    if (this.#dirty) return this.save();
    if (!(await records.touch(this.#id, this.#epoch, () => this.encode()))) this.#lose();
  }

  /** Resolves when nothing is left to be written; rejects as `save` does. */
  async flush(): Promise<void> {
    if (this.#dirty) await this.save();
  }

  encode(): string {
    return encodeRecord(
      {
        id: this.#id,
        principal: this.#principal,
        initialize: this.#initialize,
        protocolVersion: this.#protocolVersion,
        logLevel: this.#logLevel,
        subscriptions: [...this.#subscriptions],
        openedAt: this.#openedAt,
      },
      this.#state.toString(),
    );
  }

  async #write(records: Records): Promise<void> {
    this.#dirty = false;
    try {
      if (!(await records.update(this.#id, this.#epoch, this.encode()))) this.#lose();
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }

  #lose(): never {
    this.#onLost();
    throw new Refusal('sessionNotFound');
  }

  #subscribe(uri: string): void {
    const size = [...this.#subscriptions, uri].reduce((sum, each) => sum + Buffer.byteLength(each), 0);
    if (size <= MAX_SUBSCRIPTIONS) this.#subscriptions.add(uri);
  }
}
