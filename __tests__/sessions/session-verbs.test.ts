import { transportContext } from '../support/transport-context.js';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import type { CloseReason, CoreEvents, SessionStats } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { accessRule } from '../../src/sessions/access.js';
import { Adopter } from '../../src/sessions/life/adopt.js';
import { openSession, type Caller, type SessionParts } from '../../src/sessions/life/open.js';
import { Restorer } from '../../src/sessions/life/restore.js';
import type { PrincipalCounts } from '../../src/sessions/limits/principal-counts.js';
import type { Membership } from '../../src/sessions/ownership.js';
import { RecordStore } from '../../src/sessions/records/record-store.js';
import { Registry } from '../../src/sessions/registry.js';
import { ServerBuilder } from '../../src/sessions/server/server-builder.js';
import { SessionPersistence } from '../../src/sessions/session-persistence.js';
import type { Session } from '../../src/sessions/session.js';
import { memoryStore } from '../../src/stores/memory-store.js';
import type { Lease } from '../../src/transport/transport-types.js';
import { FakeClock } from '../support/fake-clock.js';
import { echoServer } from '../support/harness.js';

const RUNS = Number(process.env.MODEL_RUNS ?? 100);

const LIMITS = {
  ttl: 1_500,
  orphanAfter: 200,
  hibernateAfter: 250,
  orphanTtl: 700,
  maxLifetime: 1_900,
  maxSessions: 4,
  maxSessionsPerPrincipal: 2,
  maxAnonymousSessions: 3,
};
const OPEN_TIMEOUT = 500;
const PRINCIPALS = [undefined, 'alice', 'bob'];
const REASONS: CloseReason[] = ['deleted', 'expired', 'lifetime', 'evicted', 'shutdown', 'failed', 'moved'];

type Build = 'works' | 'fails' | 'waits';

type Verb =
  | { readonly verb: 'open'; readonly principal: string | undefined; readonly build: Build }
  | {
      readonly verb: 'use' | 'restore';
      readonly which: number;
      readonly principal: string | undefined;
      readonly build: Build;
    }
  | { readonly verb: 'close'; readonly which: number; readonly reason: CloseReason }
  | { readonly verb: 'hold' | 'release' | 'terminate' | 'handOff' | 'closeTransport' | 'steal'; readonly which: number }
  | { readonly verb: 'advance'; readonly ms: number }
  | { readonly verb: 'fence' | 'drain' | 'breakStore' | 'mendStore' | 'finishBuilds' | 'turn' | 'settle' };

/** The counts of the sessions of each principal, which another process keeps. */
const COUNTED_ELSEWHERE: PrincipalCounts = {
  enter: () => nextTurn(),
  leave: () => nextTurn(),
  renew: () => nextTurn(),
  sessionsOf: () => Promise.resolve([]),
  longUnused: () => Promise.resolve([]),
};

/** Sessions without HTTP: the real registry and the parts below it, with a store and servers that a test can hinder. */
class SessionWorld {
  readonly clock = new FakeClock();
  readonly phase = new LifecyclePhase();
  readonly registry: Registry;
  readonly seen: Session[] = [];
  readonly violations: unknown[] = [];
  readonly #parts: SessionParts;
  readonly #restorer: Restorer;
  readonly #adopter: Adopter;
  readonly #store = memoryStore({ clock: this.clock });
  readonly #leases: Lease[] = [];
  readonly #builds: (() => void)[] = [];
  #membership: { -readonly [K in keyof Membership]: Membership[K] } | undefined;
  #isBroken = false;
  #build: Build = 'works';
  #ids = 0;

