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
import { EarlierVersion, isOfEarlierVersion, removeEarlierVersion } from './earlier-version.js';
import { encodeLease, LEFT, nodesKey, removeIfLast, RENEW, type Lease } from './lease.js';
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

  /** False when it has lapsed: an acknowledgement that this node handles later does not revive it. */
  extend(until: number): boolean {
    if (this.#ended || (this.#until > -Infinity && !this.isValid)) return false;
    this.#until = until;
    return true;
  }

  end(): void {
    this.#ended = true;
  }
}

/**
 * This node's membership: a lease in Redis under an ID that is never used again. The node renews it in time.
 *
 * It is valid until `fenceAfter` after the last acknowledged renewal was *sent*, by this process's monotonic clock. Other nodes
 * measure `lease` by their own monotonic clocks, from a later instant (`NodeObserver`). So safety needs that no two
 * monotonic clocks differ by more than 20 % in speed. No other clock plays a part.
 *
 * Each try to renew writes a counter that grows. A renewal succeeds only over a counter that this node wrote since its last
 * success. Any other one shows that Redis lost a write, and the node fences.
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
  /** See {@link Lease.receives102}. */
  #receives102 = false;
  #isLeaving = false;
  /** The counters of the last try to write the lease, and of the last try that Redis acknowledged. */
  #counter = 0;
  #acknowledged = 0;
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

  /** Milliseconds since the last renewal was sent. Infinity while this node is no member, undefined once it closes. */
  get leaseAge(): number | undefined {
    if (this.#init.lifecycle.isClosing) return undefined;
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

  /** Ends the membership, when this node owns no session. Never rejects: without `left` in Redis, other nodes wait for `lease`. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#wake();
    await this.#running;
    const { id } = this.#membership;
    this.#endMembership();
    try {
      await this.#endFormer();
      await this.#inTime(removeIfLast(this.#init.send, this.#init.prefix, id));
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
        const what = failureOf(error);
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
    const { clock, timing } = this.#init;
    await this.#endFormer();
    const membership = this.#membership;
    const probed = await this.#lease();
    this.#receives102 = await this.#init.probe(probed);
    const text = this.#encode({ ...probed, receives102: this.#receives102 });
    const since = clock.now();
    try {
      await this.#enter(text);
    } catch (error) {
      // Redis may have stored the lease. It would then refuse the same ID, so the ID changes.
      if (!(error instanceof EarlierVersion)) this.#endMembership();
      throw error;
    }
    if (clock.now() - since >= timing.fenceAfter) {
      this.#endMembership();
      throw new Error('Redis took longer than a lease may go unrenewed');
    }
    this.#acknowledged = this.#counter;
    this.#member = true;
    this.#extendUntilFence(since);
    this.#init.events.emit('joined', membership.id);
  }

  /** Writes the first lease of this membership. */
  async #enter(text: string): Promise<void> {
    const { prefix, send } = this.#init;
    const enter = (): Promise<unknown> => this.#inTime(send('HSETNX', nodesKey(prefix), this.#membership.id, text));
    const reply = await enter().catch(async (error: unknown) => {
      if (!isOfEarlierVersion(error)) throw error;
      await this.#inTime(removeEarlierVersion(send, prefix));
      return enter();
    });
    if (String(reply) !== '1') throw notAReply(reply);
  }

  /**
   * Marks the leases of earlier memberships as ended. Otherwise other nodes would wait for `lease`. A renewal that arrives late does not
   * replace the mark.
   */
  async #endFormer(): Promise<void> {
    const { prefix, send } = this.#init;
    while (this.#former[0] !== undefined) {
      await this.#inTime(send('HSET', nodesKey(prefix), this.#former[0], LEFT)).catch((error: unknown) => {
        // Without the hash, Redis has none of this node's leases.
        if (!isOfEarlierVersion(error)) throw error;
      });
      this.#former.shift();
    }
  }

  async #renew(): Promise<void> {
    const { clock, prefix, send } = this.#init;
    const text = this.#encode(await this.#lease());
    // Its own counter counts, too: a client of Redis may send the command twice.
    const expected = [this.#acknowledged, this.#counter].map(String);
    const since = clock.now();
    const args = [this.#membership.id, text, ...expected];
    const reply = await this.#inTime(RENEW.run(send, nodesKey(prefix), ...args));
    // This node may have been fenced while Redis worked.
    if (!this.#member) return;
    if (String(reply) === '0') return this.#fence('Redis does not have the lease as this node wrote it');
    if (String(reply) !== '1') throw notAReply(reply);
    this.#acknowledged = this.#counter;
    this.#extendUntilFence(since);
  }

  /** @param since - When the renewal was sent. */
  #extendUntilFence(since: number): void {
    const { clock, timing } = this.#init;
    const until = since + timing.fenceAfter;
    if (!this.#membership.extend(until)) return this.#fence('the lease was renewed too late');
    this.#renewedAt = since;
    this.#challenge = undefined;
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
    // Half of the time between the fence and the first claim by another node.
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
    const [challenge, leaving, receives102] = [this.#challenge, this.#init.lifecycle.isDraining, this.#receives102];
    const { proof, timing } = this.#init;
    return { id, host, port, proof, challenge, leaving, receives102, duration: timing.lease };
  }

  #encode(lease: Lease): string {
    this.#counter += 1;
    return encodeLease(this.#counter, lease);
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    const { clock, timing } = this.#init;
    // A third, so that a second try fits before the fence.
    const time = Math.ceil((timing.fenceAfter - timing.renewInterval) / 3);
    return inTime(clock, time, answer, () => new Error('Redis did not answer in time'));
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

function failureOf(error: unknown): string {
  if (error instanceof Unreachable) return 'cluster: this node is not reached';
  return error instanceof EarlierVersion ? 'cluster: nodes of an earlier version are running' : 'cluster: no lease';
}
