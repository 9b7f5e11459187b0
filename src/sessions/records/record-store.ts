import { inTime, type Clock } from '../../runtime/clock.js';
import { asPromise } from '../../runtime/user-code.js';
import { orStoreUnavailable } from '../../errors.js';
import type { SessionStore, StoredRecord } from '../../stores/session-store.js';

/** How long a store may take for one answer, in ms. After that, the waiting request is refused. */
const STORE_TIMEOUT = 5_000;

/**
 * The session store with a time-out, used under the owner ID of this router. Every method throws Refusal `storeUnavailable` when
 * the store rejects or does not answer in time. The store may have made the change even then.
 */
export class RecordStore {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #owner: () => string;
  readonly #lifetime: number;

  /**
   * @param owner - The ID of this router, or of its current membership in a cluster.
   * @param lifetime - How long the store keeps a record that is not touched, in ms.
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

  /** Resolves to true when this router now owns the session. */
  claim(id: string, record: StoredRecord): Promise<boolean> {
    return this.#ask('claim', (store) => store.claim(id, record, this.#owner()));
  }

  /** Begins the next epoch of a session that this router owns. */
  claimOwn(id: string, epoch: number): Promise<boolean> {
    const owner = this.#owner();
    return this.#ask('claim', (store) => store.claim(id, { owner, epoch }, owner));
  }

  update(id: string, epoch: number, data: string): Promise<boolean> {
    return this.#ask('update', (store) => store.update(id, epoch, data, this.#lifetime, this.#owner()));
  }

  /** @param data - The text that was written last, for a store without `touch`. */
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

  /** Gives up the ownership, so that the next node that gets a request can claim the session. */
  async release(id: string, epoch: number): Promise<void> {
    await this.#ask('release', async (store) => store.release?.(id, this.#owner(), epoch));
  }

  /** @param epoch - If set, the record is removed only when it is still in that epoch: no other node has claimed the session. */
  destroy(id: string, epoch?: number): Promise<boolean> {
    return this.#ask('destroy', (store) => store.destroy(id, epoch));
  }

  async #ask<T>(what: string, ask: (store: SessionStore) => Promise<T>): Promise<T> {
    const onTimeout = (): Error => new Error(`the session store did not answer ${what} in time`);
    return orStoreUnavailable(
      inTime(
        this.#clock,
        STORE_TIMEOUT,
        asPromise(() => ask(this.#store)),
        onTimeout,
      ),
    );
  }
}
