/** The entry of `express-mcp-router/otel`: the only one that loads `@opentelemetry/api`. */
import type { MeterProvider, TextMapPropagator, TracerProvider } from '@opentelemetry/api';
import { OpenTelemetry } from './observe/telemetry/open-telemetry.js';
import type { Telemetry } from './options/telemetry.js';
import { checkOptions, flag, having, type Check } from './runtime/checks.js';

export type { Telemetry } from './options/telemetry.js';

/** The name of the tracer and of the meter. */
const SCOPE = 'express-mcp-router';

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /**
   * Whether spans have the session ID as `mcp.session.id`. With it, any caller can use a session that has no principal. `hash`:
   * the first 32 hexadecimal digits of its SHA-256. Default: `none`.
   */
  sessionId?: 'none' | 'hash' | 'full' | undefined;
  /**
   * Whether a client's own span, which the `_meta` of its message names, is the parent, and whether its baggage is taken. `false`:
   * it is only linked, and the baggage is dropped. Set it so for clients that you do not trust. Default: true.
   */
  trustRemoteContext?: boolean | undefined;
  /** Makes the tracer. Default: the provider that the app has registered. */
  tracerProvider?: TracerProvider | undefined;
  /** Makes the meter. Default: the provider that the app has registered before the first request. */
  meterProvider?: MeterProvider | undefined;
  /** Reads and writes contexts. Default: the propagator that the app has registered. */
  propagator?: TextMapPropagator | undefined;
}

const CHECKS = new Map<string, Check>([
  [
    'sessionId',
    (value) => (['none', 'hash', 'full'].includes(value as string) ? undefined : "'none', 'hash' or 'full'"),
  ],
  ['trustRemoteContext', flag],
  ['tracerProvider', having('a TracerProvider', 'getTracer')],
  ['meterProvider', having('a MeterProvider', 'getMeter')],
  ['propagator', having('a TextMapPropagator', 'inject', 'extract')],
]);

/**
 * Spans and metrics by OpenTelemetry, with the semantic conventions for MCP. The app registers OpenTelemetry's SDK itself, before
 * the first request.
 *
 * @throws TypeError when an option is unknown or of a wrong type.
 *
 * @example
 * ```ts
 * mcpRouter({ serverFactory, telemetry: openTelemetry({ sessionId: 'hash' }) });
 * ```
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): Telemetry {
  checkOptions('openTelemetry', options, CHECKS);
  const { tracerProvider, meterProvider, propagator, sessionId = 'none', trustRemoteContext = true } = options;
  const settings = { scope: SCOPE, tracerProvider, meterProvider, propagator, sessionId, trustRemoteContext };
  return { scope: SCOPE, instrument: () => new OpenTelemetry(settings) };
}
