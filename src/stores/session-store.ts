/** A session's record, as a store holds it. */
export interface StoredRecord {
  /** JSON text, a few KiB as a rule; what it says is the router's affair. */
  readonly data: string;
  /** Grows by one with each claim, and never otherwise changes: whoever wrote in an earlier epoch writes no more. */
  readonly epoch: number;
  /** The node that holds the session; undefined when none does. */
  readonly owner: string | undefined;
}

/**
 * Where session records outlive the process. Every method returns a promise; one that rejects, or does not settle in time, is
 * answered with 503 and Retry-After, so a store must never say that there is no record when it cannot know.
 *
 * IDs are visible ASCII, at most 128 characters; times are whole milliseconds from now. A record whose time is over counts
 * as absent in every respect. Every method is atomic, also between processes where several share the store.
 */
export interface SessionStore {
  /** Required. Puts in a record in epoch 0. False, and nothing done, when there is one with that ID. */
  create(id: string, data: string, owner: string | undefined, ttl: number): Promise<boolean>;
  /** Required. */
  get(id: string): Promise<StoredRecord | undefined>;
  /**
   * Required. Replaces the data and has the record live for `ttl`, if it is in that epoch still. False, and nothing done, when
   * it is not, or there is none: an update never brings a destroyed record back.
   *
   * `owner` is who writes. A store that may forget what it has acknowledged (a fail-over to a replica) should write only what
   * that owner holds, as an epoch may then have begun twice; any other may ignore it.
   */
  update(id: string, epoch: number, data: string, ttl: number, owner?: string): Promise<boolean>;
  /** Required. Removes the record for good; where an epoch is given, only if it is in that epoch. False when it did not. */
  destroy(id: string, epoch?: number): Promise<boolean>;
  /**
   * Required. Takes the session over: if owner and epoch are as expected, `owner` holds it, in the epoch after. False, and
   * nothing done, when they are not, or there is no record.
   */
  claim(id: string, expected: Pick<StoredRecord, 'owner' | 'epoch'>, owner: string): Promise<boolean>;
  /**
   * Optional. Has the record live for `ttl`, if it is in that epoch still. False when it is not. Default: an `update` with the
   * data that was written last. `owner` as in `update`.
   */
  touch?(id: string, epoch: number, ttl: number, owner?: string): Promise<boolean>;
  /**
   * Optional. Resolves to the milliseconds until the record expires, if it is not touched. Undefined when there is no record.
   * Must go by the store's clock, as those of two processes may differ by hours. If a store lacks it, the time between two writes
   * of a record by different processes does not count towards `maxLifetime`.
   */
  remaining?(id: string): Promise<number | undefined>;
  /**
   * Optional. Gives the session up, if it is held by that owner in that epoch: its owner is undefined then. False when it is
   * not. Default: the record goes on to name a node that is gone.
   */
  release?(id: string, owner: string, epoch: number): Promise<boolean>;
}