  constructor(isClustered: boolean) {
    const { clock } = this;
    const events = new Emitter<CoreEvents>(() => undefined);
    if (isClustered) this.#membership = { id: 'node 0', isValid: true, inGracePeriod: true };
    // Each answer of the store takes a turn of the event loop, in which other things may happen.
    const store = new Proxy(this.#store, {
      get:
        (target, name) =>
        async (...args: unknown[]): Promise<unknown> => {
          await nextTurn();
          if (this.#isBroken) throw new Error('the store is broken');
          return (Reflect.get(target, name) as (...args: unknown[]) => unknown).apply(target, args);
        },
    });
    const persistence = new SessionPersistence({
      records: new RecordStore({ store, clock, node: () => this.#membership?.id ?? 'router', lifetime: 10_000 }),
      principals: isClustered ? COUNTED_ELSEWHERE : undefined,
      eventStore: undefined,
      refusedAnswers: undefined,
      hibernates: true,
      adopts: true,
      keepsAge: true,
      maxSubscriptions: 1,
      touchInterval: 400,
      clock,
      events,
    });
    const builder = new ServerBuilder(
      () => this.#makeServer(),
      clock,
      OPEN_TIMEOUT,
      () => undefined,
    );
    this.registry = new Registry(
      { ...LIMITS, clock },
      this.phase,
      events,
      builder,
      persistence,
      () => this.#membership,
    );
    this.#watchTransitions();
    const transports = transportContext(clock, { events });
    this.#parts = {
      registry: this.registry,
      builder,
      persistence,
      transports,
      eventStore: undefined,
      recordKey: undefined,
      sessionIdGenerator: () => `session-${(this.#ids += 1)}`,
    };
    const mayUse = accessRule(true);
    this.#restorer = new Restorer(this.#parts, events, () => true, mayUse, LIMITS.maxLifetime);
    this.#adopter = new Adopter(this.#parts, this.#restorer);
  }

  do(verb: Verb): unknown {
    if ('build' in verb) this.#build = verb.build;
    const session = 'which' in verb ? this.seen[verb.which % this.seen.length] : undefined;
    switch (verb.verb) {
      case 'open':
        return this.#open(verb.principal);
      case 'advance':
        return this.clock.advance(verb.ms);
      case 'fence':
        return this.#fence();
      case 'drain':
        if (!this.phase.isDraining) this.phase.moveTo('draining');
        return this.registry.all().forEach((each) => this.registry.handOff(each));
      case 'breakStore':
        return (this.#isBroken = true);
      case 'mendStore':
        return (this.#isBroken = false);
      case 'finishBuilds':
        return this.#builds.splice(0).forEach((finish) => finish());
      case 'turn':
        return nextTurn();
      case 'settle':
        return this.settle();
    }
    if (session === undefined) return undefined;
    switch (verb.verb) {
      case 'use':
        return this.#use(session, caller(verb.principal));
      case 'restore':
        return this.#restore(verb.which, caller(verb.principal));
      case 'close':
        return this.registry.close(session, verb.reason);
      case 'terminate':
        return this.registry.terminate(session);
      case 'handOff':
        return this.registry.handOff(session);
      case 'hold':
        return this.#leases.push(session.acquire('request'));
      case 'release':
        return this.#leases.splice(verb.which % (this.#leases.length + 1), 1).forEach((lease) => lease.release());
      case 'closeTransport':
        return session.transport?.close();
      case 'steal':
        return this.#store.claim(
          session.id,
          { owner: this.#membership?.id ?? 'router', epoch: session.epoch },
          'other',
        );
    }
  }

  /** Lets all promises settle that wait for no time and for no build. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn += 1) await nextTurn();
  }

  async #open(principal: string | undefined): Promise<void> {
    const params = {
      protocolVersion: '2025-06-18',
      capabilities: {},
      clientInfo: { name: 'test', version: '1' },
    };
    const message = { jsonrpc: '2.0' as const, id: 1, method: 'initialize', params };
    const call = { ...caller(principal), message, params, evicts: true, onGone: () => undefined };
    const opened = openSession(this.#parts, call);
    for (const session of this.registry.all()) if (!this.seen.includes(session)) this.seen.push(session);
    await opened;
  }

  /** As a request does for a session that is not open here. */
  async #restore(which: number, asking: Caller): Promise<void> {
    const left = this.seen.filter(({ id, stored }) => stored && this.registry.get(id) === undefined);
    const before = left[which % left.length];
    if (before === undefined) return;
    const { principal = asking.principal } = before;
    const session = await this.#restorer.restore(before.id, { ...asking, principal });
    if (session !== undefined) this.seen.push(session);
  }

  /** As a request does: it waits for the opening, and has the session adopted or woken. */
  async #use(session: Session, asking: Caller): Promise<void> {
    const { principal } = asking;
    const lease = session.acquire('request');
    try {
      while (session.opening !== undefined) await session.opening;
      if (session.state === 'closing' || session.state === 'closed' || session.mayNotRespond) return;
      if (session.principal === undefined && principal !== undefined) {
        await this.#adopter.adopt(session, { ...asking, principal });
      } else if (session.state === 'hibernated') await this.#restorer.wake(session, asking);
    } finally {
      lease.release();
    }
  }

  /** After its lease has ended, a node joins again under another ID. */
  #fence(): void {
    if (this.#membership === undefined) return;
    this.#membership.isValid = false;
    this.#membership = { id: `node ${(this.#ids += 1)}`, isValid: true, inGracePeriod: true };
    for (const session of this.registry.all()) this.registry.fenced(session);
  }

  async #makeServer(): Promise<ReturnType<typeof echoServer>> {
    const build = this.#build;
    if (build === 'fails') throw new Error('no server');
    if (build === 'waits') await new Promise<void>((resolve) => this.#builds.push(resolve));
    return echoServer();
  }

  /** An illegal transition throws, and a caller may ignore the error. So it is noted here. */
  #watchTransitions(): void {
    const { states } = this.registry;
    const noted =
      <Args extends unknown[], Result>(act: (...args: Args) => Result) =>
      (...args: Args): Result => {
        try {
          return act(...args);
        } catch (error) {
          this.violations.push(error);
          throw error;
        }
      };
    states.move = noted(states.move.bind(states));
    states.moveRecord = noted(states.moveRecord.bind(states));
  }
}

