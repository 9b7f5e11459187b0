import fc from 'fast-check';
import { type Metric, Registry } from 'prom-client';
import type { CloseReason, CoreEvents, OrphanCause, StreamKind } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { createMetrics } from '../../src/observe/prometheus/metrics.js';
import { sessionInfo } from '../support/session-info.js';

const ROUTERS = 2;
const CAUSES: readonly OrphanCause[] = ['stream_lost', 'idle'];
const KINDS: readonly StreamKind[] = ['request', 'standalone'];
const REASONS: readonly CloseReason[] = ['deleted', 'expired', 'lifetime', 'evicted', 'shutdown', 'failed', 'moved'];

/** DESIGN 2, of one session: active, or orphaned by a cause. */
type State = 'active' | OrphanCause;

interface Session {
  readonly router: number;
  state: State;
}

/** What the gauges of the one registry must say of all routers together. */
interface Model {
  sessions: Session[];
  streams: { router: number; kind: StreamKind }[];
}

interface Real {
  readonly registry: Registry;
  readonly routers: Emitter<CoreEvents>[];
}

type Command = fc.AsyncCommand<Model, Real>;

async function gauges({ registry }: Real): Promise<Record<string, number>> {
  const names = ['mcp_sessions_active', 'mcp_sessions_orphaned', 'mcp_streams_open'];
  const metrics = await Promise.all(names.map((name) => (registry.getSingleMetric(name) as Metric).get()));
  const samples = metrics.flatMap(({ name, values }) =>
    values.map(({ labels, value }) => [[name, ...Object.values(labels)].join(' '), value] as const),
  );
  return Object.fromEntries(samples);
}

function expected({ sessions, streams }: Model): Record<string, number> {
  const inState = (state: State) => sessions.filter((session) => session.state === state).length;
  return {
    mcp_sessions_active: inState('active'),
    ...Object.fromEntries(CAUSES.map((cause) => [`mcp_sessions_orphaned ${cause}`, inState(cause)])),
    ...Object.fromEntries(
      KINDS.map((kind) => [`mcp_streams_open ${kind}`, streams.filter((stream) => stream.kind === kind).length]),
    ),
  };
}

const infoOf = ({ state }: Session) =>
  state === 'active' ? sessionInfo() : sessionInfo({ state: 'orphaned', orphanCause: state });

/** A command that changes the model and tells a router's observers of it, after which the gauges must agree. */
function command(name: string, check: (model: Model) => boolean, change: (model: Model, real: Real) => void): Command {
  return {
    check,
    toString: () => name,
    run: async (model, real) => {
      change(model, real);
      expect(await gauges(real)).toEqual(expected(model));
    },
  };
}

const pick = <T>(from: readonly T[], n: number): T => from[n % from.length]!;
const router = fc.nat(ROUTERS - 1);
const which = fc.nat(1000);

const commands: fc.Arbitrary<Command>[] = [
  fc.tuple(router, fc.constantFrom('opened', 'restored')).map(([router, event]) =>
    command(
      `${event}(${router})`,
      () => true,
      (model, real) => {
        model.sessions.push({ router, state: 'active' });
        real.routers[router]!.emit(event, sessionInfo());
      },
    ),
  ),
  fc.tuple(which, fc.constantFrom(...CAUSES)).map(([n, cause]) =>
    command(
      `orphaned(${n}, ${cause})`,
      ({ sessions }) => sessions.some(({ state }) => state === 'active'),
      ({ sessions }, real) => {
        const session = pick(
          sessions.filter(({ state }) => state === 'active'),
          n,
        );
        session.state = cause;
        real.routers[session.router]!.emit('orphaned', infoOf(session), cause);
      },
    ),
  ),
  which.map((n) =>
    command(
      `revived(${n})`,
      ({ sessions }) => sessions.some(({ state }) => state !== 'active'),
      ({ sessions }, real) => {
        const session = pick(
          sessions.filter(({ state }) => state !== 'active'),
          n,
        );
        const orphaned = infoOf(session);
        session.state = 'active';
        real.routers[session.router]!.emit('revived', orphaned);
      },
    ),
  ),
  fc.tuple(which, fc.constantFrom(...REASONS)).map(([n, reason]) =>
    command(
      `closed(${n}, ${reason})`,
      ({ sessions }) => sessions.length > 0,
      (model, real) => {
        const session = pick(model.sessions, n);
        model.sessions = model.sessions.filter((other) => other !== session);
        real.routers[session.router]!.emit('closed', infoOf(session), reason);
      },
    ),
  ),
  router.map((router) =>
    command(
      `failed to open(${router})`,
      () => true,
      (_model, real) => real.routers[router]!.emit('closed', sessionInfo({ state: 'initializing' }), 'failed'),
    ),
  ),
  fc.tuple(router, fc.constantFrom(...KINDS)).map(([router, kind]) =>
    command(
      `streamOpened(${router}, ${kind})`,
      () => true,
      ({ streams }, real) => {
        streams.push({ router, kind });
        real.routers[router]!.emit('streamOpened', kind);
      },
    ),
  ),
  which.map((n) =>
    command(
      `streamClosed(${n})`,
      ({ streams }) => streams.length > 0,
      ({ streams }, real) => {
        const [stream] = streams.splice(n % streams.length, 1);
        real.routers[stream!.router]!.emit('streamClosed', stream!.kind);
      },
    ),
  ),
];

test('whatever happens to the sessions of two routers, each is in exactly one gauge of their registry (DESIGN 8)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { size: '+1' }), async (sequence) => {
      const registry = new Registry();
      const routers = Array.from({ length: ROUTERS }, () => {
        const events = new Emitter<CoreEvents>((_name, error) => {
          throw error;
        });
        createMetrics(events, { registry });
        return events;
      });
      await fc.asyncModelRun(() => ({ model: { sessions: [], streams: [] }, real: { registry, routers } }), sequence);
    }),
  );
});
