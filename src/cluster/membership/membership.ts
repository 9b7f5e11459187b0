import { randomUUID } from 'node:crypto';
import { inTime, type Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import { Refusal } from '../../errors.js';
import type { CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import type { ResolvedClusterOptions } from '../../options/options.js';
import type { Membership } from '../../sessions/ownership.js';
import { notAReply, type SendCommand } from '../../stores/redis-client.js';
import { Challenges, type MessageId } from './challenges.js';
import { encodeLease, leaseKey, nodesKey, type Lease } from './lease.js';
import type { ProcessProof } from './process-proof.js';
import { Unreachable } from './unreachable.js';

/** The wait after a failed join or renewal, in ms. */
const RETRY = 250;

type Timing = Pick<ResolvedClusterOptions, 'lease' | 'renewInterval' | 'fenceAfter'>;

export interface MembershipInit {
  readonly send: SendCommand;
  readonly prefix: string;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly events: Emitter<CoreEvents>;
  readonly timing: Timing;
  readonly proof: ProcessProof | undefined;
  /** Resolves to the address of the private listener once it listens. Called again after it rejects. */
  readonly address: () => Promise<Pick<Lease, 'host' | 'port'>>;
  /**
   * Sends this process a message at the address in the lease. Resolves to whether its 102 Processing arrived.
   * Rejects when the message does not reach this process.
   */
  readonly probe: (lease: Lease) => Promise<boolean>;
  /** Called when other nodes may own the sessions of this node. */
  readonly onFenced: () => void;
}

/** The parts of a message by which the membership accepts or refuses it. */
interface ArrivedMessage extends MessageId {
  /** The node ID that the message is for. */
  readonly to: string;
  readonly kind: string;
  /** The first message with the same request. */
  readonly repeats?: MessageId | undefined;
}

/** The {@link Membership} of this node, with the methods that only the node itself may call. */
class OwnMembership implements Membership {
  readonly id = randomUUID();
  readonly #clock: Clock;
  readonly #gracePeriod: number;
  /** By the node's monotonic clock. */
  #until = -Infinity;
  #ended = false;

  /** @param gracePeriod - How long the node may still send final errors after the fence, in ms. */
  constructor(clock: Clock, gracePeriod: number) {
    this.#clock = clock;
    this.#gracePeriod = gracePeriod;
  }

  get isValid(): boolean {
    return !this.#ended && this.#clock.now() < this.#until;
  }

  get inGracePeriod(): boolean {
    return this.#clock.now() < this.#until + this.#gracePeriod;
  }

  extend(until: number): void {
    this.#until = until;
  }

  end(): void {
    this.#ended = true;
  }
}

/**
 * This node's membership: a lease in Redis under an ID that is never used again. The node renews it well before it expires.
 *
 * Safety needs two things. Redis keeps a lease for at least `fenceAfter` after its renewal was sent. This process's monotonic
 * clock runs as fast as Redis' clock.
 *
 * Time counts from before a renewal is sent. So this node drops its sessions before another node can claim them, even if Redis
 * answers late. A forward step of Redis' clock expires the lease of a live node. Two nodes may then own its sessions until its
 * next renewal fails.
 */
export class NodeMembership {
  readonly #init: MembershipInit;
  readonly #challenges = new Challenges();
  /** The IDs of memberships that have ended, while Redis may still have their leases. */
  readonly #former: string[] = [];
  /** The challenge of the next renewal. It stays the same after a failed renewal, as Redis may have stored it. */
  #challenge: string | undefined;
  #membership: OwnMembership;
  #member = false;
  /** See {@link Lease.informs}. */
  #informs = false;
  #isLeaving = false;
  #renewedAt = -Infinity;
  #fenceTimer: unknown;
  #wake: () => void = () => undefined;
  #triedOnce!: () => void;
  /** Resolves when the first try to join has succeeded or failed. */
  readonly tried = new Promise<void>((resolve) => (this.#triedOnce = resolve));
  #running: Promise<void> | undefined;

  constructor(init: MembershipInit) {
    this.#init = init;
    this.#membership = this.#newMembership();
  }

  get membership(): Membership {
    return this.#membership;
  }

  /** Milliseconds since the last renewal was sent. Infinity while this node is no member. */
  get leaseAge(): number {
    return this.#member ? this.#init.clock.now() - this.#renewedAt : Infinity;
  }

  start(): void {
    this.#running = this.#run();
  }

  /**
   * Returns `fresh` when the message is for this node and its request was not begun before. Else the reason to refuse it.
   *
   * @param isKnown - Whether this version knows the kind of the request.
   */
  check(
    { to, kind, challenge, nonce, repeats }: ArrivedMessage,
    isKnown: boolean,
  ): 'notThis' | 'unknownKind' | 'fresh' | 'stale' | 'replayed' {
    const { id, isValid } = this.#membership;
    // Before this node has a lease, only its own probe reaches it.
    if (to !== id || !(isValid || kind === 'probe')) return 'notThis';
    if (!isKnown) return 'unknownKind';
    const verdict = this.#challenges.check({ challenge, nonce });
    if (verdict !== 'fresh' || repeats === undefined) return verdict;
    // The first message counts as received from now on, so that it is refused if it arrives late. With an outdated challenge, it
    // counts as received already.
    return this.#challenges.check(repeats) === 'fresh' ? 'fresh' : 'replayed';
  }

  /**
   * Waits for the first try to join.
   *
   * @throws Refusal `storeUnavailable` when this node is no member.
   */
  async checkMember(): Promise<void> {
    if (!this.#membership.isValid) await this.tried;
    if (!this.#membership.isValid) throw new Refusal('storeUnavailable');
  }

  /** Renews the lease at once, so that the other nodes see that this one drains and claims no sessions. */
  announceDraining(): void {
    this.#wake();
  }

  /** Ends the membership, when this node owns no session. Never rejects: if Redis does not answer, the lease expires later. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#wake();
    await this.#running;
    this.#endMembership();
    try {
      await this.#deleteFormerLeases();
    } catch (error) {
      this.#init.events.emit('failure', 'cluster: the lease could not be given up', error);
    }
  }

  async #run(): Promise<void> {
    const { timing, events } = this.#init;
    let failing: string | undefined;
    while (!this.#isLeaving) {
      let wait = timing.renewInterval;
      try {
        if (this.#member) await this.#renew();
        else await this.#join();
        failing = undefined;
      } catch (error) {
        const what = error instanceof Unreachable ? 'cluster: this node is not reached' : 'cluster: no lease';
        if (failing !== what) events.emit('failure', what, error);
        failing = what;
        wait = RETRY;
      }
      this.#triedOnce();
      if (!this.#member) wait = RETRY;
      await this.#sleep(wait);
    }
  }

  async #join(): Promise<void> {
    const { clock, prefix, timing } = this.#init;
    await this.#deleteFormerLeases();
    const membership = this.#membership;
    const probed = await this.#lease();
    this.#informs = await this.#init.probe(probed);
    const lease = { ...probed, informs: this.#informs };
    const since = clock.now();
    try {
      const result = await this.#ask('SET', ...this.#setArguments(lease), 'NX');
      if (result !== 'OK') throw notAReply(result);
    } catch (error) {
      // Redis may have stored the lease. It would then refuse the same ID until that lease expires, so the ID changes.
      this.#endMembership();
      throw error;
    }
    await this.#ask('SADD', nodesKey(prefix), membership.id);
    if (clock.now() - since >= timing.fenceAfter) throw new Error('Redis took longer than a lease may go unrenewed');
    this.#member = true;
    this.#extendUntilFence(since);
    this.#init.events.emit('joined', membership.id);
  }

  /**
   * Deletes the leases of earlier memberships. Otherwise other nodes would wait until these leases expire. Redis may have one
   * even after it expired, from a renewal that arrived late.
   */
  async #deleteFormerLeases(): Promise<void> {
    const { prefix } = this.#init;
    while (this.#former[0] !== undefined) {
      await this.#ask('DEL', leaseKey(prefix, this.#former[0]));
      await this.#ask('SREM', nodesKey(prefix), this.#former[0]);
      this.#former.shift();
    }
  }

  async #renew(): Promise<void> {
    const { clock } = this.#init;
    const lease = await this.#lease();
    const since = clock.now();
    const result = await this.#ask('SET', ...this.#setArguments(lease), 'XX');
    // This node may have been fenced while Redis worked.
    if (!this.#member) return;
    if (result === 'OK') this.#extendUntilFence(since);
    else this.#fence('Redis does not have the lease any more');
  }

  /** @param since - When the renewal was sent. */
  #extendUntilFence(since: number): void {
    const { clock, timing } = this.#init;
    const until = since + timing.fenceAfter;
    this.#renewedAt = since;
    this.#challenge = undefined;
    this.#membership.extend(until);
    clock.clearTimeout(this.#fenceTimer);
    const fence = (): void => this.#fence('the lease could not be renewed in time');
    this.#fenceTimer = clock.setTimeout(fence, Math.max(0, until - clock.now()));
  }

  #fence(why: string): void {
    const { id } = this.#membership;
    this.#endMembership();
    this.#init.events.emit('fenced', id, why);
    this.#init.onFenced();
    this.#wake();
  }

  #newMembership(): OwnMembership {
    const { clock, timing } = this.#init;
    // Half of the time between the fence and the end of the lease. In that time, no other node can own the sessions.
    return new OwnMembership(clock, (timing.lease - timing.fenceAfter) / 2);
  }

  #endMembership(): void {
    this.#init.clock.clearTimeout(this.#fenceTimer);
    this.#membership.end();
    this.#former.push(this.#membership.id);
    this.#member = false;
    this.#membership = this.#newMembership();
  }

  async #lease(): Promise<Lease> {
    const { host, port } = await this.#init.address();
    const { id } = this.#membership;
    this.#challenge ??= this.#challenges.next();
    const [challenge, leaving, informs] = [this.#challenge, this.#init.lifecycle.isDraining, this.#informs];
    return { id, host, port, proof: this.#init.proof, challenge, leaving, informs };
  }

  #setArguments(lease: Lease): [key: string, value: string, px: string, ms: string] {
    const { prefix, timing } = this.#init;
    return [leaseKey(prefix, lease.id), encodeLease(lease), 'PX', String(timing.lease)];
  }

  #ask(...command: string[]): Promise<unknown> {
    const { clock, send, timing } = this.#init;
    // A third, so that a second try fits before the fence.
    const time = Math.ceil((timing.fenceAfter - timing.renewInterval) / 3);
    return inTime(clock, time, send(...command), () => new Error('Redis did not answer in time'));
  }

  #sleep(ms: number): Promise<void> {
    const { clock } = this.#init;
    if (this.#isLeaving) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = clock.setTimeout(resolve, ms);
      this.#wake = () => {
        clock.clearTimeout(timer);
        resolve();
      };
    });
  }
}
