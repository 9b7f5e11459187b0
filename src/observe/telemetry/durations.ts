import {
  metrics,
  ValueType,
  type Attributes,
  type Context,
  type Histogram,
  type MeterProvider,
} from '@opentelemetry/api';
import { DURATION_BUCKETS } from '../duration-buckets.js';

interface Histograms {
  readonly served: Histogram;
  readonly asked: Histogram;
  readonly sessions: Histogram;
}

/** The metrics. They are created at the first use: the API keeps no meter for an SDK that is registered later. */
export class Durations {
  readonly #scope: string;
  readonly #provider: MeterProvider | undefined;
  #histograms: Histograms | undefined;

  /** @param provider - Default: the one that the app has registered. */
  constructor(scope: string, provider: MeterProvider | undefined) {
    this.#scope = scope;
    this.#provider = provider;
  }

  /** @param by - `server`: it answered a client's request. `client`: it answered a request of its server. */
  recordOperation(by: 'client' | 'server', ms: number, attributes: Attributes, within: Context): void {
    const { served, asked } = (this.#histograms ??= this.#create());
    (by === 'server' ? served : asked).record(ms / 1_000, attributes, within);
  }

  recordSession(ms: number, attributes: Attributes): void {
    (this.#histograms ??= this.#create()).sessions.record(ms / 1_000, attributes);
  }

  #create(): Histograms {
    const meter = (this.#provider ?? metrics).getMeter(this.#scope);
    const histogram = (name: string, description: string): Histogram =>
      meter.createHistogram(name, {
        description,
        unit: 's',
        valueType: ValueType.DOUBLE,
        advice: { explicitBucketBoundaries: DURATION_BUCKETS },
      });
    return {
      served: histogram(
        'mcp.server.operation.duration',
        'Time from the arrival of an MCP message until it was answered.',
      ),
      asked: histogram('mcp.client.operation.duration', "Time from a server's request to its client until the answer."),
      sessions: histogram('mcp.server.session.duration', 'How long MCP sessions lived.'),
    };
  }
}
