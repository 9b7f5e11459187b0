import type { Clock } from '../../runtime/clock.js';
import { asPromise } from '../../runtime/user-code.js';
import { orStoreUnavailable } from '../../errors.js';
import type { STORE_OPERATIONS } from '../../events.js';
import type { SessionStore, StoredRecord } from '../../stores/session-store.js';
import { timedCall, type OnStoreAnswer } from '../../stores/timed-call.js';

/** How long a store may take for one answer, in ms. After that, the waiting request is refused. */
const STORE_TIMEOUT = 5_000;

type Operation = (typeof STORE_OPERATIONS)['session'][number];

const ignore = (): void => undefined;

/** The owner and the epoch that a record must have, so that a write changes it. A {@link StoredRecord} is one. */
export type Claim = Pick<StoredRecord, 'owner' | 'epoch'>;

export interface RecordStoreInit {
  readonly store: SessionStore;
  readonly clock: Clock;
  /** The ID of this router, or of its current membership in a cluster. */
  readonly node: () => string;
  /** How long the record of a session may go untouched until the session has expired, in ms. */
  readonly lifetime: number;
  /** Whether the store may have records that have expired. Their `remaining` is 0 or less. Default: false. */
  readonly keepsExpired?: boolean;
  readonly onAnswer?: OnStoreAnswer;
}

/** The node that owns a session, by the owner in its record. */
export const nodeOf = (owner: string | undefined): string | undefined => owner?.split('.', 1)[0];

/**
 * The session store with a time-out. Every method throws Refusal `storeUnavailable` when the store rejects or does not answer in
 * time. The store may have made the change even then.
 */
export class RecordStore {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #node: () => string;
  readonly #lifetime: number;
  readonly #onAnswer: OnStoreAnswer;
  /** Whether the store may have records of sessions that have expired. */
  readonly keepsExpired: boolean;
  #claims = 0;

  constructor({ store, clock, node, lifetime, keepsExpired = false, onAnswer = ignore }: RecordStoreInit) {
    this.#store = store;
    this.#clock = clock;
    this.#node = node;
    this.#lifetime = lifetime;
    this.keepsExpired = keepsExpired;
    this.#onAnswer = onAnswer;
  }

  /**
   * The owner for the next claim: this node, and an ID of the claim. No two claims have the same: when the store loses a claim,
   * an epoch begins again, and perhaps at the same node. Writes of the lost claim are refused then.
   */
  newOwner(): string {
    this.#claims += 1;
    return `${this.#node()}.${this.#claims}`;
  }

  create(id: string, data: string, owner: string | undefined): Promise<boolean> {
    return this.#ask('create', (store) => store.create(id, data, owner, this.#lifetime));
  }

  find(id: string): Promise<StoredRecord | undefined> {
    return this.#ask('get', (store) => store.get(id));
  }

  /** Resolves to true when the session is the owner's now, in the next epoch. */
  claim(id: string, { owner, epoch }: Claim, by: string): Promise<boolean> {
    return this.#ask('claim', (store) => store.claim(id, { owner, epoch }, by));
  }

  update(id: string, { owner, epoch }: Claim, data: string): Promise<boolean> {
    return this.#ask('update', (store) => store.update(id, epoch, data, this.#lifetime, owner));
  }

  /** @param data - The text that was written last, for a store without `touch`. */
  touch(id: string, { owner, epoch }: Claim, data: () => string): Promise<boolean> {
    return this.#ask('touch', (store) =>
      store.touch === undefined
        ? store.update(id, epoch, data(), this.#lifetime, owner)
        : store.touch(id, epoch, this.#lifetime, owner),
    );
  }

  /** Extends the life of a record of any owner. Does nothing if the store cannot touch: a write could undo one of the owner. */
  async extend(id: string, { owner, epoch }: Claim): Promise<void> {
    if (this.#store.touch === undefined) return;
    await this.#ask('touch', async (store) => store.touch?.(id, epoch, this.#lifetime, owner));
  }

  /**
   * Milliseconds since the record was last touched or written, by the store's clock. Undefined when the session has expired. 0
   * for a store without `remaining`.
   */
  async idleTime(id: string): Promise<number | undefined> {
    if (this.#store.remaining === undefined) return 0;
    const remaining = await this.#ask('remaining', async (store) => store.remaining?.(id));
    if (remaining === undefined) return 0;
    if (this.keepsExpired && remaining <= 0) return undefined;
    return Math.max(0, this.#lifetime - remaining);
  }

  /** The time by the router's clock. Record writers note with it when a write was sent. */
  now(): number {
    return this.#clock.now();
  }

  /**
   * Gives up the ownership, so that the next node that gets a request can claim the session.
   *
   * @param writtenAt - When the owner last wrote or touched the record, by the router's clock. In a cluster the owner decides when a
   * session expires, and from now on the store's clock does. So the record gets the time to live that it has by the owner's clock,
   * which undoes steps of the store's clock.
   */
  async release(id: string, { owner, epoch }: Claim, writtenAt?: number): Promise<void> {
    if (owner === undefined || this.#store.release === undefined) return;
    if (this.keepsExpired && writtenAt !== undefined) {
      const remaining = Math.max(1, Math.floor(this.#lifetime - (this.#clock.now() - writtenAt)));
      if ((await this.#ask('touch', async (store) => store.touch?.(id, epoch, remaining, owner))) === false) return;
    }
    await this.#ask('release', async (store) => store.release?.(id, owner, epoch));
  }

  /** @param claim - If set, the record is removed only when it still has that owner and epoch. */
  destroy(id: string, claim?: Claim): Promise<boolean> {
    return this.#ask('destroy', (store) => store.destroy(id, claim?.epoch, claim?.owner));
  }

  #ask<T>(operation: Operation, ask: (store: SessionStore) => Promise<T>): Promise<T> {
    const answer = asPromise(() => ask(this.#store));
    const onTimeout = (): Error => new Error(`the session store did not answer ${operation} in time`);
    const call = { operation, answer, limit: STORE_TIMEOUT, onTimeout };
    return orStoreUnavailable(timedCall(this.#clock, call, this.#onAnswer));
  }
}
