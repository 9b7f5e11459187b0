import type { ServerResponse } from 'node:http';
import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId } from '../protocol/messages.js';
import type { MessageExtraInfo, WireTransport } from '../protocol/wire-transport.js';
import { errorResponse, ERRORS, Refusal } from '../errors.js';
import { runIn, type Operations } from '../options/telemetry.js';
import { callGuarded } from '../runtime/user-code.js';
import type { PostInit, TransportContext, TransportInit, TransportOwner, TransportSide } from './transport-types.js';
import { AskedOperations } from './asked-operations.js';
import { EpochIds } from './epoch-ids.js';
import { createEventLog, type SessionEventLog } from './session-events.js';
import { RouterRequests } from './router-requests.js';
import { isFailure, isResponse } from './jsonrpc.js';
import { CHANGES_SESSION, keyOf, PendingRequest, PendingRequests, type Answer } from './pending-requests.js';
import { RequestStream, type Taking } from './request-stream.js';
import { Replays } from './replay.js';
import { replyEmpty } from './response.js';
import { resume } from './resume.js';
import { StandaloneStream } from './standalone-stream.js';

/** From this version on, clients can resume from an event without data, and can poll (SEP-1699). */
const PRIMING_SINCE = '2025-11-25';

/**
 * The SDK's `Transport` on Node's own request and response: Streamable HTTP of the specification's versions 2025-03-26 to
 * 2025-11-25 (basic/transports), for one session, or for one request when stateless.
 *
 * It gets parsed, checked messages and the response to reply on. The HTTP layer reads and refuses requests. However a request
 * ends, the transport ends its reply and frees its ID.
 */
export class HttpTransport implements WireTransport, TransportSide {
  onclose?: WireTransport['onclose'];
  onerror?: WireTransport['onerror'];
  onmessage?: WireTransport['onmessage'];
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
  readonly context: TransportContext;
  readonly owner: TransportOwner | undefined;
  /** Negotiated by `initialize`. Without a session, that of the request. */
  protocolVersion: string | undefined;
  readonly #onDisconnect: TransportInit['onDisconnect'];
  readonly #pending: PendingRequests;
  readonly standalone: StandaloneStream;
  readonly #eventLog: SessionEventLog | undefined;
  readonly #epochIds: EpochIds;
  readonly #asked: AskedOperations | undefined;
  /** Undefined until a client resumes. */
  #replays: Replays | undefined;
  /** Undefined once the session is open, to save memory: a process has thousands of open sessions. */
  #routerRequests: RouterRequests | undefined;
  #started = false;
  #closed = false;

