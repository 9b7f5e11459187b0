import type { McpRouterOptions } from 'express-mcp-router';
import { openTelemetry } from 'express-mcp-router/otel';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

/** How long the collector may take, in ms. Stopping waits for the last spans as long. */
const EXPORT_TIMEOUT = 1_000;

/** The tracing of the app. */
export interface Tracing extends Pick<McpRouterOptions, 'telemetry'> {
  /** Sends the spans that are still in memory. Call it after the router is closed. Never rejects. */
  stop(): Promise<void>;
}

/**
 * Sends a span for each MCP request to a collector. Without the collector the spans are lost, and nothing else.
 *
 * @param endpoint - The base URL of the collector.
 */
export function startTracing(endpoint: string): Tracing {
  const url = new URL('v1/traces', endpoint.replace(/\/*$/, '/')).href;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT });
  const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
  provider.register();
  return { telemetry: openTelemetry({ sessionId: 'hash' }), stop: () => provider.shutdown().catch(() => undefined) };
}
