import { inTime, type Clock } from '../../runtime/clock.js';
import { asPromise } from '../../runtime/user-code.js';
import { orStoreUnavailable } from '../../errors.js';
import type { SessionStore, StoredRecord } from '../../stores/session-store.js';

/** How long a store may take for one answer, in ms, before the request that waits for it is refused. */
const STORE_TIMEOUT = 5_000;

/**
 * The store as this router uses it: behind a time-out, and as one owner. Every method throws Refusal `storeUnavailable` when
 * the store rejects, or does not answer in time; nothing is known then of what it did.
 */
export class RecordStore {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #owner: () => string;
  readonly #lifetime: number;

  /**
   * @param owner - This router, as long as its process lives, or its membership as a node of a cluster.
   * @param lifetime - How long a record lives on when it is not touched, in ms.
   */
  constructor(store: SessionStore, clock: Clock, owner: () => string, lifetime: number) {
    this.#store = store;
    this.#clock = clock;
    this.#owner = owner;
    this.#lifetime = lifetime;
  }

  create(id: string, data: string): Promise<boolean> {
    return this.#ask('create', (store) => store.create(id, data, this.#owner(), this.#lifetime));
  }

  find(id: string): Promise<StoredRecord | undefined> {
    return this.#ask('get', (store) => store.get(id));
  }

  /** Resolves to whether the session is this router's now. */
  claim(id: string, record: StoredRecord): Promise<boolean> {
    return this.#ask('claim', (store) => store.claim(id, record, this.#owner()));
  }

  /** Takes a session that is this router's own into its next epoch. */
  claimOwn(id: string, epoch: number): Promise<boolean> {
    const owner = this.#owner();
    return this.#ask('claim', (store) => store.claim(id, { owner, epoch }, owner));
  }

  update(id: string, epoch: number, data: string): Promise<boolean> {
    return this.#ask('update', (store) => store.update(id, epoch, data, this.#lifetime, this.#owner()));
  }

  /** @param data - What was written last, for a store that cannot touch. */
  touch(id: string, epoch: number, data: () => string): Promise<boolean> {
    return this.#ask('touch', (store) =>
      store.touch === undefined
        ? store.update(id, epoch, data(), this.#lifetime, this.#owner())
        : store.touch(id, epoch, this.#lifetime, this.#owner()),
    );
  }

  /** Milliseconds since the record was last touched or written, by the store's clock. 0 for a store without `remaining`. */
  async idleTime(id: string): Promise<number> {
    const remaining = await this.#ask('remaining', async (store) => store.remaining?.(id));
    return remaining === undefined ? 0 : Math.max(0, this.#lifetime - remaining);
  }

  /** Leaves the session to whoever asks for it next. */
  async release(id: string, epoch: number): Promise<void> {
    await this.#ask('release', async (store) => store.release?.(id, this.#owner(), epoch));
  }

  /** @param epoch - Only if the record is in that epoch still: nobody has taken the session over. */
  destroy(id: string, epoch?: number): Promise<boolean> {
    return this.#ask('destroy', (store) => store.destroy(id, epoch));
  }

  async #ask<T>(what: string, ask: (store: SessionStore) => Promise<T>): Promise<T> {
    const late = (): Error => new Error(`the session store did not answer ${what} in time`);
    return orStoreUnavailable(
      inTime(
        this.#clock,
        STORE_TIMEOUT,
        asPromise(() => ask(this.#store)),
        late,
      ),
    );
  }
}
