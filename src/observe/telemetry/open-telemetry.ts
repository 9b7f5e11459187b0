import {
  context,
  SpanKind,
  trace,
  type Attributes,
  type MeterProvider,
  type Span,
  type TextMapPropagator,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import type {
  Arrival,
  Operation,
  OperationFacts,
  Question,
  SessionInstrumentation,
  TraceFields,
} from '../../options/telemetry.js';
import type { JSONRPCNotification, JSONRPCRequest, RequestId } from '../../protocol/messages.js';
import {
  addNetwork,
  bounded,
  operationAttributes,
  resourceUriOf,
  setPeer,
  targetOf,
  versionLabel,
} from './attributes.js';
import { sessionHash } from '../../stores/session-event-store.js';
import { Durations } from './durations.js';
import { OperationNames } from './operation-names.js';
import { RemoteContexts } from './remote-context.js';
import { SpanOperation } from './span-operation.js';

type Message = JSONRPCRequest | JSONRPCNotification;

/** The options of `openTelemetry()`, with its defaults. */
export interface OpenTelemetrySettings {
  readonly scope: string;
  readonly tracerProvider: TracerProvider | undefined;
  readonly meterProvider: MeterProvider | undefined;
  readonly propagator: TextMapPropagator | undefined;
  readonly sessionId: 'none' | 'hash' | 'full';
  readonly trustRemoteContext: boolean;
}

/** Reports operations and sessions by the API of OpenTelemetry. */
export class OpenTelemetry implements SessionInstrumentation {
  readonly #tracer: Tracer;
  readonly #durations: Durations;
  readonly #contexts: RemoteContexts;
  readonly #names = new OperationNames();
  readonly #sessionId: OpenTelemetrySettings['sessionId'];

  constructor(settings: OpenTelemetrySettings) {
    this.#tracer = (settings.tracerProvider ?? trace).getTracer(settings.scope);
    this.#durations = new Durations(settings.scope, settings.meterProvider);
    this.#contexts = new RemoteContexts(settings.propagator, settings.trustRemoteContext);
    this.#sessionId = settings.sessionId;
  }

  begin(message: Message, facts: OperationFacts, { since, hop, httpVersion, peer }: Arrival): Operation {
    const { method, params } = message;
    const { context: parent, links } = this.#contexts.parentOf(params?._meta, hop?.fields);
    const target = targetOf(message);
    const attributes = operationAttributes(bounded(method), target);
    addNetwork(attributes, httpVersion);
    const span = this.#tracer.startSpan(
      this.#names.spanName(method, target),
      { kind: SpanKind.SERVER, startTime: since, attributes, links },
      parent,
    );
    if (span.isRecording()) {
      this.#describe(span, message, facts, 'id' in message ? message.id : undefined);
      setPeer(span, peer());
    }
    const { protocolVersion } = facts;
    const within = trace.setSpan(parent, span);
    const isRequest = 'id' in message;
    return new SpanOperation(
      { by: 'server', method, isRequest, target, protocolVersion, httpVersion, since, span, context: within },
      this.#names,
      this.#durations,
    );
  }

  ask(message: JSONRPCRequest, facts: OperationFacts, id: RequestId | undefined): Question {
    const { method } = message;
    const since = performance.now();
    const parent = context.active();
    const attributes = operationAttributes(bounded(method), undefined);
    addNetwork(attributes, undefined);
    const span = this.#tracer.startSpan(
      this.#names.spanName(method, undefined),
      { kind: SpanKind.CLIENT, startTime: since, attributes },
      parent,
    );
    if (span.isRecording()) this.#describe(span, message, facts, id);
    const { protocolVersion } = facts;
    const within = trace.setSpan(parent, span);
    const none = { target: undefined, httpVersion: undefined };
    const operation = new SpanOperation(
      { by: 'client', method, isRequest: true, ...none, protocolVersion, since, span, context: within },
      this.#names,
      this.#durations,
    );
    return { fields: this.#contexts.fieldsOf(within), end: (answer) => operation.end(answer) };
  }

  carry(): TraceFields {
    return this.#contexts.fieldsOf(context.active());
  }

  sessionEnded(durationMs: number, protocolVersion: string | undefined, error: string | undefined): void {
    const attributes: Attributes = { 'network.protocol.name': 'http' };
    if (protocolVersion !== undefined) attributes['mcp.protocol.version'] = versionLabel(protocolVersion);
    if (error !== undefined) attributes['error.type'] = error;
    this.#durations.recordSession(durationMs, attributes);
  }

  /** Adds the attributes that only a recorded span has. */
  #describe(span: Span, message: Message, facts: OperationFacts, id: RequestId | undefined): void {
    const { sessionId, protocolVersion } = facts;
    if (id !== undefined) span.setAttribute('jsonrpc.request.id', bounded(String(id)));
    if (protocolVersion !== undefined) span.setAttribute('mcp.protocol.version', protocolVersion);
    const uri = resourceUriOf(message);
    if (uri !== undefined) span.setAttribute('mcp.resource.uri', uri);
    const shown = sessionId === undefined ? undefined : this.#shown(sessionId);
    if (shown !== undefined) span.setAttribute('mcp.session.id', shown);
  }

  #shown(sessionId: string): string | undefined {
    if (this.#sessionId === 'none') return undefined;
    if (this.#sessionId === 'full') return sessionId;
    return sessionHash(sessionId);
  }
}
