import type { JSONRPCRequest, RequestId } from './protocol/messages.js';
import { Refusal, type ErrorName } from './errors.js';
import { isHttpError } from './http-error.js';
import type { Era } from './options/options.js';

// Each set is closed, so metrics can use it for labels.

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
  'httpError',
  'storeUnavailable',
  'restoreFailed',
  'unrestorable',
] as const satisfies readonly (ErrorName | 'httpError' | 'unrestorable')[];
/**
 * Why opening or restoring a session was refused: the name of the error that the client got. `httpError`: the app threw an
 * `HttpError`. `unrestorable`: the record can never be restored. It was removed, and the client got 404.
 */
export type RejectReason = (typeof REJECT_REASONS)[number];

/** The reason for which a failed opening counts as refused. Undefined when it does not, for example for a closed session. */
export function rejectReason(error: unknown): RejectReason | undefined {
  if (isHttpError(error)) return 'httpError';
  return error instanceof Refusal ? REJECT_REASONS.find((reason) => reason === error.reason) : 'internalError';
}

export const OUTCOMES = ['ok', 'error', 'cancelled', 'timeout', 'closed'] as const;
/** How a request was settled. */
export type Outcome = (typeof OUTCOMES)[number];

/** Why a request failed: the code of its JSON-RPC error, or `tool_error` for a result with `isError` (OpenTelemetry, `error.type`). */
export type ErrorType = number | 'tool_error';

export const FORWARD_OUTCOMES = ['answered', 'lost', 'unreachable'] as const;
/** The outcome of a forwarded request. `lost`: the other node took the request, or may have taken it, and did not answer. */
export type ForwardOutcome = (typeof FORWARD_OUTCOMES)[number];

export const STREAM_KINDS = ['request', 'standalone', 'subscription'] as const;
/** The kinds of SSE stream: the reply to a POST, the stream that a GET opens, and the reply to a `subscriptions/listen`. */
export type StreamKind = (typeof STREAM_KINDS)[number];

export const STREAM_ENDS = ['ended', 'disconnected', 'slow_reader', 'ping_unanswered', 'replaced', 'failed'] as const;
/**
 * Why an SSE stream is over:
 * - `ended`: the server ended it, and the client has all of it.
 * - `disconnected`: the client closed it, or the connection broke.
 * - `slow_reader`: the client read too slowly. The router broke it off.
 * - `ping_unanswered`: the client did not answer a ping.
 * - `replaced`: a newer request of the client took the stream.
 * - `failed`: an error of the store, of other middleware or of the membership broke it off.
 */
export type StreamEnd = (typeof STREAM_ENDS)[number];

export const RESUME_OUTCOMES = ['recovered', 'lost'] as const;
/** The outcome of a resume. `lost`: events or answers that the client missed are not kept any more. */
export type ResumeOutcome = (typeof RESUME_OUTCOMES)[number];

/** The operations of each store: methods of `SessionStore`, and of the SDK's `EventStore` with `purge`. */
export const STORE_OPERATIONS = {
  session: ['create', 'get', 'update', 'destroy', 'claim', 'touch', 'remaining', 'release'],
  event: ['storeEvent', 'getStreamIdForEventId', 'replayEventsAfter', 'purge'],
} as const;
export type StoreName = keyof typeof STORE_OPERATIONS;
export type StoreOperation = (typeof STORE_OPERATIONS)[StoreName][number];

export const STORE_OUTCOMES = ['ok', 'error', 'timeout'] as const;
/** The outcome of an operation of a store. A write that was refused as another node owns the session is `ok`. */
export type StoreOutcome = (typeof STORE_OUTCOMES)[number];

export const LOG_LOSSES = ['threw', 'unwritten'] as const;
/** Why a log line is lost: the logger threw, or its destination did not accept the line. */
export type LogLoss = (typeof LOG_LOSSES)[number];

export type SessionState = 'initializing' | 'active' | 'orphaned' | 'hibernated' | 'closing' | 'closed';

/** A snapshot of one session. Ages are in milliseconds. */
export interface SessionInfo {
  readonly id: string;
  readonly principal: string | undefined;
  readonly state: SessionState;
  /** Set while the session is orphaned or hibernated. */
  readonly orphanCause: OrphanCause | undefined;
  readonly protocolVersion: string | undefined;
  readonly clientInfo: { readonly name: string; readonly version: string } | undefined;
  /** Time since it was opened. */
  readonly ageMs: number;
  /** Time since it last had an exchange or an unsettled request. 0 while it has one. */
  readonly idleMs: number;
  /** Requests that are not settled yet. */
  readonly requests: number;
  /** Its open SSE streams. */
  readonly streams: SessionStreams;
  /** When it was opened, by the wall clock: milliseconds since 1970. */
  readonly openedAt: number;
  /** The ID of the node that owns it. Undefined without a cluster. */
  readonly node: string | undefined;
}

/** The number of open SSE streams of a session, by kind. */
export type SessionStreams = Readonly<Record<Exclude<StreamKind, 'subscription'>, number>>;

