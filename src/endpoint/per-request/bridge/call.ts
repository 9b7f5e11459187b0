import type { JSONRPCNotification, JSONRPCRequest } from '../../../protocol/messages.js';
import type { MessageExtraInfo } from '../../../protocol/wire-transport.js';
import { errorResponse, Refusal } from '../../../errors.js';
import { ASKING_METHODS, RESERVED_PREFIX } from '../../../protocol/per-request-era.js';
import type { Instrumentation } from '../../../options/telemetry.js';
import { isObject } from '../../../runtime/checks.js';
import type { LinkedList } from '../../../runtime/linked-list.js';
import { without, type Fields } from '../../../transport/jsonrpc.js';
import type { Answer } from '../../../transport/pending-requests.js';
import { sizeOf } from '../../../transport/request-memory.js';
import type { Results, ServerFacts } from '../results.js';
import { inputRequired, outcomeOfError, refuseQuestion } from './answers.js';
import type { Asked, BridgeTransport, ServerListener } from './bridge-transport.js';
import { capabilityFor, declares, digestOf, Questions } from './questions.js';
import type { OpenCall, Outcome, Round } from './round.js';
import type { SuspendedCalls, Suspension } from './suspended-calls.js';

/** The parts of a call. */
export interface CallInit {
  readonly request: JSONRPCRequest;
  readonly principal: string | undefined;
  readonly bridge: BridgeTransport;
  readonly facts: ServerFacts;
  readonly results: Results;
  readonly suspended: SuspendedCalls<BridgedCall>;
  /** Takes each notification of the server for this request, as it may announce a change. */
  announce(notification: JSONRPCNotification): void;
  report(what: string, error: unknown): void;
  /** Undefined without the option `telemetry`. */
  readonly telemetry: Instrumentation | undefined;
  /** Bytes that the request takes in memory, about. */
  readonly memory: number;
  /** The server is not needed any more. */
  onServed(): void;
  /** Nothing of the call remains. */
  onEnd(): void;
}

/**
 * One request of a client to a server of the session era, from its first POST to its result.
 *
 * A handler that asks its client something is suspended: the reply ends with `input_required`, the handler waits, and the client's
 * retry brings the answers. The questions of one turn of the event loop go out together.
 *
 *   running ──asks──▶ suspended ──retry──▶ running ──answers──▶ ended
 *                         └──suspendTtl──▶ ended
 */
export class BridgedCall implements ServerListener, OpenCall {
  list: LinkedList<OpenCall> | undefined;
  before: OpenCall | undefined;
  after: OpenCall | undefined;
  readonly principal: string | undefined;
  readonly #init: CallInit;
  readonly #questions = new Questions();
  /** The rounds whose reply is open. There are several when a client repeats a retry before it got the reply. */
  readonly #rounds = new Set<Round>();
  /** The client's, as the latest round declares them. Nothing else of a round is kept once its reply has ended. */
  #capabilities: Fields;
  readonly #version: string;
  #asked: Asked | undefined;
  #suspension: Suspension<BridgedCall> | undefined;
  #round = 0;
  /** Digests of the client's answers to the current round, and to the round before. */
  #given: string | undefined;
  #givenBefore: string | undefined;
  #flushing = false;
  /** The outcome of the handler. It is kept until the client's retry. */
  #outcome: Outcome | undefined;
  #ended = false;

  constructor(init: CallInit, first: Round) {
    this.#init = init;
    this.principal = init.principal;
    this.#capabilities = first.envelope.clientCapabilities;
    this.#version = first.envelope.version;
    this.#rounds.add(first);
  }

