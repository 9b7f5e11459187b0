import fc from 'fast-check';
import { type Metric, Registry } from 'prom-client';
import type { CoreEvents, OrphanCause, StreamKind } from '../../src/events.js';
import { createMetrics } from '../../src/observe/prometheus/metrics.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { NO_PARTY, levelsOf, sessionInfo } from '../support/session-info.js';

const ROUTERS = 2;
const CAUSES: readonly OrphanCause[] = ['stream_lost', 'idle'];
const KINDS: readonly StreamKind[] = ['request', 'standalone', 'subscription'];

const STATES = {
  initializing: sessionInfo({ state: 'initializing' }),
  active: sessionInfo(),
  'orphaned stream_lost': sessionInfo({ state: 'orphaned', orphanCause: 'stream_lost' }),
  'orphaned idle': sessionInfo({ state: 'orphaned', orphanCause: 'idle' }),
  'hibernated stream_lost': sessionInfo({ state: 'hibernated', orphanCause: 'stream_lost' }),
  'hibernated idle': sessionInfo({ state: 'hibernated', orphanCause: 'idle' }),
};
type State = keyof typeof STATES;

/** What the gauges of the one registry must show of all routers together. */
interface Model {
  /** By router. */
  readonly sessions: readonly State[][];
  readonly streams: { router: number; kind: StreamKind }[];
}

async function gauges(registry: Registry): Promise<Record<string, number>> {
  const names = ['mcp_sessions_active', 'mcp_sessions_orphaned', 'mcp_sessions_hibernated', 'mcp_streams_open'];
  const metrics = await Promise.all(names.map((name) => (registry.getSingleMetric(name) as Metric).get()));
  const samples = metrics.flatMap(({ name, values }) =>
    values.map(({ labels, value }) => [[name, ...Object.values(labels)].join(' '), value] as const),
  );
  return Object.fromEntries(samples);
}

function expected({ sessions, streams }: Model): Record<string, number> {
  const inState = (...states: State[]) => sessions.flat().filter((state) => states.includes(state)).length;
  return {
    mcp_sessions_active: inState('active'),
    ...Object.fromEntries(CAUSES.map((cause) => [`mcp_sessions_orphaned ${cause}`, inState(`orphaned ${cause}`)])),
    mcp_sessions_hibernated: inState('hibernated idle', 'hibernated stream_lost'),
    ...Object.fromEntries(
      KINDS.map((kind) => [`mcp_streams_open ${kind}`, streams.filter((stream) => stream.kind === kind).length]),
    ),
  };
}

/** A step: the sessions that a router has from now on, a stream that it opens, or one of any router that is closed. */
const router = fc.nat(ROUTERS - 1);
const step = fc.oneof(
  fc.record({ router, sessions: fc.array(fc.constantFrom(...(Object.keys(STATES) as State[]))) }),
  fc.record({ router, opened: fc.constantFrom(...KINDS) }),
  fc.record({ closed: fc.nat(1000) }),
);

test('the gauges of two routers in one registry show each session and stream exactly once (property)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step), async (steps) => {
      const model: Model = { sessions: Array.from({ length: ROUTERS }, () => []), streams: [] };
      const registry = new Registry();
      const sources = model.sessions.map((states) => {
        // Read anew at each scrape.
        const now = () => levelsOf(states.map((state) => STATES[state]));
        return { caps: { limit: 1 }, stats: () => now().stats(), all: () => now().all() };
      });
      const routers = sources.map((source) => {
        const events = new Emitter<CoreEvents>((_name, error) => {
          throw error;
        });
        createMetrics(events, source, { registry });
        return events;
      });
      for (const next of steps) {
        if ('sessions' in next) model.sessions[next.router]!.splice(0, Infinity, ...next.sessions);
        else if ('opened' in next) {
          model.streams.push({ router: next.router, kind: next.opened });
          routers[next.router]!.emit('streamOpened', next.opened, NO_PARTY);
        } else if (model.streams.length > 0) {
          const [stream] = model.streams.splice(next.closed % model.streams.length, 1);
          routers[stream!.router]!.emit('streamClosed', stream!.kind, 'ended', NO_PARTY);
        }
        expect(await gauges(registry)).toEqual(expected(model));
      }
      expect(sources).toHaveLength(ROUTERS);
    }),
  );
});
