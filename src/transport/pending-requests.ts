import { AsyncResource } from 'node:async_hooks';
import type { JSONRPCErrorResponse, JSONRPCRequest, JSONRPCResultResponse, RequestId } from '../protocol/messages.js';
import { Deadline } from '../runtime/deadline-queue.js';
import { errorResponse, ERRORS, Refusal, type ErrorName } from '../errors.js';
import type { ErrorType, ObservedRequest, Outcome } from '../events.js';
import type { Era } from '../options/options.js';
import type { Operation } from '../options/telemetry.js';
import { errorTypeOf, toolOf } from './jsonrpc.js';
import type { TransportContext, TransportSide } from './transport-types.js';
import type { RequestStream } from './request-stream.js';

export type Answer = JSONRPCResultResponse | JSONRPCErrorResponse;

/** Handles a request that had neither an answer nor progress for `requestTimeout`. */
interface TimeOutTaker {
  timeOut(request: PendingRequest): void;
}

/** Requests that change the record of a session. */
export const CHANGES_SESSION: ReadonlySet<string> = new Set([
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);

/** A request of the client that is not settled. */
export class PendingRequest implements ObservedRequest {
  /** The request itself, if it is one of {@link CHANGES_SESSION}. */
  message: JSONRPCRequest | undefined;
  /** Bytes of memory that it takes, an estimate. */
  memory = 0;
  era: Era = 'session';
  errorType: ErrorType | undefined;
  /** The time when it times out. */
  readonly due = new Deadline<{ timeOut(): void }>(this);
  readonly method: string;
  readonly tool: string | undefined;
  /** The client's own ID. */
  readonly id: RequestId;
  /** The ID that the server knows it by. */
  readonly key: RequestId;
  readonly #taker: TimeOutTaker;
  /** With the span of the request, if there is one. Its collection destroys it for tools that follow async hooks. */
  readonly #asyncContext = new AsyncResource('McpRequest');

  /** @param since - When it arrived, by the router's clock. */
  constructor(
    message: JSONRPCRequest,
    readonly since: number,
    readonly stream: RequestStream,
    taker: TimeOutTaker,
  ) {
    this.id = message.id;
    this.key = keyOf(message.id);
    this.method = message.method;
    this.tool = toolOf(message);
    this.#taker = taker;
  }

  /** The timer of the queue has the async context of another request. Listeners to the abort of this one must not run in it. */
  timeOut(): void {
    this.#asyncContext.runInAsyncScope(() => this.#taker.timeOut(this));
  }
}

/**
 * The ID under which the server gets a request. The SDK's server ignores the cancellation of a request with a falsy ID
 * (`Protocol._oncancel`, SDK 1.32.2). So such a request gets another ID.
 */
export function keyOf(id: RequestId): RequestId {
  return id === 0 || id === '' ? `\0${id}` : id;
}

/** The unsettled requests of one transport, by the ID that the server knows them by. */
export class PendingRequests {
  readonly #side: TransportSide;
  readonly #context: TransportContext;
  /** Not in the map, as most sessions have one request at most: V8 rebuilds a `Map` after every few insertions and deletions. */
  #first: PendingRequest | undefined;
  #others: Map<RequestId, PendingRequest> | undefined;
  /** Undefined without telemetry. */
  #operations: Map<PendingRequest, Operation> | undefined;
  /** Their streams that can be resumed, by stream ID. */
  #streams: Map<string, RequestStream> | undefined;

  constructor(side: TransportSide) {
    this.#side = side;
    this.#context = side.context;
  }

  get size(): number {
    return (this.#first === undefined ? 0 : 1) + (this.#others?.size ?? 0);
  }

  get(key: RequestId): PendingRequest | undefined {
    return this.#first?.key === key ? this.#first : this.#others?.get(key);
  }

  all(): PendingRequest[] {
    const others = this.#others?.values() ?? [];
    return this.#first === undefined ? [...others] : [this.#first, ...others];
  }

  /** The unsettled stream with that ID; undefined when it is finished. */
  stream(streamId: string): RequestStream | undefined {
    return this.#streams?.get(streamId);
  }

  /** The unsettled stream that ends with the event. */
  streamEndingWith(eventId: string): RequestStream | undefined {
    for (const stream of this.#streams?.values() ?? []) if (stream.events.endsWith(eventId)) return stream;
    return undefined;
  }

  /**
   * Checks whether requests can be added.
   *
   * @param memory - Bytes of memory that they take together, an estimate.
   * @throws Refusal `requestIdInFlight` when one has the ID of a request in flight, as only one of them could be answered.
   * @throws Refusal `tooManyRequests` when the session would have more than `maxRequestsPerSession` in flight.
   * @throws Refusal `bodiesAtCapacity` when the requests in flight take all the memory that they may.
   */
  checkRoom(requests: readonly JSONRPCRequest[], memory: number): void {
    const keys = new Set<RequestId>();
    for (const { id } of requests) {
      const key = keyOf(id);
      if (this.get(key) !== undefined || keys.has(key)) throw new Refusal('requestIdInFlight', { id });
      keys.add(key);
    }
    const { maxRequestsPerSession, requestMemory } = this.#context;
    if (this.size + requests.length > maxRequestsPerSession) throw new Refusal('tooManyRequests');
    if (!requestMemory.hasRoomFor(memory)) throw new Refusal('bodiesAtCapacity');
  }

  /**
   * @param message - The request itself, for observers.
   * @param operation - Undefined without telemetry.
   */
  add(request: PendingRequest, message: JSONRPCRequest, resumable: boolean, operation?: Operation): void {
    if (operation !== undefined) (this.#operations ??= new Map()).set(request, operation);
    if (this.#first === undefined) this.#first = request;
    else (this.#others ??= new Map<RequestId, PendingRequest>()).set(request.key, request);
    request.era = this.#context.era;
    this.#context.requestMemory.hold(request.memory);
    this.#context.unanswered.add(request.due, request.since);
    if (resumable) {
      this.#streams ??= new Map();
      this.#streams.set(request.stream.events.streamId, request.stream);
    }
    this.#context.events.emit('requestStarted', request, message, this.#side.sessionId);
  }

  /** Called when the server reported progress, or sent a message for the request: restarts the request's time-out. */
  touch(request: PendingRequest): void {
    this.#context.unanswered.add(request.due);
  }

  /**
   * Settles a request with an answer. The answer is stored first if the client can resume its stream.
   *
   * @param outcome - Default: `ok`, or `error` for an answer that reports one.
   */
  answer(request: PendingRequest, answer: Answer, outcome?: Outcome): void {
    if (this.get(request.key) !== request) return;
    let json: string;
    let errorType: ErrorType | undefined;
    try {
      json = JSON.stringify(answer);
      errorType = errorTypeOf(answer);
    } catch (error) {
      const fault = new TypeError(`the result of ${request.method} must be JSON`, { cause: error });
      this.#report('an answer cannot be written as JSON', fault);
      this.fail(request, 'error', 'internalError');
      return;
    }
    request.stream
      .publishAnswer(answer, (eventId) => {
        // The request may have been cancelled while its answer was stored.
        request.errorType = errorType;
        this.#operations?.get(request)?.end(answer);
        this.settle(request, outcome ?? (errorType === undefined ? 'ok' : 'error'), json, eventId);
      })
      ?.catch((error: unknown) => this.#report('an answer could not be sent', error));
  }

  /** Settles a request with a row of the error table. */
  fail(request: PendingRequest, outcome: Outcome, reason: ErrorName): void {
    request.stream.noteError(reason);
    this.answer(request, { ...errorResponse(reason), id: request.id }, outcome);
  }

  /** Settles a request with a refusal. It has the HTTP status of the refusal, if nothing was sent before it. */
  refuse(key: RequestId, { reason, data }: Refusal, outcome: Outcome = 'error'): void {
    const request = this.get(key);
    if (request === undefined) return;
    request.errorType = ERRORS[reason].code;
    request.stream.refuse(ERRORS[reason].status);
    request.stream.noteError(reason);
    const answer = errorResponse(reason, request.id, data);
    this.#operations?.get(request)?.end(answer);
    this.settle(request, outcome, JSON.stringify(answer));
  }

  /** Frees the ID and the reply. A cancelled request gets no answer (spec 2025-11-25, basic/utilities/cancellation). */
  settle(request: PendingRequest, outcome: Outcome, answer?: string, eventId?: string): void {
    if (this.get(request.key) !== request) return;
    if (this.#first === request) this.#first = undefined;
    else if (this.#others?.delete(request.key) === true && this.#others.size === 0) this.#others = undefined;
    this.#context.requestMemory.release(request.memory);
    request.due.cancel();
    this.#operations?.get(request)?.end(undefined);
    this.#operations?.delete(request);
    if (request.message !== undefined) this.#side.owner?.free(request.message);
    this.#context.events.emit(
      'requestSettled',
      request,
      outcome,
      this.#context.clock.now() - request.since,
      this.#side,
    );
    const { stream } = request;
    stream.settle(answer, eventId);
    if (stream.settled) this.#streams?.delete(stream.events.streamId);
  }

  #report(what: string, error: unknown): void {
    this.#context.events.emit('failure', what, error, this.#side.sessionId);
  }
}
