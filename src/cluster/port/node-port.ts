import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { SessionInfo } from '../../events.js';
import type { ForwardedRequest } from '../../endpoint/session/forwarding-port.js';
import type { InspectAnswer, InspectRequest } from '../../inspection/views.js';
import type { Notified } from '../../notify/notification.js';
import type { MessageId } from '../membership/challenges.js';
import type { Lease } from '../membership/lease.js';

/** A client's request without its body, as it is forwarded to the owner of its session. */
export type RequestHeaders = Omit<ForwardedRequest, 'post' | 'forwarded'>;

/** A change that a server of a principal announced. `uri` is that of a resource. */
export interface Announcement {
  readonly principal?: string;
  readonly method: string;
  readonly uri?: string;
}

/**
 * Every kind of request between nodes: its headers, and the JSON answer of its handler. The answer is `undefined` when the
 * handler writes the reply itself.
 *
 * To add a kind, add a line here, a handler ({@link NodePort.handle}) and a call of {@link NodePort.request} or
 * {@link NodePort.broadcast}.
 */
export interface NodeKinds {
  /** A client's request. Its body is the client's body, and the reply is the reply to the client. */
  readonly request: { readonly headers: RequestHeaders; readonly answer: undefined };
  /** The sessions of the node. */
  readonly list: { readonly headers: object; readonly answer: readonly SessionInfo[] };
  /** Ends a session. The answer is false when there was none. */
  readonly close: { readonly headers: { readonly sessionId: string }; readonly answer: boolean };
  /** How long the principal's longest orphaned session is idle, in ms. -1 when none is orphaned. */
  readonly orphaned: { readonly headers: { readonly principal: string }; readonly answer: number };
  /** Ends the principal's longest orphaned session. The answer is false when there was none. */
  readonly evict: { readonly headers: { readonly principal: string }; readonly answer: boolean };
  /** Carries announcements of another node's servers to subscriptions: the list of {@link Announcement} in the body. */
  readonly announce: { readonly headers: object; readonly answer: boolean };
  /** Ends the subscriptions and the calls of a principal that belong to no session. */
  readonly endPrincipal: { readonly headers: { readonly principal: string }; readonly answer: boolean };
  /** Delivers the notifications in the body to the clients of the node. The answers are in their order. */
  readonly notify: { readonly headers: object; readonly answer: readonly Notified[] };
  /** A request of an operator about the sessions of the node. */
  readonly inspect: { readonly headers: { readonly request: InspectRequest }; readonly answer: InspectAnswer };
  /** Does nothing. A node that joins sends it to itself, at the address that it advertises. */
  readonly probe: { readonly headers: object; readonly answer: boolean };
}

export type NodeKind = keyof NodeKinds;
export type HeadersOf<K extends NodeKind> = NodeKinds[K]['headers'];
export type AnswerOf<K extends NodeKind> = NodeKinds[K]['answer'];

/** The answer of another node, as a stream. */
export type NodeResponse = Readable & {
  readonly statusCode?: number | undefined;
  readonly headers: IncomingHttpHeaders;
};

/**
 * The outcome of a request:
 * - `answered`: the answer has begun. `with102`: 102 Processing arrived before it.
 * - `untaken`: the node has not begun the request. `why`: the node's own reason, or that it could not be reached.
 * - `lost`: the node took the request, and its connection broke before the answer.
 * - `unknown`: the request may have reached the node. `mayAsk`: the request may be repeated to that node, which runs it only if
 *   it has not begun it. If false, a proxy answered in the node's place, and the request must not be sent again.
 */
export type Sent =
  | { readonly outcome: 'answered'; readonly response: NodeResponse; readonly with102: boolean }
  | { readonly outcome: 'untaken'; readonly why: string }
  | { readonly outcome: 'lost' }
  | { readonly outcome: 'unknown'; readonly mayAsk: boolean };

/** A request that was sent to another node. */
export interface Sending {
  readonly id: MessageId;
  readonly sent: Promise<Sent>;
  /**
   * Resolves to true as soon as the node has begun the request and says so (102 Processing), which a proxy may drop. Else to false,
   * when `sent` is settled.
   */
  readonly begun: Promise<boolean>;
  /** Resolves when the request and its answer are closed. */
  readonly closed: Promise<void>;
  /** Aborts the request. `gone`: its node has ended, so it begins no request any more, and a 102 that it sent has arrived. */
  readonly abort: (why?: 'gone') => void;
}

export interface RequestOptions {
  /** How long the node may take to begin the request, in ms. */
  readonly time: number;
  /** The first request with this content, when its outcome is unknown. The node begins at most one of the two. */
  readonly repeats?: MessageId | undefined;
}

/** A request of another node, with the reply to it. */
export interface NodeRequest<K extends NodeKind> {
  readonly headers: HeadersOf<K>;
  readonly body: Buffer;
  readonly req: IncomingMessage;
  readonly reply: ServerResponse;
}

/**
 * Carries out a request, and resolves to the answer. Rejects only with NotOwner.
 *
 * @throws NotOwner when another node owns the session. The request was not begun then.
 */
export type NodeHandler<K extends NodeKind> = (request: NodeRequest<K>) => AnswerOf<K> | Promise<AnswerOf<K>>;

/** The answer of one node to a broadcast. */
export interface Answered<K extends NodeKind> {
  readonly node: Lease;
  readonly result: PromiseSettledResult<AnswerOf<K>>;
}

/** Carries all requests between nodes that can reach each other. A node begins each request at most once. */
export interface NodePort {
  /** Registers the handler of a kind. A node refuses a kind without a handler, which happens in a rolling upgrade. */
  handle<K extends NodeKind>(kind: K, handler: NodeHandler<K>): void;
  /** Sends a request to one node. The answer streams; the body is sent whole, as its signature covers it. */
  request<K extends NodeKind>(
    node: Lease,
    kind: K,
    headers: HeadersOf<K>,
    body: string | Buffer | undefined,
    options: RequestOptions,
  ): Sending;
  /** Sends a request to every other node. Rejects with Refusal `storeUnavailable` when their list cannot be read. */
  broadcast<K extends NodeKind>(kind: K, headers: HeadersOf<K>): Promise<Answered<K>[]>;
}
