import type { IncomingMessage, ServerResponse } from 'node:http';
import { Counter, Histogram, Registry } from 'prom-client';
import type { Era, MetricsOptions } from '../../options/options.js';
import {
  CLOSE_REASONS,
  LOG_LOSSES,
  ORPHAN_CAUSES,
  REJECT_REASONS,
  type CoreEvents,
  type StoreName,
} from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { DURATION_BUCKETS } from '../duration-buckets.js';
import { atZero, each, SharedMetrics } from './shared-metrics.js';
import { countCluster, type LeaseLevel } from './cluster-metrics.js';
import { createResponseCounter, type CountResponse } from './http-metrics.js';
import { timeOperations } from './operation-metrics.js';
import { showPerRequest, type PerRequestLevels } from './per-request-metrics.js';
import type { SessionLevels } from './session-levels.js';
import { timeStores } from './store-metrics.js';
import { countStreams } from './stream-metrics.js';

// They go on where those of operations end, as sessions live longer.
const SESSION_BUCKETS = [...DURATION_BUCKETS, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400];

type MetricsHandler = (req: IncomingMessage, res: ServerResponse) => Promise<void>;

export interface Metrics {
  readonly registry: Registry;
  /** Answers GET and HEAD in Prometheus' text format. */
  readonly handler: MetricsHandler;
  readonly countResponse: CountResponse;
}

/**
 * Counts the events of the core, and reads the number of sessions at each scrape. The metrics are in the app's registry, or in a
 * new one.
 *
 * Every label value is from a closed set and exists with 0 from the start, so that the `rate()` of a first event is not lost.
 * Routers that share a registry share its metrics, which then show the sum of all routers.
 *
 * @param node - This node of a cluster. Undefined without a cluster.
 * @param perRequest - The endpoint of MCP 2026-07-28. Undefined if it is not served.
 * @param stores - The stores that the router has.
 * @throws TypeError when the registry has another metric with one of the names.
 */
export function createMetrics(
  events: Emitter<CoreEvents>,
  sessions: SessionLevels,
  options: MetricsOptions,
  node?: LeaseLevel,
  perRequest?: PerRequestLevels,
  stores: readonly StoreName[] = [],
): Metrics {
  const registry = options.registry ?? new Registry();
  const metrics = new SharedMetrics(registry, options.prefix ?? '');
  showSessions(sessions, metrics);
  countSessions(events, metrics);
  countStreams(events, metrics);
  const eras: readonly Era[] = perRequest === undefined ? ['session'] : ['session', 'request'];
  timeOperations(events, metrics, eras, options.tools ?? false);
  countLogLosses(events, metrics);
  const countResponse = createResponseCounter(metrics);
  if (node !== undefined) countCluster(events, sessions, metrics, node);
  if (perRequest !== undefined) showPerRequest(perRequest, metrics);
  if (stores.length > 0) timeStores(events, metrics, stores);
  const handler = metricsHandler(registry, (error) => events.emit('failure', 'metrics', error));
  return { registry, handler, countResponse };
}

function showSessions(sessions: SessionLevels, metrics: SharedMetrics): void {
  metrics.level(
    { name: 'mcp_sessions_active', help: 'Open MCP sessions that are not orphaned.' },
    sessions,
    (source, gauge) => gauge.inc(source.stats().active),
  );
  metrics.level(
    {
      name: 'mcp_sessions_orphaned',
      help: 'Open MCP sessions whose client seems to have gone away.',
      labelNames: ['cause'],
    },
    sessions,
    (source, gauge) => {
      const orphaned = source.all().filter(({ state }) => state === 'orphaned');
      for (const cause of ORPHAN_CAUSES) {
        gauge.inc({ cause }, orphaned.filter(({ orphanCause }) => orphanCause === cause).length);
      }
    },
  );
  metrics.level(
    { name: 'mcp_sessions_hibernated', help: 'MCP sessions of which only the record is kept.' },
    sessions,
    (source, gauge) => gauge.inc(source.stats().hibernated),
  );
  metrics.level(
    { name: 'mcp_sessions_limit', help: 'MCP sessions that may be open: the option maxSessions.' },
    sessions,
    (source, gauge) => gauge.inc(source.caps.limit),
  );
}

function countSessions(events: Emitter<CoreEvents>, metrics: SharedMetrics): void {
  const opened = metrics.share(
    Counter,
    { name: 'mcp_sessions_opened_total', help: 'MCP sessions opened.' },
    (counter) => counter.labels(),
  );
  const restored = metrics.share(
    Counter,
    { name: 'mcp_sessions_restored_total', help: 'MCP sessions built again from their stored records.' },
    (counter) => counter.labels(),
  );
  const closed = metrics.share(
    Counter,
    { name: 'mcp_sessions_closed_total', help: 'MCP sessions closed.', labelNames: ['reason'] },
    (counter) => each(CLOSE_REASONS, (reason) => atZero(counter.labels({ reason }))),
  );
  const rejected = metrics.share(
    Counter,
    { name: 'mcp_sessions_rejected_total', help: 'New MCP sessions refused.', labelNames: ['reason'] },
    (counter) => each(REJECT_REASONS, (reason) => atZero(counter.labels({ reason }))),
  );
  const duration = metrics.share(
    Histogram,
    {
      name: 'mcp_server_session_duration_seconds',
      help: 'How long MCP sessions lived, from their opening to their end, restored ones included.',
      buckets: SESSION_BUCKETS,
    },
    (histogram) => histogram.labels(),
  );
  events
    .on('opened', () => opened.inc())
    .on('restored', () => restored.inc())
    .on('closed', (session, reason) => {
      // The session was never `opened`, so it does not count as closed.
      if (session.state !== 'initializing') closed[reason].inc();
    })
    .on('ended', ({ ageMs }) => duration.observe(ageMs / 1000))
    .on('rejected', (reason) => rejected[reason].inc());
}

function countLogLosses(events: Emitter<CoreEvents>, metrics: SharedMetrics): void {
  const lost = metrics.share(
    Counter,
    { name: 'mcp_log_lines_lost_total', help: 'Log lines that could not be written.', labelNames: ['reason'] },
    (counter) => each(LOG_LOSSES, (reason) => atZero(counter.labels({ reason }))),
  );
  events.on('logLost', (why) => lost[why].inc());
}

function metricsHandler(registry: Registry, onError: (error: unknown) => void): MetricsHandler {
  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('Allow', 'GET, HEAD');
      return send(res, 405, PLAIN_TEXT, 'Method Not Allowed\n');
    }
    const text = await registry.metrics();
    send(res, 200, registry.contentType, text);
  };
  // Never rejects, as no caller awaits it. A collector of the app's own metrics may throw.
  return async (req, res) => {
    try {
      await answer(req, res);
    } catch (error) {
      onError(error);
      try {
        send(res, 500, PLAIN_TEXT, 'Internal Server Error\n');
      } catch {
        res.destroy();
      }
    }
  };
}

const PLAIN_TEXT = 'text/plain; charset=utf-8';

function send(res: ServerResponse, status: number, contentType: string, body: string): void {
  // The app's own time-out may have answered while collectors of its metrics were awaited.
  if (res.headersSent) return;
  res.statusCode = status;
  res.setHeader('Content-Type', contentType);
  res.end(body);
}
