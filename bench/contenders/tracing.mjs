import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { openTelemetry } from 'express-mcp-router/otel';

/** An exporter that drops every span. */
const DROPPING = { export: (_spans, done) => done({ code: 0 }), shutdown: () => Promise.resolve() };

/**
 * Registers OpenTelemetry's SDK.
 *
 * @param {'idle' | 'unsampled' | 'sampled'} how `idle`: the router makes no span.
 * @returns The router's option `telemetry`.
 */
export function trace(how) {
  const sampler = how === 'sampled' ? new AlwaysOnSampler() : new AlwaysOffSampler();
  new NodeTracerProvider({ sampler, spanProcessors: [new SimpleSpanProcessor(DROPPING)] }).register();
  return how === 'idle' ? undefined : openTelemetry();
}
