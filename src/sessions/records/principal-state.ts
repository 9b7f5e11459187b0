import { createHash } from 'node:crypto';
import { Refusal } from '../../errors.js';
import { isObject } from '../../runtime/checks.js';
import { keepingAlive, type Clock } from '../../runtime/clock.js';
import { isTextDeeperThan } from '../../runtime/json-depth.js';
import { KeyedQueue } from '../../runtime/keyed-queue.js';
import { principalStateId } from '../session-ids.js';
import { AppState, UnkeptState } from './app-state.js';
import { MAX_RECORD_DEPTH } from './record-json.js';
import type { Claim, RecordStore } from './record-store.js';

/** Another one is not read: a router that wrote it may mean something else by the same words. */
const FORMAT = 1;
/** Writes of other nodes that may come before one of this node, one after another. */
const MAX_ATTEMPTS = 20;
/** How long a write waits for the one before it in the same process, in ms. One answer of the store may take as long. */
const LONGEST_WAIT = 5_000;

const ignore = (): void => undefined;

/** A value that was set. No answer of the store has confirmed it so far. */
interface Change {
  /** The store's value of the key when the app set it. */
  before: string | undefined;
  /** The number of the last call of `set` that is saved. */
  savedTo: number;
  /** Set when another writer has changed the value: the error for `set`. */
  lost?: Error;
}

/** Makes `context.state` for servers of principals. */
export class PrincipalStates {
  readonly #records: RecordStore | undefined;
  /** One write at a time for each principal. Many writes of one process would starve each other. */
  readonly #writes: KeyedQueue;

  /** @param records - Undefined where there is no store. */
  constructor(records: RecordStore | undefined, clock: Clock) {
    this.#records = records;
    this.#writes = new KeyedQueue(clock, LONGEST_WAIT);
  }