  begin(extra: MessageExtraInfo): void {
    const { bridge, request } = this.#init;
    this.#asked = bridge.ask(request.method, paramsForServer(request.params), extra, this);
    this.#asked.answer
      .then((answer) => this.#settle(answer))
      .catch((error: unknown) => this.#init.report('a call could not be ended', error));
  }

  /** Whether a retry repeats the request with which the call began. */
  isFor(request: JSONRPCRequest): boolean {
    return digestOf(essence(request)) === digestOf(essence(this.#init.request));
  }

  /**
   * Continues the call with the answers of a retry.
   *
   * @param number - The number of the round whose state the retry has.
   * @returns False when the state is too old, or was used with other answers.
   */
  resume(round: Round, number: number, answers: Fields): boolean {
    const given = digestOf(answers);
    const isRepeated =
      number === this.#round ? this.#given === given : number === this.#round - 1 && this.#givenBefore === given;
    if (!isRepeated && (number !== this.#round || this.#given !== undefined)) return false;
    this.#rounds.add(round);
    this.#capabilities = round.envelope.clientCapabilities;
    if (this.#outcome !== undefined) this.#finish(this.#outcome);
    else if (isRepeated && this.#given === undefined) this.#endRound();
    else if (!isRepeated) this.#take(answers, given);
    return true;
  }

  /** The client closed the reply of a round, or the round timed out. */
  cancelled(round: Round): void {
    if (this.#rounds.delete(round) && this.#rounds.size === 0) this.cancel('The client closed the reply');
  }

  /** Aborts the handler, and ends the call without an answer. */
  cancel(reason: string): void {
    if (this.#asked !== undefined && this.#outcome === undefined) this.#init.bridge.cancel(this.#asked.id, reason);
    this.#end();
  }

  asked(question: JSONRPCRequest): void {
    const { bridge, request } = this.#init;
    const required = capabilityFor(question.method, question.params);
    if (required === undefined || !ASKING_METHODS.has(request.method)) {
      return refuseQuestion(bridge, question, request.method);
    }
    if (!declares(this.#capabilities, required)) {
      return this.#fail(new Refusal('missingCapability', { data: { requiredCapabilities: required } }));
    }
    const facts = { sessionId: undefined, protocolVersion: this.#version };
    this.#questions.add(question, this.#init.telemetry?.ask(question, facts, undefined));
    // The first round may bring answers to what a call without state has asked before.
    if (this.#round === 0) this.#deliver(inputResponsesOf(this.#init.request));
    this.#flushSoon();
  }

  notified(notification: JSONRPCNotification): Promise<void> | undefined {
    const { method, params } = notification;
    if (method === 'notifications/cancelled') this.#questions.withdraw(params?.requestId);
    this.#init.announce(notification);
    return [...this.#rounds].at(-1)?.notify(notification);
  }

  #take(answers: Fields, given: string): void {
    this.#given = given;
    this.#suspension?.resume();
    this.#deliver(answers);
    this.#flushSoon();
  }

  #deliver(answers: Fields): void {
    for (const [id, result] of this.#questions.takeAnswered(answers)) {
      this.#init.bridge.tell({ jsonrpc: '2.0', id, result });
    }
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      if (this.#ended || this.#rounds.size === 0 || this.#questions.size === 0) return;
      try {
        this.#suspend();
      } catch (error) {
        this.#init.report('a question of a server could not be read', error);
        this.#fail(new Refusal('internalError'));
      }
    });
  }

  #suspend(): void {
    const { suspended, principal, memory } = this.#init;
    if (this.#suspension === undefined) {
      this.#suspension = suspended.add(this, principal, memory);
      if (this.#suspension === undefined) return this.#fail(new Refusal('suspendedAtCapacity'));
    }
    this.#round += 1;
    this.#givenBefore = this.#given;
    this.#given = undefined;
    this.#suspension.wait();
    this.#endRound();
  }

  /** Ends the open replies with the unanswered questions. */
  #endRound(): void {
    const result = inputRequired(this.#questions, this.#init.facts, this.#suspension?.state(this.#round));
    for (const round of this.#rounds) round.end({ result });
    this.#rounds.clear();
  }

  #settle(answer: Answer): void {
    if (this.#ended || this.#outcome !== undefined) return;
    this.#init.onServed();
    this.#finish(this.#outcomeOf(answer));
  }

  #outcomeOf(answer: Answer): Outcome {
    const { request, results, facts } = this.#init;
    return this.#read(() =>
      'error' in answer
        ? outcomeOfError(answer.error, request, this.#capabilities, facts)
        : { result: results.complete(request.method, answer.result, facts) },
    );
  }

  /** Aborts the handler. The client gets the refusal in place of an answer. */
  #fail(refusal: Refusal): void {
    if (this.#asked !== undefined) this.#init.bridge.cancel(this.#asked.id, refusal.message);
    this.#init.onServed();
    this.#finish(refusal);
  }

  #finish(outcome: Outcome): void {
    if (this.#rounds.size === 0) return this.#keep(outcome);
    this.#outcome = outcome;
    for (const round of this.#rounds) round.end(outcome);
    this.#rounds.clear();
    this.#end();
  }

  /** Keeps the outcome for the client's retry: as JSON, since an object of user code may refer to anything. */
  #keep(outcome: Outcome): void {
    this.#outcome =
      outcome instanceof Refusal ? outcome : this.#read(() => JSON.parse(JSON.stringify(outcome)) as Outcome);
    if (this.#suspension?.hold(sizeOf(this.#outcome)) === false) this.#end();
  }

  /** Reads an object of user code, which may throw. */
  #read(made: () => Outcome): Outcome {
    try {
      return made();
    } catch (error) {
      this.#init.report('an answer of a server could not be read', error);
      return { error: errorResponse('internalError').error };
    }
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#rounds.clear();
    this.#questions.close();
    this.#suspension?.end();
    this.#init.onServed();
    this.#init.onEnd();
  }
}

/** The answers of a retry: `inputResponses`, by the keys of the questions. */
export function inputResponsesOf({ params }: JSONRPCRequest): Fields {
  return isObject(params?.inputResponses) ? params.inputResponses : {};
}

/** The parts of a request that are the same in each round of its call. */
function essence({ method, params = {} }: JSONRPCRequest): Fields {
  return { method, params: without(params, '_meta', 'inputResponses', 'requestState') };
}

/** The params without the fields of MCP 2026-07-28, and without those for tasks of 2025-11-25. */
function paramsForServer(params: JSONRPCRequest['params'] = {}): Fields {
  const own = Object.entries(params._meta ?? {}).filter(([name]) => !name.startsWith(RESERVED_PREFIX));
  return { ...without(params, 'inputResponses', 'requestState', 'task'), _meta: Object.fromEntries(own) };
}
