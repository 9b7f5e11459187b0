import type { JSONRPCRequest } from '../protocol/messages.js';
import type { MessageExtraInfo } from '../protocol/wire-transport.js';
import type { Clock } from '../runtime/clock.js';
import type { DeadlineQueue } from '../runtime/deadline-queue.js';
import type { CoreEvents, Party, SessionStreams, StreamKind } from '../events.js';
import type { Era } from '../options/options.js';
import type { Instrumentation, Operations } from '../options/telemetry.js';
import type { Emitter } from '../runtime/emitter.js';
import type { MemoryEvents } from '../stores/memory-event-store.js';
import type { EventFence, FencedEventStore } from '../stores/session-event-store.js';
import type { ReplyForm } from './reply-form.js';
import type { ReplyMemory } from './reply-memory.js';
import type { RequestMemory } from './request-memory.js';

/** Shared by all transports of a router: settings, and one queue for each kind of deadline. */
export interface TransportContext {
  /** Of the requests. */
  readonly era: Era;
  readonly clock: Clock;
  readonly events: Emitter<CoreEvents>;
  /** Undefined without the option `telemetry`. */
  readonly telemetry?: Instrumentation | undefined;
  readonly enableJsonResponse: boolean;
  /** Milliseconds, for the SSE `retry` field. Undefined when only a stream that the server ends has the field. */
  readonly retryInterval: number | undefined;
  /** Requests of one session that may be unsettled at once. */
  readonly maxRequestsPerSession: number;
  /** Bytes. */
  readonly maxStreamBuffer: number;
  readonly replyMemory: ReplyMemory;
  readonly requestMemory: RequestMemory;
  /** Milliseconds without a byte after which a stream gets a comment. */
  readonly keepAlive: number;
  /** Answers that the event store refused, of all sessions. Undefined when no stream can be resumed. */
  readonly refusedAnswers: MemoryEvents | undefined;
  /** Replies that have been quiet for `keepAlive`. */
  readonly quiet: DeadlineQueue<{ keepAlive(): void; sendHead(): void }>;
  /** SSE replies whose head was not sent yet. */
  readonly headless: DeadlineQueue<{ keepAlive(): void; sendHead(): void }>;
  /** Requests, due when they had neither an answer nor progress for `requestTimeout`. */
  readonly unanswered: DeadlineQueue<{ timeOut(): void }>;
  /** Standalone streams, due for a ping. Undefined when `pingInterval` is not set. */
  readonly pings: DeadlineQueue<{ ping(): void }> | undefined;
}

/**
 * The outcome of a notification for one client:
 * - `delivered`: it was written to an open stream.
 * - `stored`: the event store keeps it for a client that may have an event ID, and so may resume its standalone stream.
 * - `dropped`: the client has no open stream and nothing keeps it, or its server has not declared the capability.
 */
export type Delivery = 'delivered' | 'stored' | 'dropped';

/** Keeps the owner of a transport from ending until it is released. A second release does nothing. */
export interface Lease {
  release(): void;
}

/** The session of a transport, as the transport sees it. It must not end while it has leases. */
export interface TransportOwner {
  readonly principal: string | undefined;
  /** True when another node may own the session. This node may then send no answer of its server. */
  readonly mayNotRespond: boolean;
  /** Whether this node may not even send a final error. */
  readonly pastGracePeriod: boolean;
  /** Whether the event store has ever refused an answer of the session. */
  readonly answersRefused: boolean;
  /** The event store has refused an answer. */
  answerRefused(): void;
  /** @param kind - `standalone` for a stream that is only open: no request is in flight on it. */
  acquire(kind: StreamKind): Lease;
  /** An SSE stream has begun. */
  streamOpened(kind: keyof SessionStreams): void;
  /** An SSE stream is over. */
  streamClosed(kind: keyof SessionStreams): void;
  /** An SSE stream broke off: the server had not ended it. */
  streamLost(): void;
  /** The server closed its own transport, or was closed by the app. */
  transportClosed(): void;
  /** The event store has refused an event because another node owns the session. */
  fenced(): void;
  /**
   * Whether the session has room for the change that a request makes. If true, `free` is called for the request later, and
   * `requestSucceeded` before it if the request succeeded.
   */
  reserve(request: JSONRPCRequest): boolean;
  /** Called when a request is settled. It has changed nothing unless `requestSucceeded` was called. */
  free(request: JSONRPCRequest): void;
  /** Called when a request that changes the session succeeded. The answer is sent once the promise, if any, is settled. */
  requestSucceeded(request: JSONRPCRequest): Promise<void> | undefined;
}

/** The session of a new transport. */
export interface SessionInit {
  readonly id: string;
  readonly owner: TransportOwner;
  readonly epoch: number;
  /** The epoch in which this process got the session. Default: `epoch`. */
  readonly firstEpoch?: number;
  readonly eventStore: FencedEventStore | undefined;
  /** Undefined when no other node can own the session. */
  readonly fence?: EventFence | undefined;
}

/** The arguments of a new transport. */
export interface TransportInit {
  readonly context: TransportContext;
  /**
   * What happens to a request when its client closes the reply:
   * - `continue`: it runs on (spec 2025-11-25, basic/transports, "Sending Messages to the Server", 6).
   * - `cancel`: it is cancelled (spec 2026-07-28, basic/transports/streamable-http).
   */
  readonly onDisconnect: 'continue' | 'cancel';
  /** Undefined for the transport of one POST. */
  readonly session?: SessionInit;
  /** The caller of the one POST. That of a session is its owner's. */
  readonly principal?: string | undefined;
}

/** The properties of a POST, beside its messages. */
export interface PostInit {
  readonly batch: boolean;
  readonly extra: MessageExtraInfo;
  /** The form of reply that the client accepts. Default: `any`. */
  readonly form?: ReplyForm;
  /** Bytes of memory that the messages take, an estimate. Default: 0. */
  readonly memory?: number;
  /** Undefined without telemetry. */
  readonly operations?: Operations | undefined;
  /** The request's lease of the transport's owner. */
  readonly lease: Lease;
}

/** A transport, as its replies and streams see it. */
export interface TransportSide extends Party {
  readonly context: TransportContext;
  /** Undefined for the transport of one POST. */
  readonly owner: TransportOwner | undefined;
  /** The client has closed the last reply of the stream, and some of its requests are not settled. */
  disconnected(stream: object): void;
}
