import type { Clock } from '../../runtime/clock.js';
import type { Membership } from '../../sessions/ownership.js';
import { notAReply, type SendCommand } from '../../stores/redis-client.js';
import { decodeLease, leaseKey, nodesKey, type Lease } from './lease.js';
import { isGone, type ProcessProof } from './process-proof.js';

/** How often a process on this machine is checked while a caller waits for its node to be gone, in ms. */
const LOOK = 100;

/** After so many of those checks Redis is asked for the node's lease. */
const LOOKS_PER_ASK = 4;

/** A lease, when it was requested, and when its node's process was last checked. */
interface Known {
  readonly lease: Lease;
  readonly since: number;
  lookedAt: number;
}

/** The other nodes, by their leases. */
export class Peers {
  readonly #send: SendCommand;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #maxAge: number;
  readonly #proof: ProcessProof | undefined;
  readonly #known = new Map<string, Known>();
  readonly #reading = new Map<string, Promise<Lease | undefined>>();
  /** Listeners, by the ID of the node whose end they wait for. */
  readonly #watches = new Map<string, Set<() => void>>();

  /** @param maxAge - How long a lease that was read counts as read, in ms. */
  constructor(send: SendCommand, prefix: string, clock: Clock, maxAge: number, proof: ProcessProof | undefined) {
    this.#send = send;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#maxAge = maxAge;
    this.#proof = proof;
  }

  /**
   * The lease of a node; undefined when it has none, or its process is proved to be gone.
   *
   * Rejects when Redis does not answer: then nothing is known of the node.
   */
  async find(id: string): Promise<Lease | undefined> {
    const known = this.#known.get(id);
    if (known !== undefined && this.#clock.now() - known.since < this.#maxAge) {
      // To check its process takes up to three system calls, and every forwarded request asks.
      if (this.#clock.now() - known.lookedAt < LOOK) return known.lease;
      known.lookedAt = this.#clock.now();
      return this.#unlessGone(known.lease);
    }
    // Concurrent callers share one read.
    const reading = this.#reading.get(id) ?? this.#read(id);
    this.#reading.set(id, reading);
    const lease = await reading.finally(() => this.#reading.delete(id));
    return lease && this.#unlessGone(lease);
  }

  /** Has the lease read anew when it is next asked for. */
  forget(id: string): void {
    this.#known.delete(id);
  }

  /** The leases of all live nodes. */
  async all(): Promise<Lease[]> {
    const ids = await this.#send('SMEMBERS', nodesKey(this.#prefix));
    if (!Array.isArray(ids)) throw notAReply(ids);
    const leases = await Promise.all(ids.map((id: unknown) => this.#findOrForget(String(id))));
    return leases.filter((lease) => lease !== undefined);
  }

  /**
   * Removes the IDs of nodes that have no lease. No node ever takes a lease again under an ID whose lease is over, so that none of
   * them can be a live node's.
   *
   * @param own - This node's membership: while it is valid, its ID is added again if a fail-over of Redis lost it.
   */
  async sweep(own: () => Membership): Promise<void> {
    const ids = (await this.all()).map(({ id }) => id);
    const { id, isValid } = own();
    if (isValid && !ids.includes(id)) await this.#send('SADD', nodesKey(this.#prefix), id);
  }

  /** Has the listener called when the node is gone, unless the function that this returns is called before. */
  watch(lease: Lease, listener: () => void): () => void {
    const held = this.#watches.get(lease.id);
    const listeners = held ?? new Set();
    listeners.add(listener);
    if (held === undefined) {
      this.#watches.set(lease.id, listeners);
      void this.#watch(lease, listeners);
    }
    return () => listeners.delete(listener);
  }

  /** Resolves when the node is gone, or that time is over, in ms. */
  untilGone(lease: Lease, time: number): Promise<void> {
    return new Promise<void>((resolve) => {
      const over = (): void => {
        this.#clock.clearTimeout(timer);
        unwatch();
        resolve();
      };
      const timer = this.#clock.setTimeout(over, time);
      const unwatch = this.watch(lease, over);
    });
  }

  async #watch(lease: Lease, listeners: Set<() => void>): Promise<void> {
    const asked = { gone: false, open: false };
    for (let look = 1; listeners.size > 0 && !asked.gone; look += 1) {
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, LOOK));
      if (this.#unlessGone(lease) === undefined) break;
      if (asked.open || look % LOOKS_PER_ASK !== 0) continue;
      // Not awaited: however long Redis takes, a process that has ended is seen at once.
      asked.open = true;
      void this.#mayLive(lease.id).then((lives) => {
        asked.open = false;
        asked.gone = !lives;
      });
    }
    this.#watches.delete(lease.id);
    for (const listener of listeners) listener();
  }

  async #mayLive(id: string): Promise<boolean> {
    try {
      this.forget(id);
      return (await this.find(id)) !== undefined;
    } catch {
      return true;
    }
  }

  async #read(id: string): Promise<Lease | undefined> {
    const since = this.#clock.now();
    const text = await this.#send('GET', leaseKey(this.#prefix, id));
    if (text !== null && typeof text !== 'string') throw notAReply(text);
    this.#known.delete(id);
    if (text === null) return undefined;
    const lease = { ...decodeLease(text), id };
    this.#known.set(id, { lease, since, lookedAt: this.#clock.now() });
    return lease;
  }

  async #findOrForget(id: string): Promise<Lease | undefined> {
    const lease = await this.find(id);
    if (lease === undefined) await this.#send('SREM', nodesKey(this.#prefix), id);
    return lease;
  }

  /** Deletes the lease of a process that is gone, so that nodes on other machines learn of it. */
  #unlessGone(lease: Lease): Lease | undefined {
    if (this.#proof === undefined || lease.proof === undefined || !isGone(lease.proof, this.#proof)) return lease;
    this.#known.delete(lease.id);
    this.#send('DEL', leaseKey(this.#prefix, lease.id)).catch(() => undefined);
    return undefined;
  }
}