/** The number of sessions in each state. */
export interface SessionStats {
  readonly initializing: number;
  readonly active: number;
  readonly orphaned: number;
  readonly hibernated: number;
}

/** The caller of a request or a stream, and its session. */
export interface Party {
  /** Undefined for a request without a session. */
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
}

/** The arguments of those events of `router.sessions` that report no change of a session's state. */
export interface SessionReports {
  /** A request of a client is settled, in either era. An open `subscriptions/listen` is a stream instead. */
  readonly settled: Party & {
    readonly method: string;
    /** The tool of a `tools/call`, as the client named it. It need not exist. */
    readonly tool: string | undefined;
    readonly era: Era;
    readonly outcome: Outcome;
    /** Undefined when it succeeded, or was cancelled. */
    readonly errorType: ErrorType | undefined;
    /** Milliseconds since the request arrived. */
    readonly durationMs: number;
  };
  /** A session was not opened, or not restored. `sessionId`: that of a session that could not be restored. */
  readonly rejected: Party & { readonly reason: RejectReason };
  /** This node was fenced: other nodes of the cluster may own its sessions, so it ends them. */
  readonly fenced: { readonly node: string; readonly why: string };
  /** An SSE stream has begun: its first event or its head is written. */
  readonly streamOpened: Party & { readonly kind: StreamKind };
  /** An SSE stream is over. */
  readonly streamClosed: Party & { readonly kind: StreamKind; readonly reason: StreamEnd };
}

/** The events of `router.sessions`. */
export interface SessionEvents {
  /** A session answered its `initialize`. */
  opened: [session: SessionInfo];
  /** A session was built again from its record. `before`: the hibernated session. Undefined when this process did not have it. */
  restored: [session: SessionInfo, before?: SessionInfo | undefined];
  /** A principal adopted a session that was opened without one (`adoptAnonymous`). Its earlier requests have ended. */
  adopted: [session: SessionInfo];
  /** Nothing was attached to a session for `orphanAfter`. */
  orphaned: [session: SessionInfo, cause: OrphanCause];
  /** A session ended. `session.state` is the state before the end. */
  closed: [session: SessionInfo, reason: CloseReason];
  /** A request of a client is settled. */
  settled: [request: SessionReports['settled']];
  /** A session was refused: it could not be opened or restored. */
  rejected: [session: SessionReports['rejected']];
  /** This node was fenced. It ends its sessions, as other nodes may own them now. */
  fenced: [node: SessionReports['fenced']];
  streamOpened: [stream: SessionReports['streamOpened']];
  streamClosed: [stream: SessionReports['streamClosed']];
}

/** A request of a client, by the identity of the object. It does not keep the message in memory while a handler runs. */
export interface ObservedRequest {
  /** The client's own ID. */
  readonly id: RequestId;
  readonly method: string;
  /** The tool of a `tools/call`, as the client named it. */
  readonly tool?: string | undefined;
  /** Default: `session`. */
  readonly era?: Era;
  /** Set before the request is settled. Undefined when it succeeded, or was cancelled. */
  readonly errorType?: ErrorType | undefined;
}

/** All events of the core, for its observers. */
export interface CoreEvents extends Omit<SessionEvents, keyof SessionReports> {
  /** An orphaned session is used again. `session`: the orphaned session. */
  revived: [session: SessionInfo];
  /** A session hibernates: only its record is kept. `session`: the session before that. */
  hibernated: [session: SessionInfo];
  /** Follows `closed` when the session is over for good: no node can restore it. */
  ended: [session: SessionInfo, reason: CloseReason];
  /** A session was refused. */
  rejected: [reason: RejectReason, party: Party];
  /** This node has joined its cluster, under that node ID. */
  joined: [node: string];
  /** This node was fenced. It ends its sessions, as other nodes may own them now. */
  fenced: [node: string, why: string];
  /** This node has claimed a session. `from`: the owner before. Undefined when that node had released the session. */
  claimed: [sessionId: string, from: string | undefined, epoch: number];
  /** A request was forwarded to the node that owns its session. */
  forwarded: [outcome: ForwardOutcome];
  streamOpened: [kind: StreamKind, party: Party];
  streamClosed: [kind: StreamKind, reason: StreamEnd, party: Party];
  /** A client resumed a stream. Not emitted when the client disconnects first, or when the event store fails. */
  streamResumed: [outcome: ResumeOutcome];
  /** A request of a client is in flight. Its `requestSettled` follows, with the same object. `sessionId` is undefined when stateless. */
  requestStarted: [request: ObservedRequest, message: JSONRPCRequest, sessionId: string | undefined];
  /** `durationMs` since the request arrived. */
  requestSettled: [request: ObservedRequest, outcome: Outcome, durationMs: number, party: Party];
  /** A store has answered, or not in time. */
  storeAnswered: [store: StoreName, operation: StoreOperation, outcome: StoreOutcome, durationMs: number];
  /** A failure that no answer to a client reports. `sessionId`: the session in which it happened, if there is one. */
  failure: [what: string, error: unknown, sessionId?: string];
  /** A log line is lost. */
  logLost: [why: LogLoss];
}
