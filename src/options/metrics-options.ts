import type { Registry } from 'prom-client';

/** Metrics of an endpoint. */
export interface EndpointMetricsOptions {
  /** The registry for the metrics. Default: a new one. */
  registry?: Registry | undefined;
  /** The prefix of each metric's name. Default: none. */
  prefix?: string | undefined;
  /**
   * Whether the duration of each `tools/call` has the tool's name, as label `gen_ai_tool_name`. The names are those of tools that
   * have succeeded once, 200 at most. All other calls have the name `other`. Default: false.
   */
  tools?: boolean | undefined;
}

/** Metrics of a router. */
export interface MetricsOptions extends EndpointMetricsOptions {
  /** Whether the router itself serves its metrics path. Default: true. */
  route?: boolean | undefined;
}
