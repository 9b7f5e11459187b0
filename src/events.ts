import type { JSONRPCRequest, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { Refusal, type ErrorName } from './errors.js';

// Each set is closed, and fit for the labels of a metric.

export const CLOSE_REASONS = ['deleted', 'expired', 'lifetime', 'evicted', 'shutdown', 'failed', 'moved'] as const;
/** Why a session ended. */
export type CloseReason = (typeof CLOSE_REASONS)[number];

export const ORPHAN_CAUSES = ['stream_lost', 'idle'] as const;
/** Why a session counts as orphaned: it had an SSE stream and lost it, or it never had one. */
export type OrphanCause = (typeof ORPHAN_CAUSES)[number];

export const REJECT_REASONS = [
  'atCapacity',
  'principalAtCapacity',
  'draining',
  'openTimeout',
  'internalError',
  'storeUnavailable',
  'restoreFailed',
  'unrestorable',
] as const satisfies readonly (ErrorName | 'unrestorable')[];
/**
 * Why a session was refused, new or to be restored: the name of what the client was answered; `unrestorable` where its
 * record can never be restored, which was removed and answered with 404.
 */
export type RejectReason = (typeof REJECT_REASONS)[number];

/** As what a failed opening counts; undefined when it was not refused, but given up. */
export function rejectReason(error: unknown): RejectReason | undefined {
  return error instanceof Refusal ? REJECT_REASONS.find((reason) => reason === error.reason) : 'internalError';
}

export const OUTCOMES = ['ok', 'error', 'cancelled', 'timeout', 'closed'] as const;
/** How a request ended, as far as the session layer can tell. */
export type Outcome = (typeof OUTCOMES)[number];

export const FORWARD_OUTCOMES = ['answered', 'lost', 'unreachable'] as const;
/** What came of a request that was handed to another node; `lost`: that node took it, and was not heard of again. */
export type ForwardOutcome = (typeof FORWARD_OUTCOMES)[number];

export const STREAM_KINDS = ['request', 'standalone', 'subscription'] as const;
/** The kinds of SSE stream: the reply of a POST, the one that a GET opens, and the one of a `subscriptions/listen`. */
export type StreamKind = (typeof STREAM_KINDS)[number];

export const LOG_LOSSES = ['threw', 'unwritten'] as const;
/** Why a log line is lost: the logger threw, or its destination did not take the line. */
export type LogLoss = (typeof LOG_LOSSES)[number];

export type SessionState = 'initializing' | 'active' | 'orphaned' | 'hibernated' | 'closing' | 'closed';

/** What is known of one session, as it was when asked. Ages in milliseconds. */
export interface SessionInfo {
  readonly id: string;
  readonly principal: string | undefined;
  readonly state: SessionState;
  /** Set while the session is orphaned or hibernated. */
  readonly orphanCause: OrphanCause | undefined;
  readonly protocolVersion: string | undefined;
  readonly clientInfo: { readonly name: string; readonly version: string } | undefined;
  /** Since it was opened. */
  readonly ageMs: number;
  /** Since it last had an exchange or an unsettled request; 0 while it has one. */
  readonly idleMs: number;
  /** Requests that are not settled yet. */
  readonly requests: number;
}

/** How many sessions there are, by state; each is in exactly one. */
export interface SessionStats {
  readonly initializing: number;
  readonly active: number;
  readonly orphaned: number;
  readonly hibernated: number;
}

/** The events of `router.sessions`. */
export interface SessionEvents {
  /** A session answered its `initialize`. */
  opened: [session: SessionInfo];
  /** A session was built again from its record; `before` is as it was while hibernated, undefined when it was not here. */
  restored: [session: SessionInfo, before?: SessionInfo | undefined];
  /** A principal adopted a session that was opened without one (`adoptAnonymous`). Its earlier requests have ended. */
  adopted: [session: SessionInfo];
  /** Nothing was attached to a session for `orphanAfter`. */
  orphaned: [session: SessionInfo, cause: OrphanCause];
  /** A session ended; `session.state` is the one it was in before. */
  closed: [session: SessionInfo, reason: CloseReason];
}

/** A request of a client, by the identity of the object. It does not keep the message in memory while a handler runs. */
export interface ObservedRequest {
  /** As the client gave it. */
  readonly id: RequestId;
  readonly method: string;
}

/** What the core tells its observers beyond that. */
export interface CoreEvents extends SessionEvents {
  /** The client of an orphaned session is back; `session` is as it was while orphaned. */
  revived: [session: SessionInfo];
  /** Only the record of an orphaned session is kept from now on; `session` is as it was before. */
  hibernated: [session: SessionInfo];
  /** A session was refused. */
  rejected: [reason: RejectReason];
  /** This node is a member of its cluster from now on, under that node ID. */
  joined: [node: string];
  /** This node has let go of all that it owned, as another may own it by now. */
  fenced: [node: string, why: string];
  /** A session is owned by this node from now on; `from` is the node that owned it before, undefined when it had let go of it. */
  claimed: [sessionId: string, from: string | undefined, epoch: number];
  /** A request was handed to the node that owns its session. */
  forwarded: [outcome: ForwardOutcome];
  streamOpened: [kind: StreamKind];
  streamClosed: [kind: StreamKind];
  /** A request of a client is in flight. Its `requestSettled` follows, with the same object. `sessionId` is undefined when stateless. */
  requestStarted: [request: ObservedRequest, message: JSONRPCRequest, sessionId: string | undefined];
  /** `durationMs` since the request arrived. */
  requestSettled: [request: ObservedRequest, outcome: Outcome, durationMs: number];
  /** Something failed that no client is told of. `sessionId` where one is concerned. */
  failure: [what: string, error: unknown, sessionId?: string];
  /** A log line is lost. */
  logLost: [why: LogLoss];
}
