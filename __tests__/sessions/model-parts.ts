import type { OrphanCause } from '../../src/events.js';
import type { ResolvedOptions } from '../../src/options/options.js';

/** The options that the model knows of. */
export type Settings = { readonly stored: boolean } & Pick<
  ResolvedOptions,
  | 'ttl'
  | 'orphanAfter'
  | 'hibernateAfter'
  | 'orphanTtl'
  | 'maxLifetime'
  | 'requestTimeout'
  | 'openTimeout'
  | 'keepAlive'
  | 'maxSessions'
  | 'maxSessionsPerPrincipal'
  | 'maxAnonymousSessions'
  | 'enableJsonResponse'
>;

/** A request of the tool that is not settled. */
export interface ModelCall {
  readonly key: string;
  readonly session: ModelSession;
  readonly exchange: number;
  readonly since: number;
  /** Whether its client is still there to get the answer. */
  connected: boolean;
  /** Whether the head of an SSE reply is out. */
  streaming: boolean;
}

export interface ModelSession {
  readonly id: string;
  readonly user: string | undefined;
  /** The exchange that asks for it. */
  readonly opening: number;
  state: 'initializing' | 'active' | 'orphaned' | 'hibernated' | 'closed';
  cause: OrphanCause | undefined;
  openedAt: number;
  idleSince: number;
  retiring: boolean;
  streamLost: boolean;
  /** The exchange that is its standalone stream. */
  stream: number | undefined;
  calls: ModelCall[];
}

/** A session is held by its stream and by calls that are not settled; other exchanges are over as soon as they began. */
export function attached({ stream, calls }: ModelSession): boolean {
  return stream !== undefined || calls.length > 0;
}

export function orphan(session: ModelSession): void {
  session.state = 'orphaned';
  session.cause = session.streamLost ? 'stream_lost' : 'idle';
}

/** What a store holds of a session. */
export interface ModelRecord {
  readonly id: string;
  readonly user: string | undefined;
  readonly openedAt: number;
  /** When its session was last in use, as far as is known; the record is there for a `ttl` from then, and not for much longer. */
  usedAt: number;
  /** Whether the store may not have heard of that. */
  doubtful: boolean;
}

export function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
