import type { SessionInfo, SessionStats } from '../../events.js';

/** The part of a router's sessions that a scrape reads. */
export interface SessionLevels {
  readonly caps: { readonly limit: number };
  stats(): SessionStats;
  all(): readonly Pick<SessionInfo, 'state' | 'orphanCause'>[];
}