  of(principal: string | undefined): AppState {
    if (principal === undefined) return new UnkeptState('the request has no principal');
    if (this.#records === undefined) return new UnkeptState('the router has no store');
    return new PrincipalState(principal, this.#records, this.#writes);
  }
}

/**
 * `context.state` of a principal: a record in the store of sessions. Any number of servers may have it at once, here and on other
 * nodes, so each write is a compare-and-set.
 *
 * The epoch of the record is that of its last writer. That writer updates the record. Any other writer first claims the next
 * epoch, and reads the record again. A writer does not overwrite a value that another writer has changed since it read the
 * record: `set` rejects, and `get` returns the new value.
 */
class PrincipalState extends AppState {
  readonly #principal: string;
  readonly #records: RecordStore;
  readonly #writes: KeyedQueue;
  readonly #id: string;
  /** The claim in the record, by the last read or write. */
  #record: Claim | undefined;
  #stored: ReadonlyMap<string, string> = new Map();
  /** The last claim of this writer. */
  #claimed: Claim | undefined;
  readonly #changes = new Map<string, Change>();
  #sets = 0;
  #last: Promise<void> = Promise.resolve();
  #reading: Promise<void> | undefined;

  constructor(principal: string, records: RecordStore, writes: KeyedQueue) {
    super();
    this.#principal = principal;
    this.#records = records;
    this.#writes = writes;
    this.#id = principalStateId(createHash('sha256').update(principal).digest('base64url'));
  }

  override get isShared(): boolean {
    return true;
  }

  override load(): Promise<void> {
    this.#reading ??= this.#next(async () => {
      this.#reading = undefined;
      await this.#read();
      // One that fails is made up for by the next request.
      if (this.#record !== undefined) void this.#records.extend(this.#id, this.#record).catch(ignore);
    });
    return this.#reading;
  }

  override set(key: string, value: unknown): Promise<void> {
    this.put(key, value);
    const change = this.#changes.get(key) ?? { before: this.#stored.get(key), savedTo: 0 };
    this.#changes.set(key, change);
    this.#sets += 1;
    const set = this.#sets;
    // A handler may await it after the last socket has closed.
    const saved = keepingAlive(this.#next(() => this.#writes.run(this.#id, () => this.#save(set, change))));
    // An unhandled rejection would end the process.
    saved.catch(ignore);
    return saved;
  }

  /** One read or write is under way at a time: the result of a read may be older than a write that ended before it. */
  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(ignore);
    return done;
  }

  /** @throws Refusal `storeUnavailable`; Error when another writer has changed the value. */
  async #save(set: number, change: Change): Promise<void> {
    for (let attempt = 0; change.savedTo < set; attempt += 1) {
      if (change.lost !== undefined) throw change.lost;
      if (attempt === MAX_ATTEMPTS)
        throw new Refusal('storeUnavailable', { cause: new Error('others write all the time') });
      if (!(await this.#write())) await this.#catchUp();
    }
  }

  /**
   * Another writer has claimed the record, and will read it and then write. A claim at once would make that writer begin again, and
   * the two could undo each other's claims for long. So this writer only reads, a random number of times.
   */
  async #catchUp(): Promise<void> {
    await this.#read();
    while (this.#record !== undefined && !this.#isOwn(this.#record)) {
      await this.#read();
      if (Math.random() < 0.5) return;
    }
  }

  /** Resolves to false when the record must be read first. */
  async #write(): Promise<boolean> {
    const written = new Map(this.values);
    const lastSet = this.#sets;
    const data = this.#encode();
    if (this.#record === undefined) {
      const owner = this.#records.newOwner();
      if (!(await this.#records.create(this.#id, data, owner))) return false;
      this.#record = this.#claimed = { owner, epoch: 0 };
    } else if (this.#isOwn(this.#record)) {
      if (!(await this.#records.update(this.#id, this.#record, data))) {
        this.#claimed = undefined;
        return false;
      }
    } else {
      const owner = this.#records.newOwner();
      const { epoch } = this.#record;
      if (await this.#records.claim(this.#id, this.#record, owner)) this.#claimed = { owner, epoch: epoch + 1 };
      return false;
    }
    this.#saved(written, lastSet);
    return true;
  }

  #isOwn({ owner, epoch }: Claim): boolean {
    return owner === this.#claimed?.owner && epoch === this.#claimed?.epoch;
  }

  /** A value may have been set once more while it was written. Then only the calls up to `lastSet` are saved. */
  #saved(written: ReadonlyMap<string, string>, lastSet: number): void {
    this.#stored = written;
    for (const [key, change] of this.#changes) {
      const isSame = this.values.get(key) === written.get(key);
      if (isSame) this.#changes.delete(key);
      change.before = written.get(key);
      change.savedTo = isSame ? this.#sets : lastSet;
    }
  }

  /** Takes over the values that other writers have written. */
  async #read(): Promise<void> {
    const record = await this.#records.find(this.#id);
    const stored = record === undefined ? new Map<string, string>() : this.#decode(record.data);
    this.#record = record && { owner: record.owner, epoch: record.epoch };
    this.#stored = stored;
    for (const [key, change] of this.#changes) if (record !== undefined) this.#compare(key, change, stored.get(key));
    for (const key of this.values.keys()) if (!this.#changes.has(key) && !stored.has(key)) this.values.delete(key);
    for (const [key, text] of stored) if (!this.#changes.has(key)) this.values.set(key, text);
  }

  #compare(key: string, change: Change, text: string | undefined): void {
    if (text === change.before) return;
    change.lost = new Error(`context.state: ${JSON.stringify(key)} was changed by another request since it was read`);
    this.#changes.delete(key);
  }

  #encode(): string {
    return `{"v":${FORMAT},"principal":${JSON.stringify(this.#principal)},"state":${this.toString()}}`;
  }

  /** @throws Refusal `restoreFailed` for a record that this router cannot read; a newer one may have written it. */
  #decode(data: string): Map<string, string> {
    const read = parsed(data);
    if (read?.v !== FORMAT || read.principal !== this.#principal || !isObject(read.state)) {
      throw new Refusal('restoreFailed', { cause: new Error('the record is not the state of its principal') });
    }
    return new Map(Object.entries(read.state).map(([key, value]) => [key, JSON.stringify(value)]));
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  if (isTextDeeperThan(MAX_RECORD_DEPTH + 2, text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
