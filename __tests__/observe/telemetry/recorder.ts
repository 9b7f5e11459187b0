import {
  context,
  metrics,
  propagation,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Span,
} from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type HistogramMetricData,
} from '@opentelemetry/sdk-metrics';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
  type SpanProcessor,
  type ReadableSpan,
  type TracerConfig,
} from '@opentelemetry/sdk-trace-node';

/** A span as a test compares it. */
export interface Told {
  readonly name: string;
  readonly kind: string;
  readonly attributes: Attributes;
  readonly status: string;
  readonly message: string | undefined;
  readonly trace: string;
  readonly id: string;
  readonly parent: string | undefined;
  readonly links: string[];
}

/** OpenTelemetry's SDK, registered as an app does it. It keeps spans and metrics in memory. */
export class Recorder {
  readonly #spans = new InMemorySpanExporter();
  readonly #metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  readonly #reader = new PeriodicExportingMetricReader({ exporter: this.#metrics, exportIntervalMillis: 3_600_000 });
  readonly tracers;
  readonly meters;

  /** @param processor - In the place of one that keeps all spans. */
  constructor(config: TracerConfig = {}, processor: SpanProcessor = new SimpleSpanProcessor(this.#spans)) {
    this.tracers = new NodeTracerProvider({ ...config, spanProcessors: [processor] });
    this.tracers.register();
    this.meters = new MeterProvider({ readers: [this.#reader] });
    metrics.setGlobalMeterProvider(this.meters);
  }

  /** The spans that have ended, in the order of their ends. */
  get spans(): Told[] {
    return this.#spans.getFinishedSpans().map(told);
  }

  /** The one span of that name. */
  span(name: string): Told {
    const named = this.spans.filter((span) => span.name === name);
    if (named.length !== 1)
      throw new Error(`${named.length} spans are named ${name}: ${this.spans.map((span) => span.name).join(', ')}`);
    return named[0]!;
  }

  has(name: string): boolean {
    return this.spans.some((span) => span.name === name);
  }

  forget(): void {
    this.#spans.reset();
  }

  /** The histogram with that name. */
  async histogram(name: string): Promise<HistogramMetricData> {
    await this.#reader.forceFlush();
    const found = this.#metrics
      .getMetrics()
      .at(-1)
      ?.scopeMetrics.flatMap((scope) => scope.metrics)
      .find(({ descriptor }) => descriptor.name === name);
    if (found === undefined) throw new Error(`no metric is named ${name}`);
    return found as HistogramMetricData;
  }

  /** Runs a function within a span of the app. */
  within<T>(name: string, work: (span: Span) => T): T {
    return this.tracers.getTracer('app').startActiveSpan(name, (span) => {
      try {
        return work(span);
      } finally {
        span.end();
      }
    });
  }

  async stop(): Promise<void> {
    await this.tracers.shutdown();
    await this.meters.shutdown();
    for (const api of [context, propagation, trace, metrics]) api.disable();
  }
}

function told(span: ReadableSpan): Told {
  return {
    name: span.name,
    kind: SpanKind[span.kind],
    attributes: span.attributes,
    status: SpanStatusCode[span.status.code],
    message: span.status.message,
    trace: span.spanContext().traceId,
    id: span.spanContext().spanId,
    parent: span.parentSpanContext?.spanId,
    links: span.links.map((link) => link.context.spanId),
  };
}
