import type { SessionInfo, SessionState, SessionStats } from '../events.js';

/** The orders in which sessions are listed. */
export const ORDERS = ['age', 'idle', 'requests', 'streams', 'state', 'node', 'client', 'principal'] as const;
export type Order = (typeof ORDERS)[number];

export const LISTED_STATES = ['initializing', 'active', 'orphaned', 'hibernated'] as const satisfies SessionState[];
export type ListedState = (typeof LISTED_STATES)[number];

/** A page of the list of sessions, as it is asked for. */
export interface ListQuery {
  /** Undefined for all states. */
  readonly state: ListedState | undefined;
  /** The text that an entry must contain: a part of its principal, client or node, or its session ID. Empty for all. */
  readonly search: string;
  readonly order: Order;
  readonly descending: boolean;
  readonly offset: number;
  readonly limit: number;
}

/** A session as operators see it. Its ID is shortened: a caller that has the whole ID may act in the session. */
export interface SessionRow extends Omit<SessionInfo, 'id'> {
  /** Names the session in requests of operators. It is a keyed hash of the ID, the same on all nodes of a cluster. */
  readonly key: string;
  /** As in the log. */
  readonly shortId: string;
}

export const RATES = ['settled', 'failed', 'opened', 'closed', 'rejected'] as const;
/** Events per second, over the last ten seconds. */
export type Rates = Readonly<Record<(typeof RATES)[number], number>>;

/** The sessions of one node. */
export interface NodeList {
  readonly stats: SessionStats;
  readonly rates: Rates;
  /** The number of sessions that the query finds. */
  readonly found: number;
  /** The first of them, up to the end of the page. */
  readonly rows: readonly SessionRow[];
}

/** An entry of a session's timeline. */
export interface TimelineEntry {
  /** Grows with each entry. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly event: string;
  readonly facts: Readonly<Record<string, string | number>>;
}

/** One session and its timeline. */
export interface SessionDetail {
  /** Undefined once the session has ended. */
  readonly session: SessionRow | undefined;
  /** The newest entries since operators look at this session, oldest first. */
  readonly timeline: readonly TimelineEntry[];
}

/** The questions to a node, and its answers. To `detail` and `find`, a node that does not have the session answers null. */
export interface Inspections {
  readonly list: { readonly query: ListQuery; readonly answer: NodeList };
  readonly detail: { readonly query: string; readonly answer: SessionDetail | null };
  /** The ID of a session. No operator gets it. */
  readonly find: { readonly query: string; readonly answer: string | null };
}

export type InspectRequest = {
  readonly [K in keyof Inspections]: { readonly kind: K; readonly query: Inspections[K]['query'] };
}[keyof Inspections];
export type InspectAnswer = Inspections[keyof Inspections]['answer'];

/** The answer of another node, or the reason why there is none. */
export interface NodeAnswer {
  readonly node: string;
  readonly answer: InspectAnswer | undefined;
  readonly error: string | undefined;
}

/** The other nodes of a cluster, as operators see them. */
export interface InspectedNodes {
  /** Asks all. Rejects when the list of nodes cannot be read. */
  ask(request: InspectRequest): Promise<NodeAnswer[]>;
}
