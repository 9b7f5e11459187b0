import type { Registry } from '../sessions/registry.js';

/** The sessions that are open on this node, as the cluster uses them. */
export interface LocalSessions {
  /** How long the principal's longest orphaned session is idle, in ms. -1 when none is orphaned. */
  readonly longestOrphaned: (principal: string) => number;
  /** Ends the principal's longest orphaned session. False when there is none. */
  readonly evict: (principal: string) => Promise<boolean>;
  /** Whether the session was closed so that another node can own it, and its record still names this node. */
  readonly isMoving: (sessionId: string) => boolean;
  /**
   * Ends every session on this node, as other nodes may own them now. Ends every other stream too, as this node gets no
   * announcement any more.
   */
  readonly fence: () => void;
}

/** The sessions of a node that has not joined yet. */
export const NO_SESSIONS: LocalSessions = {
  longestOrphaned: () => -1,
  evict: () => Promise.resolve(false),
  isMoving: () => false,
  fence: () => undefined,
};

/** @param endStreams - Ends every stream that belongs to no session. */
export function localSessionsOf(registry: Registry, endStreams: () => void): LocalSessions {
  return {
    longestOrphaned: (principal) => registry.caps.longestOrphanedOf(principal)?.info().idleMs ?? -1,
    evict: async (principal) => {
      const session = registry.caps.longestOrphanedOf(principal);
      if (session === undefined) return false;
      await registry.close(session, 'evicted');
      return true;
    },
    isMoving: (sessionId) => registry.closingSessions.isMoving(sessionId),
    fence: () => {
      for (const session of registry.all()) registry.fenced(session);
      endStreams();
    },
  };
}
