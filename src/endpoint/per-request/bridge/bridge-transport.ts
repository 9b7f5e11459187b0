import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId } from '../../../protocol/messages.js';
import { TOOLS_CHANGED } from '../../../protocol/notifications.js';
import type { MessageExtraInfo, WireTransport } from '../../../protocol/wire-transport.js';
import { errorResponse } from '../../../errors.js';
import { callGuarded } from '../../../runtime/user-code.js';
import { isObject } from '../../../runtime/checks.js';
import { isResponse, type Fields } from '../../../transport/jsonrpc.js';
import type { Answer } from '../../../transport/pending-requests.js';
import { callScopes, type CallScope } from './call-scopes.js';

/** Takes the messages that a server sends unasked. */
export interface ServerListener {
  /**
   * Whether a shared server may send a message for the request without its ID: a question, a log message, or an announcement that must
   * reach no stream. Only a scope then tells which request the message belongs to. Default: true.
   */
  readonly needsScope?: boolean;
  /** The server asks its client something. */
  asked(question: JSONRPCRequest): void;
  /** @returns The back-pressure of the client's reader. */
  notified(notification: JSONRPCNotification): Promise<void> | undefined;
  /** The server is closed, or closes. */
  closed?(): void;
}

/** A request that the router sent to a server. */
export interface Asked {
  /** The ID that the server knows it by. */
  readonly id: RequestId;
  /** Never rejects. */
  readonly answer: Promise<Answer>;
}

/** The owner of a server, as the server's transport sees it. */
export interface BridgeOwner {
  /** The transport is closed. */
  ended(): void;
  /** The server announces that its tools have changed. */
  toolsChanged(): void;
}

/** A request that is not answered yet. */
interface Waiting {
  readonly answer: (answer: Answer) => void;
  readonly listener: ServerListener | undefined;
  readonly isScoped: boolean;
}

/**
 * The transport of a server that answers requests of MCP 2026-07-28, any number at once. Each request gets an ID and a progress
 * token of the transport's own, as those of two clients may be equal.
 *
 * A message that the server sends unasked goes to the listener of one request. The server names that request by
 * `relatedRequestId` or by the progress token. If it names none, the scope in which it sends the message decides.
 */
export class BridgeTransport implements WireTransport {
  onclose?: WireTransport['onclose'];
  onmessage?: WireTransport['onmessage'];
  readonly sessionId: string;
  readonly #report: (what: string, error: unknown) => void;
  readonly #isShared: boolean;
  readonly #waiting = new Map<RequestId, Waiting>();
  #owner: BridgeOwner | undefined;
  /** The listener of the one call of a server that is not shared. */
  #call: ServerListener | undefined;
  /** Takes messages of the server that belong to no call. */
  #outside: ServerListener | undefined;
  #lastId = 0;
  #started = false;
  #closed = false;
  /** Whether the scope of `notifications/initialized` is in use. */
  #hasInitializedScope = false;

  /**
   * @param sessionId - What handlers get as `extra.sessionId`. Servers keep maps by it.
   * @param isShared - Whether several requests share the server.
   */
  constructor(sessionId: string, report: (what: string, error: unknown) => void, isShared: boolean) {
    this.sessionId = sessionId;
    this.#report = report;
    this.#isShared = isShared;
  }

  get started(): boolean {
    return this.#started;
  }

  start(): Promise<void> {
    this.#started = true;
    return this.#closed ? Promise.reject(new Error('The transport is closed already')) : Promise.resolve();
  }

  attach(owner: BridgeOwner): void {
    this.#owner = owner;
  }

  /** From now on the listener gets the notifications that belong to no request. If the server has no calls, it gets all messages. */
  listen(listener: ServerListener): void {
    this.#outside = listener;
  }

