import type { SessionInfo, SessionStats } from '../../events.js';

/** The sessions of one router, as a scrape reads them. */
export interface SessionLevels {
  stats(): SessionStats;
  all(): readonly Pick<SessionInfo, 'state' | 'orphanCause'>[];
}
