/**
 * The sessions of each principal on all nodes of a cluster. Every method throws Refusal `storeUnavailable` when Redis does not
 * answer.
 */
export interface PrincipalCounts {
  /**
   * Counts a new session of the principal.
   *
   * @param evicts - Whether an orphaned session of the principal may be evicted at the cap.
   * @throws Refusal `principalAtCapacity` when the cap is reached and no session was evicted.
   */
  enter(principal: string, sessionId: string, evicts: boolean): Promise<void>;
  /** Called when the session is in use, or was claimed by another node. */
  renew(principal: string, sessionId: string): Promise<void>;
  /** Called when the session has ended. */
  leave(principal: string, sessionId: string): Promise<void>;
  sessionsOf(principal: string): Promise<string[]>;
  /** The principal's sessions that were not renewed recently, the longest unused first. */
  longUnused(principal: string): Promise<string[]>;
}
