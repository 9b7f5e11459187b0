import type { SessionStore, StoredRecord } from './session-store.js';

/** A record, and the time when it expires by the clock of its store. */
export interface Entry extends StoredRecord {
  readonly dueAt: number;
}

/** Computes the next entry: undefined removes it, and the same object leaves it unchanged. */
export type Step = (entry: Entry | undefined) => Entry | undefined;

/** Replaces the entry of an ID by the step's result, as one atomic operation, and resolves with that result. */
export type Change = (id: string, step: Step) => Promise<Entry | undefined>;

/** Implements the operations of a store by one atomic change of an entry. The back end provides that change. */
export class EntryStore implements Required<SessionStore> {
  readonly #change: Change;
  readonly #now: () => number;

  constructor(change: Change, now: () => number) {
    this.#change = change;
    this.#now = now;
  }

  create(id: string, data: string, owner: string | undefined, ttl: number): Promise<boolean> {
    return this.#changes(id, (entry) => entry ?? { data, epoch: 0, owner, dueAt: this.#now() + ttl });
  }

  async get(id: string): Promise<StoredRecord | undefined> {
    const entry = await this.#change(id, (each) => this.#live(each));
    return entry && { data: entry.data, epoch: entry.epoch, owner: entry.owner };
  }

  update(id: string, epoch: number, data: string, ttl: number): Promise<boolean> {
    return this.#changes(id, (entry) =>
      entry?.epoch === epoch ? { ...entry, data, dueAt: this.#now() + ttl } : entry,
    );
  }

  destroy(id: string, epoch?: number): Promise<boolean> {
    return this.#changes(id, (entry) => (epoch === undefined || entry?.epoch === epoch ? undefined : entry));
  }

  claim(id: string, expected: Pick<StoredRecord, 'owner' | 'epoch'>, owner: string): Promise<boolean> {
    return this.#changes(id, (entry) =>
      entry?.epoch === expected.epoch && entry.owner === expected.owner
        ? { ...entry, owner, epoch: entry.epoch + 1 }
        : entry,
    );
  }

  touch(id: string, epoch: number, ttl: number): Promise<boolean> {
    return this.#changes(id, (entry) => (entry?.epoch === epoch ? { ...entry, dueAt: this.#now() + ttl } : entry));
  }

  async remaining(id: string): Promise<number | undefined> {
    const entry = await this.#change(id, (each) => this.#live(each));
    return entry && entry.dueAt - this.#now();
  }

  release(id: string, owner: string, epoch: number): Promise<boolean> {
    return this.#changes(id, (entry) =>
      entry?.epoch === epoch && entry.owner === owner ? { ...entry, owner: undefined } : entry,
    );
  }

  /** Resolves to whether the step changed the entry. The removal of an expired entry is no change. */
  async #changes(id: string, step: Step): Promise<boolean> {
    let changed = false;
    await this.#change(id, (entry) => {
      const live = this.#live(entry);
      const next = step(live);
      changed = next !== live;
      return next;
    });
    return changed;
  }

  #live(entry: Entry | undefined): Entry | undefined {
    return entry !== undefined && entry.dueAt > this.#now() ? entry : undefined;
  }
}
