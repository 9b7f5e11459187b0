import { Counter, Gauge } from 'prom-client';
import { FORWARD_OUTCOMES, type CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { atZero, each } from './children.js';
import type { SharedMetrics } from './shared-metrics.js';

/**
 * Counts what happens between the nodes of a cluster, as far as this node takes part.
 *
 * @param leaseAge - Milliseconds since its lease was last renewed; Infinity while it has none.
 */
export function countCluster(events: Emitter<CoreEvents>, metrics: SharedMetrics, leaseAge: () => number): void {
  const owned = metrics.share(
    Gauge,
    { name: 'mcp_cluster_owned', help: 'MCP sessions that this node owns, hibernated ones included.' },
    (gauge) => gauge.labels(),
  );
  const age = metrics.share(
    Gauge,
    {
      name: 'mcp_cluster_lease_age_seconds',
      help: 'Time since the lease of this node was last renewed; +Inf while it has none.',
      collect: () => age.set(leaseAge() / 1000),
    },
    (gauge: Gauge) => gauge,
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
    .on('opened', () => owned.inc())
    .on('restored', (_session, before) => {
      if (before === undefined) owned.inc();
    })
    .on('closed', () => owned.dec())
    .on('forwarded', (outcome) => forwarded[outcome].inc())
    .on('claimed', () => claimed.inc())
    .on('fenced', () => fenced.inc());
}
