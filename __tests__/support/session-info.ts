import type { SessionInfo } from '../../src/events.js';

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
    ...known,
  };
}