const caller = (principal: string | undefined): Caller => ({
  principal,
  req: { headers: {}, auth: undefined },
  extra: {},
});

const which = fc.nat(20);
const principal = fc.constantFrom(...PRINCIPALS);
const build = fc.constantFrom<Build>(
  ...(['works', 'works', 'works', 'works', 'works', 'works', 'fails', 'waits'] as const),
);
const verbs: fc.Arbitrary<Verb> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ verb: fc.constant('open' as const), principal, build }) },
  {
    weight: 16,
    arbitrary: fc.record({
      verb: fc.constantFrom(...(['use', 'restore', 'restore'] as const)),
      which,
      principal,
      build,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      verb: fc.constant('close' as const),
      which,
      reason: fc.constantFrom(...REASONS, 'moved', 'moved', 'moved', 'shutdown'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      verb: fc.constantFrom(
        ...(['hold', 'release', 'release', 'terminate', 'handOff', 'closeTransport', 'steal'] as const),
      ),
      which,
    }),
  },
  { weight: 10, arbitrary: fc.record({ verb: fc.constant('advance' as const), ms: fc.nat(300) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      verb: fc.constantFrom(...(['finishBuilds', 'mendStore', 'mendStore', 'breakStore', 'fence', 'fence'] as const)),
    }),
  },
  { weight: 24, arbitrary: fc.record({ verb: fc.constantFrom('turn' as const, 'settle' as const) }) },
);

function countByState(sessions: readonly Session[]): SessionStats {
  const stats = { initializing: 0, active: 0, orphaned: 0, hibernated: 0 };
  for (const { state } of sessions) if (state !== 'closing' && state !== 'closed') stats[state] += 1;
  return stats;
}

test(
  'no sequence of what may happen to sessions reaches a transition that their tables lack, and the counts are right',
  async () => {
    const run = async (isClustered: boolean, sequence: Verb[], drainAt: number): Promise<void> => {
      const world = new SessionWorld(isClustered);
      for (const [index, verb] of sequence.entries()) {
        if (index === drainAt) world.do({ verb: 'drain' });
        const done = world.do(verb);
        // A request may be refused for many reasons.
        if (verb.verb === 'turn' || verb.verb === 'settle') await done;
        else Promise.resolve(done).catch(() => undefined);
        expect(world.registry.stats()).toEqual(countByState(world.registry.all()));
      }
      for (const session of world.registry.all()) void world.registry.close(session, 'shutdown');
      world.do({ verb: 'finishBuilds' });
      await world.settle();
      world.clock.advance(10_000);
      await world.settle();
      expect(world.violations).toEqual([]);
      expect(world.registry.all()).toEqual([]);
      expect(world.seen.map(({ state }) => state).filter((state) => state !== 'closed')).toEqual([]);
    };
    const sequences = fc.array(verbs, { minLength: 30, maxLength: 100, size: 'max' });
    await fc.assert(fc.asyncProperty(fc.boolean(), sequences, fc.nat(200), run), { numRuns: RUNS });
  },
  RUNS * 1_000,
);
