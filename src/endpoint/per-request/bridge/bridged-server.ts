import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId } from '../../../protocol/messages.js';
import type { MessageExtraInfo, WireTransport } from '../../../protocol/wire-transport.js';
import { errorResponse } from '../../../errors.js';
import { callGuarded } from '../../../runtime/user-code.js';
import { isObject } from '../../../runtime/checks.js';
import { isResponse, type Fields } from '../../../transport/jsonrpc.js';
import type { Answer } from '../../../transport/pending-requests.js';
import { callScopes, type CallScope } from './call-scopes.js';

/** Takes what a server says by itself. */
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

/** A request that a server was asked. */
export interface Asked {
  /** The ID that the server knows it by. */
  readonly id: RequestId;
  /** Never rejects. */
  readonly answer: Promise<Answer>;
}

/** What has a server, as its transport sees it. */
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
 * The transport of a server of the session era that answers requests of MCP 2026-07-28, any number at once. It speaks the server's
 * own era: requests go in under IDs and progress tokens of its own, as those of two clients may be equal.
 *
 * What the server says by itself goes to the listener of the request that it belongs to. That is the one that the server names by
 * `relatedRequestId` or by its progress token, else the one in whose scope the server speaks. No other request ever gets it.
 */
export class BridgedServer implements WireTransport {
  onclose?: WireTransport['onclose'];
  onmessage?: WireTransport['onmessage'];
  readonly sessionId: string;
  readonly #report: (what: string, error: unknown) => void;
  readonly #isShared: boolean;
  readonly #waiting = new Map<RequestId, Waiting>();
  #owner: BridgeOwner | undefined;
  /** Of the one call of a server that is not shared. */
  #call: ServerListener | undefined;
  /** Takes messages of the server that belong to no call. */
  #outside: ServerListener | undefined;
  #lastId = 0;
  #started = false;
  #closed = false;
  /** Whether the scope of its greeting is in use. */
  #isGreeted = false;

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

  /** Sends notifications that belong to no request to the listener from now on; of a server without calls, all that it says. */
  listen(listener: ServerListener): void {
    this.#outside = listener;
  }

  /**
   * Has the server answer a request.
   *
   * @param listener - Takes what the server says while it works on the request. A server that is not shared works on one that has
   * a listener.
   */
  ask(method: string, params: Fields | undefined, extra?: MessageExtraInfo, listener?: ServerListener): Asked {
    const id = (this.#lastId += 1);
    const isScoped = this.#isShared && !this.#closed && listener?.needsScope !== false;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, { answer: resolve, listener, isScoped }));
    if (!this.#isShared && listener !== undefined) this.#call ??= listener;
    if (this.#closed) this.#answer(errorResponse('sessionClosed'), id);
    else {
      const message = { jsonrpc: '2.0' as const, id, method, ...(params && { params: withToken(params, id) }) };
      const hand = (): void => this.#hand(message, extra, id);
      if (isScoped) callScopes.enter({ server: this, id }, hand);
      else hand();
    }
    return { id, answer };
  }

  /**
   * Gives the server a notification, or the answer to a question of its own. A question that the server asks in response to
   * `notifications/initialized` belongs to no call, even if a call runs by then. A shared server needs no scope for that, as each of
   * its calls has one.
   */
  tell(message: JSONRPCNotification | Answer): void {
    const isGreeting = 'method' in message && message.method === 'notifications/initialized';
    if (!isGreeting || this.#isShared || this.#closed) this.#hand(message);
    else {
      this.#isGreeted = true;
      callScopes.enter({ server: this, id: undefined }, () => this.#hand(message));
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
    if (method === 'notifications/tools/list_changed' && !isOfRouter) this.#owner?.toolsChanged();
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
    if (this.#isGreeted) callScopes.leave();
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

  /** Whether a server that is shared answers a request of the router's own now. What it says meanwhile is for no client. */
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

  /** @param id - Of the request that the message is, to be answered if the server throws on it. */
  #hand(message: JSONRPCMessage, extra?: MessageExtraInfo, id?: RequestId): void {
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
