import type { Party, SessionInfo, SessionState } from '../../src/events.js';
import type { SessionLevels } from '../../src/observe/prometheus/session-levels.js';

/** The party of a caller that has neither a principal nor a session. */
export const NO_PARTY: Party = { sessionId: undefined, principal: undefined };

/** What an event tells of a session; an active one unless said otherwise. */
export function sessionInfo(known: Partial<SessionInfo> = {}): SessionInfo {
  return {
    id: '3f2b8c1e-0d4a-4b7c-9a52-6a1f0e9d8c7b',
    principal: undefined,
    state: 'active',
    orphanCause: undefined,
    protocolVersion: '2025-11-25',
    clientInfo: { name: 'client', version: '1.0.0' },
    ageMs: 0,
    idleMs: 0,
    requests: 0,
    streams: { standalone: 0, request: 0 },
    openedAt: 1_800_000_000_000,
    node: undefined,
    ...known,
  };
}

/** What a scrape reads of a router that has these sessions, now and after each change of the array. */
export function levelsOf(sessions: ReturnType<SessionLevels['all']>): SessionLevels {
  const inState = (wanted: SessionState): number => sessions.filter(({ state }) => state === wanted).length;
  return {
    caps: { limit: 100 },
    all: () => sessions,
    stats: () => ({
      initializing: inState('initializing'),
      active: inState('active'),
      orphaned: inState('orphaned'),
      hibernated: inState('hibernated'),
    }),
  };
}
