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

/** How soon what failed is tried again, in ms. */
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
  /** Where its private listener is, once it listens; asked for again when it rejects. */
  readonly address: () => Promise<Pick<Lease, 'host' | 'port'>>;
  /**
   * Sends this process a message at the address in the lease. Resolves to whether its 102 Processing arrived.
   * Rejects when the message does not reach this process.
   */
  readonly probe: (lease: Lease) => Promise<boolean>;
  /** Called when all that this node owned may be another's. */
  readonly onFenced: () => void;
}

/** What the membership decides by whether a message is taken. */
interface ArrivedMessage extends MessageId {
  /** The node ID that the message is for. */
  readonly to: string;
  readonly kind: string;
  /** The first message with the same request. */
  readonly repeats?: MessageId | undefined;
}

/** See {@link Membership}; with what only the node itself may do with it. */
class OwnMembership implements Membership {
  readonly id = randomUUID();
  readonly #clock: Clock;
  readonly #leave: number;
  /** By the node's monotonic clock. */
  #until = -Infinity;
  #ended = false;

  /** @param leave - How long after its end it may take leave, in ms. */
  constructor(clock: Clock, leave: number) {
    this.#clock = clock;
    this.#leave = leave;
  }

  get isValid(): boolean {
    return !this.#ended && this.#clock.now() < this.#until;
  }

  get inGracePeriod(): boolean {
    return this.#clock.now() < this.#until + this.#leave;
  }

  extend(until: number): void {
    this.#until = until;
  }

  end(): void {
    this.#ended = true;
  }
}

/**
 * This node's membership: a lease in Redis under an ID that is never used again, renewed well within its time.
 *
 * Safety needs two things. Redis keeps a lease for at least `fenceAfter` from when its renewal was sent. This process's
 * monotonic clock runs as fast as Redis' clock.
 *
 * Time counts from before a renewal is sent. So this node drops its sessions before another node can claim them, however
 * late Redis answers. A forward step of Redis' clock expires the lease of a live node: two nodes then own its sessions, until
 * the next renewal shows it.
 */
export class NodeMembership {
  readonly #init: MembershipInit;
  readonly #challenges = new Challenges();
  /** Tenures that are over, whose leases Redis may still hold. */
  readonly #former: string[] = [];
  /** The challenge of the next renewal. It stays when one fails: Redis may have it all the same. */
  #challenge: string | undefined;
  #membership: OwnMembership;
  #member = false;
  /** See {@link Lease.informs}. */
  #informs = false;
  #left = false;
  #renewedAt = -Infinity;
  #fenceTimer: unknown;
  #wake: () => void = () => undefined;
  #triedOnce!: () => void;
  /** Resolves when the first try to join has succeeded or failed. */
  readonly tried = new Promise<void>((resolve) => (this.#triedOnce = resolve));
  #running: Promise<void> | undefined;

  constructor(init: MembershipInit) {
    this.#init = init;
    this.#membership = this.#newTenure();
  }

  get membership(): Membership {
    return this.#membership;
  }

  /** Milliseconds since the last renewal was sent; Infinity while this node is no member. */
  get leaseAge(): number {
    return this.#member ? this.#init.clock.now() - this.#renewedAt : Infinity;
  }

  start(): void {
    this.#running = this.#run();
  }

  /**
   * `fresh`: the message is for this node, and its request was not begun before. Any other value says why it is refused.
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
    // The first message counts as received from now on, so that it is refused if it arrives late. If its challenge is too old
    // to tell, it also counts as received.
    return this.#challenges.check(repeats) === 'fresh' ? 'fresh' : 'replayed';
  }

  /** @throws Refusal `storeUnavailable` while this node is no member; waits for the first try to become one. */
  async checkMember(): Promise<void> {
    if (!this.#membership.isValid) await this.tried;
    if (!this.#membership.isValid) throw new Refusal('storeUnavailable');
  }

  /** Renews the lease at once, so that the other nodes learn that this one drains and takes over nothing. */
  announceDraining(): void {
    this.#wake();
  }

  /** Ends the membership, when nothing is owned any more. Never rejects: what cannot be said to Redis now, the lease says later. */
  async leave(): Promise<void> {
    this.#left = true;
    this.#wake();
    await this.#running;
    this.#over();
    try {
      await this.#giveUpFormer();
    } catch (error) {
      this.#init.events.emit('failure', 'cluster: the lease could not be given up', error);
    }
  }

  async #run(): Promise<void> {
    const { timing, events } = this.#init;
    let failing: string | undefined;
    while (!this.#left) {
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
    await this.#giveUpFormer();
    const membership = this.#membership;
    const probed = await this.#lease();
    this.#informs = await this.#init.probe(probed);
    const lease = { ...probed, informs: this.#informs };
    const since = clock.now();
    try {
      const said = await this.#ask('SET', ...this.#words(lease), 'NX');
      if (said !== 'OK') throw notAReply(said);
    } catch (error) {
      // Redis may have it all the same: under the same ID it would be refused for as long as that lease lasts.
      this.#over();
      throw error;
    }
    await this.#ask('SADD', nodesKey(prefix), membership.id);
    if (clock.now() - since >= timing.fenceAfter) throw new Error('Redis took longer than a lease may go unrenewed');
    this.#member = true;
    this.#renewed(since);
    this.#init.events.emit('joined', membership.id);
  }

  /** Others would wait for the end of leases that nobody holds; a renewal of one may have been done late, too. */
  async #giveUpFormer(): Promise<void> {
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
    const said = await this.#ask('SET', ...this.#words(lease), 'XX');
    // The fence may have come down meanwhile.
    if (!this.#member) return;
    if (said === 'OK') this.#renewed(since);
    else this.#fence('Redis does not have the lease any more');
  }

  #renewed(since: number): void {
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
    this.#over();
    this.#init.events.emit('fenced', id, why);
    this.#init.onFenced();
    this.#wake();
  }

  #newTenure(): OwnMembership {
    const { clock, timing } = this.#init;
    // Half of the time for which nobody else can own what this node let go of.
    return new OwnMembership(clock, (timing.lease - timing.fenceAfter) / 2);
  }

  #over(): void {
    this.#init.clock.clearTimeout(this.#fenceTimer);
    this.#membership.end();
    this.#former.push(this.#membership.id);
    this.#member = false;
    this.#membership = this.#newTenure();
  }

  async #lease(): Promise<Lease> {
    const { host, port } = await this.#init.address();
    const { id } = this.#membership;
    this.#challenge ??= this.#challenges.next();
    const [challenge, leaving, informs] = [this.#challenge, this.#init.lifecycle.isDraining, this.#informs];
    return { id, host, port, proof: this.#init.proof, challenge, leaving, informs };
  }

  #words(lease: Lease): [key: string, value: string, px: string, ms: string] {
    const { prefix, timing } = this.#init;
    return [leaseKey(prefix, lease.id), encodeLease(lease), 'PX', String(timing.lease)];
  }

  #ask(...command: string[]): Promise<unknown> {
    const { clock, send, timing } = this.#init;
    // Time for a second try before the fence comes down.
    const time = Math.ceil((timing.fenceAfter - timing.renewInterval) / 3);
    return inTime(clock, time, send(...command), () => new Error('Redis did not answer in time'));
  }

  #sleep(ms: number): Promise<void> {
    const { clock } = this.#init;
    if (this.#left) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = clock.setTimeout(resolve, ms);
      this.#wake = () => {
        clock.clearTimeout(timer);
        resolve();
      };
    });
  }
}
