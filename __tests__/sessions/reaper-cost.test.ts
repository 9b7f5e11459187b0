import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { ServerBuilder } from '../../src/sessions/server/server-builder.js';
import { FactoryContext } from '../../src/sessions/server/server-context.js';
import { SessionPersistence } from '../../src/sessions/session-persistence.js';
import { Registry } from '../../src/sessions/registry.js';
import { AppState } from '../../src/sessions/records/app-state.js';
import { FakeClock } from '../support/fake-clock.js';

/** Calls back at each read of a field of the object, and of a getter of its class. */
function watchReads(object: object, onRead: () => void): void {
  const ofClass = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(object) as object);
  const all = Object.entries({ ...ofClass, ...Object.getOwnPropertyDescriptors(object) });
  for (const [key, field] of all) {
    let current: unknown = field.value;
    if (typeof current === 'function') continue;
    Object.defineProperty(object, key, {
      get: () => {
        onRead();
        return field.get === undefined ? current : (field.get.call(object) as unknown);
      },
      set: (next: unknown) => (current = next),
    });
  }
}

describe('the cost of waiting follows the number of sessions that expire, not of those that are open (docs/sessions.md, "What it costs")', () => {
  /** A clock that counts its calls. */
  class CountingClock extends FakeClock {
    asked = 0;

    override now(): number {
      this.asked += 1;
      return super.now();
    }

    override setTimeout(callback: () => void, ms: number): unknown {
      this.asked += 1;
      return super.setTimeout(callback, ms);
    }

    override clearTimeout(timer: unknown): void {
      this.asked += 1;
      super.clearTimeout(timer);
    }
  }

  const TTL = 1_000_000;
  const ORPHAN_AFTER = 500_000;

  /** A registry of so many sessions, one opened each millisecond, and left alone; without HTTP and servers. */
  function crowd(size: number): { clock: CountingClock; registry: Registry; closed: () => number } {
    const clock = new CountingClock();
    const events = new Emitter<CoreEvents>(() => undefined);
    let closed = 0;
    events.on('closed', () => (closed += 1));
    const builder = new ServerBuilder(
      () => Promise.reject(new Error('not asked')),
      clock,
      1,
      () => undefined,
    );
    const limits = { ttl: TTL, orphanAfter: ORPHAN_AFTER, orphanTtl: TTL, maxLifetime: 10 * TTL, maxSessions: size };
    const persistence = new SessionPersistence({
      records: undefined,
      eventStore: undefined,
      refusedAnswers: undefined,
      hibernates: false,
      adopts: false,
      keepsAge: false,
      maxSubscriptions: 1,
      touchInterval: TTL,
      clock,
      events,
    });
    const registry = new Registry(
      { ...limits, maxSessionsPerPrincipal: undefined, maxAnonymousSessions: size, hibernateAfter: undefined, clock },
      new LifecyclePhase(),
      events,
      builder,
      persistence,
    );
    for (let i = 0; i < size; i += 1) {
      const context = new FactoryContext({
        sessionId: `session-${i}`,
        principal: undefined,
        req: { headers: {}, auth: undefined },
        clientInfo: undefined,
        clientCapabilities: undefined,
        restored: false,
        epoch: 0,
        state: new AppState(),
      });
      const session = registry.admit(context);
      void session.begin(context, { close: () => Promise.resolve() } as never);
      registry.activate(session);
      clock.advance(1);
    }
    return { clock, registry, closed: () => closed };
  }

  test('10,000 idle sessions have three timers, and cost nothing as long as none is due', () => {
    const { clock, registry } = crowd(10_000);
    clock.asked = 0;
    expect(clock.pending).toBe(2);
    clock.advance(ORPHAN_AFTER - 10_000 - 1);
    expect(registry.stats()).toEqual({ initializing: 0, active: 10_000, orphaned: 0, hibernated: 0 });
    expect(clock.asked).toBe(0);
    // One is orphaned: a third timer, for its end.
    clock.advance(1);
    expect(registry.stats()).toEqual({ initializing: 0, active: 9_999, orphaned: 1, hibernated: 0 });
    expect(clock.pending).toBe(3);
    expect(clock.asked).toBeLessThan(10);
  });

  test('of 10,000, the 10 that are due cost 10 times what one costs', () => {
    const { clock, closed } = crowd(10_000);
    clock.advance(TTL - 10_000 - 1);
    expect(closed()).toBe(0);
    clock.asked = 0;
    clock.advance(1);
    expect(closed()).toBe(1);
    const one = clock.asked;
    clock.asked = 0;
    clock.advance(10);
    expect(closed()).toBe(11);
    expect(clock.asked).toBeLessThanOrEqual(10 * one);
    expect(one).toBeLessThan(20);
  });

  test('the end of one looks at no more sessions among 1,000 than among 100', () => {
    /** How often sessions and their deadlines are read while one ends. */
    const reads = (size: number): number => {
      const { clock, registry, closed } = crowd(size);
      clock.advance(TTL - size - 1);
      let count = 0;
      for (const session of registry.all()) {
        for (const part of [session.idleDue, session.lifetimeDue!, session]) watchReads(part, () => (count += 1));
      }
      clock.advance(1);
      expect(closed()).toBe(1);
      return count;
    };
    const few = reads(100);
    expect(few).toBeGreaterThan(0);
    expect(reads(1_000)).toBe(few);
  });
});