  constructor({ context, onDisconnect, session, principal }: TransportInit) {
    this.sessionId = session?.id;
    this.context = context;
    this.owner = session?.owner;
    this.principal = session === undefined ? principal : session.owner.principal;
    this.#onDisconnect = onDisconnect;
    this.#pending = new PendingRequests(this);
    this.#epochIds = new EpochIds(session?.epoch ?? 0);
    this.#asked = context.telemetry && new AskedOperations(context.telemetry, this, this.#epochIds);
    this.#eventLog = session && createEventLog(session, context);
    this.standalone = new StandaloneStream(this, this.#eventLog);
  }

  /** Whether a server has connected, even if the session could not be opened in time. */
  get started(): boolean {
    return this.#started;
  }

  /** Requests of the client that are not settled. */
  get unsettled(): number {
    return this.#pending.size;
  }

  start(): Promise<void> {
    this.#started = true;
    if (this.#closed) return Promise.reject(new Error('The transport is closed: its session was not open in time'));
    return Promise.resolve();
  }

  /** Sends the server an `initialize` and returns the answer. No client gets it. */
  async initialize(message: JSONRPCRequest, extra: MessageExtraInfo): Promise<Answer> {
    const answer = await this.ask(message, extra);
    if ('error' in answer) return answer;
    const { protocolVersion, capabilities } = answer.result;
    if (typeof protocolVersion === 'string') this.protocolVersion = protocolVersion;
    this.standalone.restrict(capabilities);
    return answer;
  }

  /** Sends the server a request of the router before the session is open, and returns the answer. */
  ask(message: JSONRPCRequest, extra: MessageExtraInfo): Promise<Answer> {
    if (this.#closed) return Promise.reject(new Error('Closed while it was being opened'));
    this.#routerRequests ??= new RouterRequests();
    return this.#routerRequests.ask(message, (request): unknown => this.onmessage?.(request, extra));
  }

  /** Sends the server a notification of the router. */
  tell(message: JSONRPCNotification, extra: MessageExtraInfo): void {
    this.#handOver(message, extra);
  }

  /** Called when the session is open. From now on, every answer of the server goes to the client. */
  opened(): void {
    if (this.#closed) throw new Error('The server closed itself while it was being connected');
    this.#routerRequests = undefined;
  }

  /**
   * Takes the messages of one POST. Releases the lease when the requests are settled and their reply is over.
   *
   * After a throw, the server gets none of the messages, and the caller releases the lease.
   *
   * @throws Refusal `requestIdInFlight` when a request has the ID of another request in flight.
   * @throws Refusal `tooManyRequests` when too many requests are in flight.
   */
  async post(res: ServerResponse, messages: readonly JSONRPCMessage[], init: PostInit): Promise<void> {
    const { extra, lease, operations, memory = 0 } = init;
    if (this.#closed) {
      throw new Refusal('internalError', { cause: new Error('The server closed itself while it was being connected') });
    }
    const requests = messages.filter((message) => 'method' in message && 'id' in message);
    if (requests.length === 0) {
      this.take(messages, extra, operations);
      await replyEmpty(res, 202, this.owner);
      return lease.release();
    }

    this.#pending.checkRoom(requests, memory);
    const stream = new RequestStream(res, this, requests, init, this.#eventLog);
    const resumable = this.#eventLog !== undefined;
    for (const message of requests) {
      const operation = operations?.begin(message, this);
      const request = runIn(operation, () => new PendingRequest(message, this.context.clock.now(), stream, this));
      request.memory = memory / requests.length;
      this.#pending.add(request, message, resumable, operation);
    }
    const primed = resumable && (this.protocolVersion ?? '') >= PRIMING_SINCE && !stream.json;
    if (primed) await stream.events.prime();
    const taking = { extra: primed ? this.#pollable(extra, stream) : extra, stream, operations };
    for (const message of messages) this.#take(message, taking);
  }

  /** Takes answers and notifications, which get no reply. */
  take(messages: readonly JSONRPCMessage[], extra: MessageExtraInfo, operations?: Operations): void {
    for (const message of messages) this.#take(message, { extra, operations });
  }

  /**
   * Opens the standalone stream. With the last event that the client got, it resumes the stream of that event.
   *
   * @throws Refusal `streamConflict` when the client of an open standalone stream answers a ping; the refusals of {@link resume}.
   */
  async get(res: ServerResponse, lastEventId: string | undefined): Promise<void> {
    const primed = this.#eventLog !== undefined && (this.protocolVersion ?? '') >= PRIMING_SINCE;
    if (lastEventId !== undefined) {
      if (this.#eventLog === undefined) {
        this.context.events.emit('streamResumed', 'lost');
        throw new Refusal('unknownEventId');
      }
      return resume(res, lastEventId, {
        side: this,
        eventLog: this.#eventLog,
        standalone: this.standalone,
        pending: this.#pending,
        replays: (this.#replays ??= new Replays()),
        isClosed: () => this.#closed,
        primed,
      });
    }
    return this.standalone.start(res, primed);
  }

  /** Called by the server for its answers, requests and notifications. */
  send(message: JSONRPCMessage, options?: Parameters<WireTransport['send']>[1]): Promise<void> {
    if (this.#asked === undefined) return this.#send(message, options);
    return this.#asked.send(message, (traced) => this.#send(traced, options));
  }

  async #send(message: JSONRPCMessage, options?: Parameters<WireTransport['send']>[1]): Promise<void> {
    if (!('method' in message)) return this.#answer(message);
    if (this.#closed) throw new Error('Session closed');
    const marked = this.#epochIds.outgoing(message);
    const json = JSON.stringify(marked);
    if ('id' in message && this.sessionId === undefined) {
      throw new Error('A stateless server cannot send requests: their answers would reach another server');
    }
    const related = options?.relatedRequestId;
    const pending = related === undefined ? undefined : this.#pending.get(related);
    if (pending !== undefined) {
      this.#pending.touch(pending);
      if (!pending.stream.jsonOnly) return pending.stream.send(marked, json);
      return this.#sendBeside(message, marked, json);
    }
    // Progress must stop with the answer (spec 2025-11-25, basic/utilities/progress). Other messages are still useful.
    if (related !== undefined && message.method === 'notifications/progress') return;
    if (this.sessionId !== undefined) return this.standalone.send(marked, json);
  }

  /**
   * Sends a message that belongs to a request whose client accepts only JSON. A server's request goes to the standalone stream,
   * as in the SDK's JSON mode. If no such stream is open, it fails, so that its handler does not hang. Notifications are dropped.
   */
  #sendBeside(message: JSONRPCMessage, marked: JSONRPCMessage, json: string): Promise<void> | undefined {
    if ('id' in message && !this.standalone.open) {
      throw new Error('The client takes its answer as JSON only, and has no SSE stream open to be asked on');
    }
    const cancels = 'method' in message && message.method === 'notifications/cancelled';
    return 'id' in message || cancels ? this.standalone.send(marked, json) : undefined;
  }

  /** Answers a request with a refusal and with the HTTP status of the refusal. */
  refuse(key: RequestId, refusal: Refusal): void {
    this.#pending.refuse(key, refusal);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#routerRequests?.close();
    this.#asked?.close();
    for (const { key } of this.#pending.all()) this.#pending.refuse(key, new Refusal('sessionClosed'), 'closed');
    this.standalone.close();
    this.#replays?.close();
    this.#guard('the server threw on close', () => this.onclose?.());
    // These functions refer to the server, so they would keep it in memory. It is much larger than a closed transport.
    this.onmessage = this.onerror = this.onclose = undefined;
    this.owner?.transportClosed();
    return Promise.resolve();
  }

  /** Answers a request with an error and cancels it. */
  timeOut(pending: PendingRequest): void {
    this.#abort(pending, ERRORS.requestTimedOut.message);
    this.#pending.fail(pending, 'timeout', 'requestTimedOut');
  }

  disconnected(stream: object): void {
    if (this.#onDisconnect === 'continue') return;
    for (const pending of this.#pending.all()) {
      if (pending.stream === stream) this.#cancel(pending, 'The client closed the reply');
    }
  }

  /** Takes a message of the client for the server. */
  #take(message: JSONRPCMessage, taking: Taking): void {
    const { extra, operations } = taking;
    if (!('method' in message)) return this.#takeAnswer(message, extra);
    if ('id' in message) return this.#takeRequest(message, taking);
    if (operations === undefined) return this.#takeNotification(message, extra);
    operations.take(message, this, () => this.#takeNotification(message, extra));
  }

  #takeNotification(message: JSONRPCNotification, extra: MessageExtraInfo): void {
    if (message.method === 'notifications/cancelled') {
      const pending = this.#pending.get(keyOf(message.params?.requestId as RequestId));
      return pending && this.#cancel(pending, message.params?.reason);
    }
    const current = this.#epochIds.incoming(message);
    if (current !== undefined) this.#handOver(current, extra);
  }

  #takeRequest(message: JSONRPCRequest, { extra, stream, operations }: Taking): void {
    const key = keyOf(message.id);
    const pending = this.#pending.get(key);
    // The request may have been cancelled, or the session closed, while the priming event was stored.
    if (pending === undefined || (stream !== undefined && pending.stream !== stream)) return;
    if (CHANGES_SESSION.has(message.method)) {
      if (this.owner?.reserve(message) === false) return this.#pending.fail(pending, 'error', 'tooManySubscriptions');
      pending.message = message;
    }
    const known = key === message.id ? message : { ...message, id: key };
    const hand = (): unknown => this.onmessage?.(known, extra);
    callGuarded(
      () => runIn(operations?.begin(message, this), hand),
      (error) => {
        this.#report('the server threw on a message', error);
        this.#pending.fail(pending, 'error', 'internalError');
      },
    );
  }

  #takeAnswer(message: Answer, extra: MessageExtraInfo): void {
    if (this.standalone.takesAnswer(message.id)) return;
    const current = this.#epochIds.incoming(message);
    this.#asked?.answered(message);
    if (current !== undefined) this.#handOver(current, extra);
  }

  /** The server never answers a cancelled request (spec 2025-11-25, basic/utilities/cancellation), so its reply is ended here. */
  #cancel(pending: PendingRequest, reason: unknown): void {
    this.#abort(pending, reason);
    if (pending.stream.json) pending.stream.noteError('requestCancelled');
    const answer = pending.stream.json ? JSON.stringify(errorResponse('requestCancelled', pending.id)) : undefined;
    this.#pending.settle(pending, 'cancelled', answer);
  }

  /** Aborts the `signal` of the request's handler. The notification is built anew: the SDK drops a client's with extra fields. */
  #abort({ key }: PendingRequest, reason: unknown): void {
    const params = { requestId: key, ...(typeof reason === 'string' && { reason }) };
    this.#handOver({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
  }

  #handOver(message: JSONRPCMessage, extra?: MessageExtraInfo): void {
    this.#guard('the server threw on a message', () => this.onmessage?.(message, extra));
  }

  #guard(what: string, call: () => unknown): void {
    callGuarded(call, (error) => this.#report(what, error));
  }

  #answer(message: Answer): Promise<void> | undefined {
    if (this.#routerRequests?.takesAnswer(message) === true) return undefined;
    const pending = message.id === undefined ? undefined : this.#pending.get(message.id);
    if (pending === undefined) return undefined;
    // The SDK's server sends whatever a handler returns. The SDK's client ignores an answer that is not a JSON-RPC response.
    if (!isResponse(message)) {
      const fault = new TypeError(`the result of ${pending.method} must be an object`);
      this.#report('an answer is no JSON-RPC response', fault);
      this.#pending.fail(pending, 'error', 'internalError');
      return undefined;
    }
    const answer = (): void => this.#pending.answer(pending, { ...message, id: pending.id });
    const { message: change } = pending;
    const saved = change === undefined || isFailure(message) ? undefined : this.owner?.requestSucceeded(change);
    if (saved === undefined) {
      answer();
      return undefined;
    }
    return saved.catch((error: unknown) => this.#report(`${pending.method} could not be saved`, error)).then(answer);
  }

  /** Gives a handler the functions that end the reply but not the stream, so that the client polls (SEP-1699). */
  #pollable(extra: MessageExtraInfo, stream: RequestStream): MessageExtraInfo {
    return {
      ...extra,
      closeSSEStream: () => stream.events.reply?.end(true),
      closeStandaloneSSEStream: () => this.standalone.events.reply?.end(),
    };
  }

  #report(what: string, error: unknown): void {
    this.context.events.emit('failure', what, error, this.sessionId);
    callGuarded(
      () => this.onerror?.(error instanceof Error ? error : new Error(String(error))),
      (thrown) => this.context.events.emit('failure', 'the onerror of a server threw', thrown, this.sessionId),
    );
  }
}
