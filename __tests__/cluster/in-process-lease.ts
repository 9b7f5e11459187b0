import { decodeLease, RENEW } from '../../src/cluster/membership/lease.js';
import { NodeMembership } from '../../src/cluster/membership/membership.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { systemClock, type Clock } from '../../src/runtime/clock.js';
import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import type { Membership } from '../../src/sessions/ownership.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { FakeClock } from '../support/fake-clock.js';
import { FakeRedis, PREFIX, settled, type Mode } from './in-process-fake-redis.js';

/** The defaults (docs/scaling.md). */
export const TIMES = { lease: 5_000, renewInterval: 1_500, fenceAfter: 3_300 };

/** A node, and what it tells of itself. */
export class ObservedNode {
  readonly node: NodeMembership;
  readonly joined: string[] = [];
  readonly fenced: string[] = [];
  readonly failures: string[] = [];

  constructor(send: SendCommand, clock: Clock, timing: typeof TIMES) {
    const events: Emitter<CoreEvents> = new Emitter(() => undefined);
    events.on('joined', (id) => this.joined.push(id)).on('failure', (what) => this.failures.push(what));
    let lost = 0;
    events.on('fenced', (id) => {
      this.fenced.push(id);
      // Each loss of membership must have been reported exactly once.
      queueMicrotask(() => {
        if (lost !== this.fenced.length) throw new Error('onFenced was not called once for each fence');
      });
    });
    this.node = new NodeMembership({
      send,
      prefix: PREFIX,
      clock,
      lifecycle: new LifecyclePhase(),
      events,
      timing,
      proof: undefined,
      address: () => Promise.resolve({ host: '127.0.0.1', port: 7_000 }),
      probe: () => Promise.resolve(true),
      onFenced: () => (lost += 1),
    });
    this.node.start();
  }

  get membership(): Membership {
    return this.node.membership;
  }
}

/** With a real Redis, in real time. The fence is far off, so that a busy machine does not raise it. */
export const realNode = (send: SendCommand): ObservedNode =>
  new ObservedNode(send, systemClock, { lease: 30_000, renewInterval: 200, fenceAfter: 20_000 });

/** On a clock and with a Redis that the test moves. */
export class FakeNode extends ObservedNode {
  readonly clock: FakeClock;
  readonly redis: FakeRedis;
  readonly #over = new Set<Membership>();
  readonly #known = new Set<Membership>();
  #checks = false;

  constructor({ mode = 'up' }: { mode?: Mode } = {}) {
    const clock = new FakeClock();
    const redis = new FakeRedis(clock);
    redis.mode = mode;
    super(redis.send, clock, TIMES);
    this.clock = clock;
    this.redis = redis;
  }

  /** Whether Redis has a lease of that membership. */
  has(id: string): boolean {
    return /^\d/.test(this.redis.field(id) ?? '');
  }

  /** The fields that were sent, in order. */
  get leases(): string[] {
    return this.redis.commands.flatMap(([name, ...args]) =>
      name === 'HSETNX' ? [args[2]!] : args[0] === RENEW.hash ? [args[4]!] : [],
    );
  }

  /** The challenges of the leases that were sent, in order. */
  get challenges(): string[] {
    return this.leases.map((text) => decodeLease(text).challenge);
  }

  /** Lets time pass in steps in which promises settle: to the millisecond at both ends, more coarsely between. */
  async pass(ms: number): Promise<void> {
    await settled();
    for (let left = ms; left > 0;) {
      const step = left > 100 ? 50 : left > 2 ? Math.min(10, left - 1) : 1;
      this.clock.advance(step);
      await settled();
      if (this.#checks) this.check();
      left -= step;
    }
  }

  /** Lets time pass in which nothing of this process runs. */
  block(ms: number): void {
    this.clock.block(ms);
    this.check();
  }

  checkAlways(): void {
    this.#checks = true;
  }

  /** @throws Error when a membership is valid while another node may claim its sessions, or after it ended. */
  check(): void {
    this.#known.add(this.membership);
    for (const membership of this.#known) {
      if (!membership.isValid) {
        if (membership !== this.membership) this.#over.add(membership);
        continue;
      }
      if (this.#over.has(membership)) throw new Error('a membership that was over holds again');
      if (membership !== this.membership) throw new Error('two tenures hold at once');
      const until = this.redis.granted.get(membership.id) ?? -Infinity;
      if (this.clock.now() >= until) throw new Error('a membership is valid while another node may claim its sessions');
    }
  }
}
