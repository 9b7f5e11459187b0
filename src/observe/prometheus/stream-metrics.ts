import { Counter, Gauge } from 'prom-client';
import { RESUME_OUTCOMES, STREAM_ENDS, STREAM_KINDS, type CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { atZero, each, type SharedMetrics } from './shared-metrics.js';

/** Counts SSE streams: those that are open, those that are over, and those that were resumed. */
export function countStreams(events: Emitter<CoreEvents>, metrics: SharedMetrics): void {
  const open = metrics.share(
    Gauge,
    { name: 'mcp_streams_open', help: 'Open SSE streams.', labelNames: ['kind'] },
    (gauge) => each(STREAM_KINDS, (kind) => atZero(gauge.labels({ kind }))),
  );
  const closed = metrics.share(
    Counter,
    { name: 'mcp_streams_closed_total', help: 'SSE streams that are over.', labelNames: ['kind', 'reason'] },
    (counter) => each(STREAM_KINDS, (kind) => each(STREAM_ENDS, (reason) => atZero(counter.labels({ kind, reason })))),
  );
  const resumed = metrics.share(
    Counter,
    { name: 'mcp_streams_resumed_total', help: 'SSE streams that clients resumed.', labelNames: ['outcome'] },
    (counter) => each(RESUME_OUTCOMES, (outcome) => atZero(counter.labels({ outcome }))),
  );
  events
    .on('streamOpened', (kind) => open[kind].inc())
    .on('streamClosed', (kind, reason) => {
      open[kind].dec();
      closed[kind][reason].inc();
    })
    .on('streamResumed', (outcome) => resumed[outcome].inc());
}
