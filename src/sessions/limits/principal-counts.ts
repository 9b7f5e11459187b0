/** Which sessions each principal has on all nodes of a cluster. Every method throws Refusal `storeUnavailable`. */
export interface PrincipalCounts {
  /**
   * @param evicts - Whether one that is orphaned is ended where the principal has as many as it may.
   * @throws Refusal `principalAtCapacity`: it has, and none is ended for it.
   */
  enter(principal: string, sessionId: string, evicts: boolean): Promise<void>;
  /** The session is in use, or on another node now. */
  renew(principal: string, sessionId: string): Promise<void>;
  /** The session has ended. */
  leave(principal: string, sessionId: string): Promise<void>;
  sessionsOf(principal: string): Promise<string[]>;
  /** Those that nobody can have used lately, the longest unused first. */
  longUnused(principal: string): Promise<string[]>;
}
