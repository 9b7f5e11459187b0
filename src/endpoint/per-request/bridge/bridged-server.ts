import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId } from '../../../protocol/messages.js';
import type { MessageExtraInfo, WireTransport } from '../../../protocol/wire-transport.js';
import { errorResponse } from '../../../errors.js';
import { onRejection } from '../../../runtime/user-code.js';
import { isResponse, type Fields } from '../../../transport/jsonrpc.js';
import type { Answer } from '../../../transport/pending-requests.js';

/** Takes what a server says by itself. */
export interface ServerListener {
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

/**
 * The transport of a server of the session era that answers requests of MCP 2026-07-28. It speaks the server's own era: requests
 * go in under IDs of its own, and whatever the server says goes to the listener.
 */
export class BridgedServer implements WireTransport {
  onclose?: WireTransport['onclose'];
  onerror?: WireTransport['onerror'];
  onmessage?: WireTransport['onmessage'];
  readonly sessionId: string;
  readonly #report: (what: string, error: unknown) => void;
  readonly #waiting = new Map<RequestId, (answer: Answer) => void>();
  #listener: ServerListener | undefined;
  #lastId = 0;
  #started = false;
  #closed = false;

  /** @param sessionId - What handlers get as `extra.sessionId`. Servers keep maps by it. */
  constructor(sessionId: string, report: (what: string, error: unknown) => void) {
    this.sessionId = sessionId;
    this.#report = report;
  }

  get started(): boolean {
    return this.#started;
  }

  start(): Promise<void> {
    this.#started = true;
    return this.#closed ? Promise.reject(new Error('The transport is closed already')) : Promise.resolve();
  }

  /** Sends what the server says by itself to the listener from now on. Without one, questions fail and notifications are dropped. */
  listen(listener: ServerListener): void {
    this.#listener = listener;
  }

  /** Has the server answer a request. */
  ask(method: string, params: Fields | undefined, extra?: MessageExtraInfo): Asked {
    const id = (this.#lastId += 1);
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    if (this.#closed) this.#answer(errorResponse('sessionClosed'), id);
    else this.#hand({ jsonrpc: '2.0', id, method, ...(params && { params }) }, extra, id);
    return { id, answer };
  }

  /** Hands the server a notification, or the answer to a question of its own. */
  tell(message: JSONRPCNotification | Answer): void {
    this.#hand(message);
  }

  /** Cancels a request. The server never answers it then (spec 2025-11-25, basic/utilities/cancellation). */
  cancel(requestId: RequestId, reason: string): void {
    this.#waiting.delete(requestId);
    this.tell({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId, reason } });
  }

  /** Called by the server. */
  async send(message: JSONRPCMessage, _options?: Parameters<WireTransport['send']>[1]): Promise<void> {
    if (!('method' in message)) return this.#answer(message, message.id);
    if (!('id' in message)) return this.#listener?.notified(message);
    if (this.#listener === undefined) throw new Error('The server asks its client before it is asked anything');
    this.#listener.asked(message);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    for (const id of this.#waiting.keys()) this.#answer(errorResponse('sessionClosed'), id);
    this.#run('the server threw on close', () => this.onclose?.());
    this.onmessage = this.onerror = this.onclose = undefined;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.closed?.();
    return Promise.resolve();
  }

  #answer(message: object, id: RequestId | undefined): void {
    const resolve = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || resolve === undefined) return;
    this.#waiting.delete(id);
    const answer = { ...message, id };
    if (isResponse(answer)) return resolve(answer);
    // The SDK's server sends whatever a handler returns, even if it is not a result.
    this.#report('a server answered with no JSON-RPC response', new TypeError('a result must be an object'));
    resolve({ ...errorResponse('internalError'), id });
  }

  /** @param id - Of the request that the message is, to be answered if the server throws on it. */
  #hand(message: JSONRPCMessage, extra?: MessageExtraInfo, id?: RequestId): void {
    const failed = (): void => this.#answer(errorResponse('internalError'), id);
    this.#run('the server threw on a message', () => this.onmessage?.(message, extra), failed);
  }

  #run(what: string, call: () => unknown, failed?: () => void): void {
    const fail = (error: unknown): void => {
      this.#report(what, error);
      failed?.();
    };
    try {
      onRejection(call(), fail);
    } catch (error) {
      fail(error);
    }
  }
}
