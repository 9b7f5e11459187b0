import { Histogram } from 'prom-client';
import {
  STORE_OPERATIONS,
  STORE_OUTCOMES,
  type CoreEvents,
  type StoreName,
  type StoreOperation,
  type StoreOutcome,
} from '../../events.js';
import type { ResolvedOptions } from '../../options/options.js';
import type { Emitter } from '../../runtime/emitter.js';
import { each, type SharedMetrics } from './shared-metrics.js';

/** A store in memory takes microseconds, Redis a millisecond. The router waits 10 s at most. */
const BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10];

type Children = ReadonlyMap<StoreOperation, Readonly<Record<StoreOutcome, Histogram.Internal<string>>>>;

/** The stores of a router with these options. */
export function storesOf({
  store,
  cluster,
  eventStore,
}: Pick<ResolvedOptions, 'store' | 'cluster' | 'eventStore'>): readonly StoreName[] {
  const stores: StoreName[] = store === undefined && cluster === undefined ? [] : ['session'];
  return eventStore === undefined ? stores : [...stores, 'event'];
}

/** Times the operations of the stores that the router has. */
export function timeStores(events: Emitter<CoreEvents>, metrics: SharedMetrics, stores: readonly StoreName[]): void {
  const durations = metrics.share(
    Histogram,
    {
      name: 'mcp_store_operation_duration_seconds',
      help: 'Time that the session store or the event store took for an operation.',
      labelNames: ['store', 'operation', 'outcome'],
      buckets: BUCKETS,
    },
    (histogram, isNew) => {
      // A shared metric is not set to 0, as that would reset the observations of the other router.
      if (isNew) zero(histogram, stores);
      return { session: childrenOf(histogram, 'session'), event: childrenOf(histogram, 'event') };
    },
  );
  events.on('storeAnswered', (store, operation, outcome, durationMs) => {
    durations[store].get(operation)?.[outcome].observe(durationMs / 1000);
  });
}

function childrenOf(histogram: Histogram, store: StoreName): Children {
  return new Map(
    STORE_OPERATIONS[store].map((operation) => [
      operation,
      each(STORE_OUTCOMES, (outcome) => histogram.labels({ store, operation, outcome })),
    ]),
  );
}

function zero(histogram: Histogram, stores: readonly StoreName[]): void {
  for (const store of stores) {
    for (const operation of STORE_OPERATIONS[store]) {
      for (const outcome of STORE_OUTCOMES) histogram.zero({ store, operation, outcome });
    }
  }
}
