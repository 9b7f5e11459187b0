import type { JSONRPCNotification, JSONRPCRequest } from '../../../protocol/messages.js';
import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import { errorResponse, Refusal } from '../../../errors.js';
import { isObject } from '../../../runtime/checks.js';
import type { LinkedList } from '../../../runtime/linked-list.js';
import type { Answer } from '../../../transport/pending-requests.js';
import { METHOD_NOT_FOUND, outcomeOfMethodNotFound, refuseQuestion } from '../bridge/answers.js';
import type { Asked, BridgeTransport, ServerListener } from '../bridge/bridge-transport.js';
import type { OpenCall, Outcome, Round } from '../bridge/round.js';
import { asksForList } from '../subscriptions/filter.js';

const MISSING_CAPABILITY = -32021;

/** The parts of a call. */
export interface NativeCallInit {
  readonly request: JSONRPCRequest;
  readonly principal: string | undefined;
  readonly bridge: BridgeTransport;
  /** Takes each notification of the server for this request, as it may announce a change. */
  announce(notification: JSONRPCNotification): void;
  report(what: string, error: unknown): void;
  /** The server is not needed any more. */
  onServed(): void;
  /** Nothing of the call remains. */
  onEnd(): void;
}

/** One request to a server that serves MCP 2026-07-28 itself. The request and its result pass unchanged. */
export class NativeCall implements ServerListener, OpenCall {
  list: LinkedList<OpenCall> | undefined;
  before: OpenCall | undefined;
  after: OpenCall | undefined;
  readonly principal: string | undefined;
  /** Only for a client that wants log messages, or for a list request, whose announcements reach no stream. No client is asked. */
  readonly needsScope: boolean;
  readonly #init: NativeCallInit;
  readonly #round: Round;
  #asked: Asked | undefined;
  #ended = false;

  constructor(init: NativeCallInit, round: Round) {
    this.#init = init;
    this.principal = init.principal;
    this.#round = round;
    this.needsScope = round.envelope.logLevel !== undefined || asksForList(init.request.method);
  }

  begin(extra: MessageExtraInfo): void {
    const { bridge, request } = this.#init;
    this.#asked = bridge.ask(request.method, request.params, extra, this);
    this.#asked.answer
      .then((answer) => this.#settle(answer))
      .catch((error: unknown) => {
        this.#init.report('an answer of a server could not be read', error);
        this.#finish({ error: errorResponse('internalError').error });
      });
  }

  /** The client closed the reply, or the request timed out. */
  cancelled(): void {
    this.cancel('The client closed the reply');
  }

  /** Aborts the handler, and ends the call without an answer. */
  cancel(reason: string): void {
    if (this.#asked !== undefined && !this.#ended) this.#init.bridge.cancel(this.#asked.id, reason);
    this.#end();
  }

  asked(question: JSONRPCRequest): void {
    refuseQuestion(this.#init.bridge, question, this.#init.request.method);
  }

  notified(notification: JSONRPCNotification): Promise<void> | undefined {
    this.#init.announce(notification);
    return this.#ended ? undefined : this.#round.notify(notification);
  }

  #settle(answer: Answer): void {
    if (!this.#ended) this.#finish('error' in answer ? outcomeOf(answer.error) : { result: answer.result });
  }

  #finish(outcome: Outcome): void {
    this.#round.end(outcome);
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#init.onServed();
    this.#init.onEnd();
  }
}

/** Two errors have an HTTP status of their own (MCP 2026-07-28, basic/transports/streamable-http). */
function outcomeOf(error: Extract<Answer, { error: unknown }>['error']): Outcome {
  if (error.code === METHOD_NOT_FOUND) return outcomeOfMethodNotFound(error);
  if (error.code === MISSING_CAPABILITY && isObject(error.data)) {
    return new Refusal('missingCapability', { data: error.data });
  }
  return { error };
}
