import { Counter } from 'prom-client';
import { FORWARD_OUTCOMES, type CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { atZero, each, type SharedMetrics } from './shared-metrics.js';
import type { SessionLevels } from './session-levels.js';

/** The age of a node's lease, as a scrape reads it. */
export interface LeaseLevel {
  /** Milliseconds since the lease of the node was last renewed. Infinity while it has none, undefined once it closes. */
  readonly leaseAge: number | undefined;
}

/** The metrics of this node as a member of its cluster. */
export function countCluster(
  events: Emitter<CoreEvents>,
  sessions: SessionLevels,
  metrics: SharedMetrics,
  node: LeaseLevel,
): void {
  metrics.level(
    { name: 'mcp_cluster_owned', help: 'MCP sessions that this node owns, hibernated ones included.' },
    sessions,
    (source, gauge) => {
      const { active, orphaned, hibernated } = source.stats();
      gauge.inc(active + orphaned + hibernated);
    },
  );
  metrics.greatest(
    {
      name: 'mcp_cluster_lease_age_seconds',
      help: 'Time since the lease of this node was last renewed; +Inf while it has none. Of several nodes, the longest.',
    },
    node,
    ({ leaseAge }) => leaseAge && leaseAge / 1000,
  );
  const forwarded = metrics.share(
    Counter,
    {
      name: 'mcp_cluster_forwarded_total',
      help: 'Requests handed to the node that owns their session.',
      labelNames: ['outcome'],
    },
    (counter) => each(FORWARD_OUTCOMES, (outcome) => atZero(counter.labels({ outcome }))),
  );
  const claimed = metrics.share(
    Counter,
    { name: 'mcp_cluster_claimed_total', help: 'MCP sessions that this node took over.' },
    (counter) => counter.labels(),
  );
  const fenced = metrics.share(
    Counter,
    { name: 'mcp_cluster_fenced_total', help: 'Times that this node had to let go of all that it owned.' },
    (counter) => counter.labels(),
  );
  events
    .on('forwarded', (outcome) => forwarded[outcome].inc())
    .on('claimed', () => claimed.inc())
    .on('fenced', () => fenced.inc());
}