  /**
   * Has the server answer a request.
   *
   * @param listener - Takes the messages that the server sends while it works on the request. A server that is not shared gets at
   * most one request with a listener.
   */
  ask(method: string, params: Fields | undefined, extra?: MessageExtraInfo, listener?: ServerListener): Asked {
    const id = (this.#lastId += 1);
    const isScoped = this.#isShared && !this.#closed && listener?.needsScope !== false;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, { answer: resolve, listener, isScoped }));
    if (!this.#isShared && listener !== undefined) this.#call ??= listener;
    if (this.#closed) this.#answer(errorResponse('sessionClosed'), id);
    else {
      const message = { jsonrpc: '2.0' as const, id, method, ...(params && { params: withToken(params, id) }) };
      const handOver = (): void => this.#handOver(message, extra, id);
      if (isScoped) callScopes.enter({ server: this, id }, handOver);
      else handOver();
    }
    return { id, answer };
  }

  /**
   * Sends the server a notification, or the answer to its question.
   *
   * A question that the server asks in response to `notifications/initialized` belongs to no call, even if a call runs at that
   * time. A scope says so. A shared server needs none for that, as each of its calls has one.
   */
  tell(message: JSONRPCNotification | Answer): void {
    const isInitialized = 'method' in message && message.method === 'notifications/initialized';
    if (!isInitialized || this.#isShared || this.#closed) this.#handOver(message);
    else {
      this.#hasInitializedScope = true;
      callScopes.enter({ server: this, id: undefined }, () => this.#handOver(message));
    }
  }

  /** Cancels a request. The server never answers it then (spec 2025-11-25, basic/utilities/cancellation). */
  cancel(requestId: RequestId, reason: string): void {
    this.#take(requestId);
    this.tell({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId, reason } });
  }

  /** Called by the server. */
  async send(message: JSONRPCMessage, { relatedRequestId }: Parameters<WireTransport['send']>[1] = {}): Promise<void> {
    if (!('method' in message)) return this.#answer(message, message.id);
    const { method } = message;
    const isOfRouter = this.#worksForRouter();
    if (method === TOOLS_CHANGED && !isOfRouter) this.#owner?.toolsChanged();
    const listener = this.#listenerOf(message, relatedRequestId);
    if ('id' in message) {
      if (listener !== undefined) return listener.asked(message);
      throw new Error(
        `No request of a client is known that ${method} belongs to: ask within a handler, or pass relatedRequestId`,
      );
    }
    if (listener !== undefined) return listener.notified(message);
    // The timer that withdraws a question may run outside of the scope. IDs of questions are unique in a server.
    if (method === 'notifications/cancelled') {
      for (const each of this.#waiting.values()) void each.listener?.notified(message);
    } else if (method !== 'notifications/progress' && !isOfRouter) return this.#outside?.notified(message);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    for (const id of this.#waiting.keys()) this.#answer(errorResponse('sessionClosed'), id);
    if (this.#hasInitializedScope) callScopes.leave();
    this.#run('the server threw on close', () => this.onclose?.());
    this.onmessage = this.onclose = undefined;
    const outside = this.#outside;
    this.#call = this.#outside = undefined;
    outside?.closed?.();
    this.#owner?.ended();
    return Promise.resolve();
  }

  #listenerOf({ method, params }: JSONRPCNotification, related: RequestId | undefined): ServerListener | undefined {
    if (method === 'notifications/progress') {
      const token = params?.progressToken as RequestId;
      return related === undefined || related === token ? this.#waiting.get(token)?.listener : undefined;
    }
    const named = related === undefined ? undefined : this.#waiting.get(related);
    if (named !== undefined || (related !== undefined && this.#isShared)) return named?.listener;
    const scope = this.#scope();
    if (!this.#isShared) return scope === undefined ? (this.#call ?? this.#outside) : undefined;
    return scope?.id === undefined ? undefined : this.#waiting.get(scope.id)?.listener;
  }

  /** Whether a server that is shared answers a request of the router's own now. Its messages meanwhile are for no client. */
  #worksForRouter(): boolean {
    const id = this.#scope()?.id;
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    return waiting !== undefined && waiting.listener === undefined;
  }

  #scope(): CallScope | undefined {
    const scope = callScopes.current();
    return scope?.server === this ? scope : undefined;
  }

  /** Removes a request from the unanswered ones. */
  #take(id: RequestId): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (waiting?.isScoped === true) callScopes.leave();
    return waiting;
  }

  #answer(message: object, id: RequestId | undefined): void {
    const waiting = id === undefined ? undefined : this.#take(id);
    if (id === undefined || waiting === undefined) return;
    const read = (): void => {
      const answer = { ...message, id };
      if (!isResponse(answer)) throw new TypeError('a result must be an object');
      waiting.answer(answer);
    };
    // The SDK's server sends whatever a handler returns, even if it is not a result, or throws as it is read.
    this.#run('a server answered with no JSON-RPC response', read, () =>
      waiting.answer({ ...errorResponse('internalError'), id }),
    );
  }

  /** @param id - The ID of the message, if it is a request. The request is answered if the server throws on it. */
  #handOver(message: JSONRPCMessage, extra?: MessageExtraInfo, id?: RequestId): void {
    const failed = (): void => this.#answer(errorResponse('internalError'), id);
    this.#run('the server threw on a message', () => this.onmessage?.(message, extra), failed);
  }

  #run(what: string, call: () => unknown, failed?: () => void): void {
    callGuarded(call, (error) => {
      this.#report(what, error);
      failed?.();
    });
  }
}

/** A server may report by the token alone. */
function withToken(params: Fields, id: RequestId): Fields {
  const { _meta } = params;
  if (!isObject(_meta) || _meta.progressToken === undefined) return params;
  return { ...params, _meta: { ..._meta, progressToken: id } };
}
