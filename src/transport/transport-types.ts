import type { JSONRPCRequest, MessageExtraInfo } from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../runtime/clock.js';
import type { DeadlineQueue } from '../runtime/deadline-queue.js';
import type { CoreEvents, StreamKind } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import type { MemoryEvents } from '../stores/memory-event-store.js';
import type { EventFence, FencedEventStore } from '../stores/session-event-store.js';
import type { ReplyForm } from './reply-form.js';
import type { ReplyMemory } from './reply-memory.js';
import type { RequestMemory } from './request-memory.js';

/** What all transports of a router share: settings, and one queue for each kind of deadline. */
export interface TransportContext {
  readonly clock: Clock;
  readonly events: Emitter<CoreEvents>;
  readonly enableJsonResponse: boolean;
  /** Milliseconds, for the SSE `retry` field; undefined where only a stream that the server ends has one. */
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
  /** SSE replies of which nothing was said yet. */
  readonly headless: DeadlineQueue<{ keepAlive(): void; sendHead(): void }>;
  /** Requests, due when they went without answer or progress for `requestTimeout`. */
  readonly unanswered: DeadlineQueue<{ timeOut(): void }>;
  /** Standalone streams, due a ping; undefined when `pingInterval` is not set. */
  readonly pings: DeadlineQueue<{ ping(): void }> | undefined;
}

/** Keeps the owner of a transport from ending until it is released. To release it again does nothing. */
export interface Lease {
  release(): void;
}

/** The session that a transport is for, as the transport sees it. It must not end while there are leases of it. */
export interface TransportOwner {
  /** Whether another node may own the session: then this node may send no answer of its server. */
  readonly mayNotRespond: boolean;
  /** Whether this node may not even send a final error. */
  readonly pastGracePeriod: boolean;
  /** Whether the event store has ever refused an answer of the session. */
  readonly answersRefused: boolean;
  /** The event store has refused an answer. */
  answerRefused(): void;
  /** @param kind - `standalone` for a stream that is only open: no request is in flight on it. */
  acquire(kind: StreamKind): Lease;
  /** A standalone stream was opened. */
  streamOpened(): void;
  /** An SSE stream ended other than by the server's will. */
  streamLost(): void;
  /** The server closed its own transport, or was closed by the app. */
  transportClosed(): void;
  /** The event store says that another node owns it. */
  fenced(): void;
  /**
   * Whether the session has room for the change that a request makes. If true, `settledWell` or `free` is called for the request
   * later.
   */
  reserve(request: JSONRPCRequest): boolean;
  /** Called when a request is settled. It has changed nothing unless `settledWell` was called. */
  free(request: JSONRPCRequest): void;
  /** A request that changes the session was answered well; the answer goes out when the promise, if any, is settled. */
  settledWell(request: JSONRPCRequest): Promise<void> | undefined;
}

/** What the transport of a session is built with. */
export interface SessionInit {
  readonly id: string;
  readonly owner: TransportOwner;
  readonly epoch: number;
  /** The epoch in which this process got the session. Default: `epoch`. */
  readonly firstEpoch?: number;
  readonly eventStore: FencedEventStore | undefined;
  /** Undefined where no other node can own the session. */
  readonly fence?: EventFence | undefined;
}

/** What a transport is built with. */
export interface TransportInit {
  readonly context: TransportContext;
  /**
   * What becomes of the requests whose reply the client closes:
   * - `continue`: they run on (spec 2025-11-25, basic/transports, "Sending Messages to the Server", 6).
   * - `cancel`: they are cancelled (spec 2026-07-28, basic/transports/streamable-http).
   */
  readonly onDisconnect: 'continue' | 'cancel';
  /** Undefined for the transport of one POST. */
  readonly session?: SessionInit;
}

/** How the messages of a POST came. */
export interface PostInit {
  readonly batch: boolean;
  readonly extra: MessageExtraInfo;
  /** The protocol version that the reply is made for. Default: the session's. */
  readonly version?: string;
  /** The form of reply that the client accepts. Default: `any`. */
  readonly form?: ReplyForm;
  /** Bytes that the messages take in memory, about. Default: 0. */
  readonly memory?: number;
  /** The request's lease of the transport's owner. */
  readonly lease: Lease;
}

/** A transport, as its replies and streams see it. */
export interface TransportSide {
  readonly sessionId: string | undefined;
  readonly context: TransportContext;
  /** Undefined for the transport of one POST. */
  readonly owner: TransportOwner | undefined;
  /** The client has closed the last reply of the stream, and some of its requests are not settled. */
  disconnected(stream: object): void;
}
