import { context, SpanStatusCode, type Attributes, type Context, type Span } from '@opentelemetry/api';
import type { Operation, OperationEnd } from '../../options/telemetry.js';
import {
  addEnding,
  addEndingLabels,
  addNetwork,
  agreedVersion,
  endingOf,
  versionLabel,
  type Ending,
  type Target,
} from './attributes.js';
import type { Durations } from './durations.js';
import type { OperationNames } from './operation-names.js';

export interface SpanOperationInit {
  /** The side that answers. */
  readonly by: 'client' | 'server';
  readonly method: string;
  /** A notification has no answer, so its end proves no name. */
  readonly isRequest: boolean;
  readonly target: Target | undefined;
  /** Undefined until the answer names it. */
  readonly protocolVersion: string | undefined;
  /** Undefined for a question, whose answer comes with a later HTTP request. */
  readonly httpVersion: string | undefined;
  /** By `performance.now()`, as its end. */
  readonly since: number;
  readonly span: Span;
  /** With the span. */
  readonly context: Context;
}

/** One operation: its span, and its place in the metrics. */
export class SpanOperation implements Operation {
  readonly #init: SpanOperationInit;
  readonly #names: OperationNames;
  readonly #durations: Durations;

  constructor(init: SpanOperationInit, names: OperationNames, durations: Durations) {
    this.#init = init;
    this.#names = names;
    this.#durations = durations;
  }

  run<T>(work: () => T): T {
    return context.with(this.#init.context, work);
  }

  end(answer: OperationEnd): void {
    const { by, method, isRequest, target, httpVersion, since, span } = this.#init;
    const now = performance.now();
    const ending = endingOf(answer, by);
    const agreed = this.#init.protocolVersion === undefined ? agreedVersion(answer) : undefined;
    if (span.isRecording()) this.#describe(span, ending, agreed);
    span.end(now);
    const isServed = isRequest && answer !== undefined && 'result' in answer && ending.error === undefined;
    if (isServed) this.#names.served(method, target);
    const labels = this.#names.labels(method, target);
    addNetwork(labels, httpVersion);
    const version = this.#init.protocolVersion ?? agreed;
    if (version !== undefined) labels['mcp.protocol.version'] = versionLabel(version);
    addEndingLabels(labels, ending);
    this.#durations.recordOperation(by, now - since, labels, this.#init.context);
  }

  #describe(span: Span, ending: Ending, agreed: string | undefined): void {
    if (agreed !== undefined) span.setAttribute('mcp.protocol.version', agreed);
    if (ending.error === undefined && ending.statusCode === undefined) return;
    const attributes: Attributes = {};
    addEnding(attributes, ending);
    span.setAttributes(attributes);
    if (ending.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, ...ending.message });
  }
}
