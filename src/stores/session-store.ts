/** A session's record in a store. */
export interface StoredRecord {
  /** JSON text, usually a few KiB. Only the router reads it. */
  readonly data: string;
  /** Grows by one with each claim, and never changes otherwise. Writes of an earlier epoch are refused. */
  readonly epoch: number;
  /** The node that owns the session, and the ID of its claim. Undefined when no node does. */
  readonly owner: string | undefined;
}

/**
 * Keeps session records beyond the lifetime of the process.
 *
 * Every method returns a promise. If one rejects, or does not settle in time, the client gets 503 with Retry-After. So a store
 * that does not know whether there is a record must reject. It must not resolve as if there were none.
 *
 * IDs are visible ASCII, at most 128 characters. Times are whole milliseconds from now. An expired record counts as absent in
 * every method. Every method is atomic, also between processes that share the store.
 */
export interface SessionStore {
  /** Required. Creates a record in epoch 0. Resolves to false, and changes nothing, when there is a record with that ID. */
  create(id: string, data: string, owner: string | undefined, ttl: number): Promise<boolean>;
  /** Required. */
  get(id: string): Promise<StoredRecord | undefined>;
  /**
   * Required. Replaces the data, and lets the record expire after `ttl`, if the record is still in that epoch. Otherwise resolves to
   * false and changes nothing. An update never brings a destroyed record back.
   *
   * `owner` is the node that writes. A store that may lose acknowledged writes (a fail-over to a replica) should refuse the write
   * when the record names another owner, as an epoch may then have begun twice. Other stores may ignore it.
   */
  update(id: string, epoch: number, data: string, ttl: number, owner?: string): Promise<boolean>;
  /**
   * Required. Removes the record, with `epoch` only if it is in that epoch. Resolves to whether it removed one. `owner` as in
   * `update`.
   */
  destroy(id: string, epoch?: number, owner?: string): Promise<boolean>;
  /**
   * Required. If owner and epoch are as expected, makes `owner` the owner, in the next epoch. Otherwise, and when there is no
   * record, resolves to false and changes nothing.
   */
  claim(id: string, expected: Pick<StoredRecord, 'owner' | 'epoch'>, owner: string): Promise<boolean>;
  /**
   * Optional. Lets the record expire after `ttl`, if it is still in that epoch. Otherwise resolves to false. `owner` as in `update`.
   * Without this method, the router calls `update` with the data that it wrote last.
   */
  touch?(id: string, epoch: number, ttl: number, owner?: string): Promise<boolean>;
  /**
   * Optional. Resolves to the milliseconds until the record expires, if it is not touched. Undefined when there is no record.
   * Must use the store's clock, as the clocks of two processes may differ by hours. Without this method, the time between two
   * writes of a record by different processes does not count towards `maxLifetime`.
   */
  remaining?(id: string): Promise<number | undefined>;
  /**
   * Optional. Removes the owner, if the record names that owner in that epoch. Otherwise resolves to false. Without this method,
   * the record still names a node that has stopped.
   */
  release?(id: string, owner: string, epoch: number): Promise<boolean>;
}
