import type { SharedMetrics } from './shared-metrics.js';

/** The levels of an endpoint of MCP 2026-07-28. */
export interface PerRequestStats {
  /** Calls that wait for answers of their clients. */
  readonly suspended: number;
  /** Open servers, and those of them that no request uses. */
  readonly servers: number;
  readonly idle: number;
}

/** The endpoint of MCP 2026-07-28 of one router, as a scrape reads it. */
export interface PerRequestLevels {
  stats(): PerRequestStats;
}

/** Shows the servers and the suspended calls of requests that have no session. */
export function showPerRequest(source: PerRequestLevels, metrics: SharedMetrics): void {
  metrics.level(
    { name: 'mcp_per_request_suspended', help: 'Calls of MCP 2026-07-28 that wait for answers of their clients.' },
    source,
    (endpoint, gauge) => gauge.inc(endpoint.stats().suspended),
  );
  metrics.level(
    {
      name: 'mcp_per_request_servers',
      help: 'Open servers for requests of MCP 2026-07-28.',
      labelNames: ['state'],
    },
    source,
    (endpoint, gauge) => {
      const { servers, idle } = endpoint.stats();
      gauge.inc({ state: 'busy' }, servers - idle);
      gauge.inc({ state: 'idle' }, idle);
    },
  );
}
