import type { Clock } from '../../runtime/clock.js';
import type { Membership } from '../../sessions/ownership.js';
import { notAReply, type SendCommand } from '../../stores/redis-client.js';
import { decodeLease, leaseKey, nodesKey, type Lease } from './lease.js';
import { isGone, type ProcessProof } from './process-proof.js';

/** The interval at which a process on this machine is checked while a caller waits for its end, in ms. */
const CHECK_INTERVAL = 100;

/** Redis is asked for the node's lease once in this many checks. */
const CHECKS_PER_READ = 4;

interface Known {
  readonly lease: Lease;
  /** When the lease was requested. */
  readonly since: number;
  /** When the node's process was last checked. */
  checkedAt: number;
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
  /** Listeners for the end of a node, by its ID. */
  readonly #watches = new Map<string, Set<() => void>>();

  /** @param maxAge - How long a lease may be used before it is read again, in ms. */
  constructor(send: SendCommand, prefix: string, clock: Clock, maxAge: number, proof: ProcessProof | undefined) {
    this.#send = send;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#maxAge = maxAge;
    this.#proof = proof;
  }

  /**
   * The lease of a node. Undefined when it has none, or when its process is proved to have ended.
   *
   * Rejects when Redis does not answer. The node may be alive then.
   */
  async find(id: string): Promise<Lease | undefined> {
    const known = this.#known.get(id);
    if (known !== undefined && this.#clock.now() - known.since < this.#maxAge) {
      // Not at each call: every forwarded request calls this, and a check takes up to three system calls.
      if (this.#clock.now() - known.checkedAt < CHECK_INTERVAL) return known.lease;
      known.checkedAt = this.#clock.now();
      return this.#unlessGone(known.lease);
    }
    // Concurrent callers share one read.
    const reading = this.#reading.get(id) ?? this.#read(id);
    this.#reading.set(id, reading);
    const lease = await reading.finally(() => this.#reading.delete(id));
    return lease && this.#unlessGone(lease);
  }

  /** Removes the lease from the cache, so that the next `find` reads it again. */
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
   * Removes the IDs of nodes that have no lease. A node never uses an ID again after its lease has ended, so no removed ID
   * belongs to a live node.
   *
   * @param own - This node's membership. While it is valid, its ID is added again if a fail-over of Redis lost it.
   */
  async sweep(own: () => Membership): Promise<void> {
    const ids = (await this.all()).map(({ id }) => id);
    const { id, isValid } = own();
    if (isValid && !ids.includes(id)) await this.#send('SADD', nodesKey(this.#prefix), id);
  }

  /** Calls the listener when the node has ended. Returns a function that removes the listener. */
  watch(lease: Lease, listener: () => void): () => void {
    const existing = this.#watches.get(lease.id);
    const listeners = existing ?? new Set();
    listeners.add(listener);
    if (existing === undefined) {
      this.#watches.set(lease.id, listeners);
      void this.#watch(lease, listeners);
    }
    return () => listeners.delete(listener);
  }

  /** Resolves when the node has ended, or after that time in ms. */
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
    const read = { isGone: false, isRunning: false };
    for (let check = 1; listeners.size > 0 && !read.isGone; check += 1) {
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, CHECK_INTERVAL));
      if (this.#unlessGone(lease) === undefined) break;
      if (read.isRunning || check % CHECKS_PER_READ !== 0) continue;
      // Not awaited, so that a slow Redis does not delay the next check of the process.
      read.isRunning = true;
      void this.#mayLive(lease.id).then((lives) => {
        read.isRunning = false;
        read.isGone = !lives;
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
    this.#known.set(id, { lease, since, checkedAt: this.#clock.now() });
    return lease;
  }

  async #findOrForget(id: string): Promise<Lease | undefined> {
    const lease = await this.find(id);
    if (lease === undefined) await this.#send('SREM', nodesKey(this.#prefix), id);
    return lease;
  }

  /** The lease, unless its process has ended. Then the lease is deleted, so that nodes on other machines see it, too. */
  #unlessGone(lease: Lease): Lease | undefined {
    if (this.#proof === undefined || lease.proof === undefined || !isGone(lease.proof, this.#proof)) return lease;
    this.#known.delete(lease.id);
    this.#send('DEL', leaseKey(this.#prefix, lease.id)).catch(() => undefined);
    return undefined;
  }
}
