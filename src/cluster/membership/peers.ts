import type { Clock } from '../../runtime/clock.js';
import type { Lease } from './lease.js';
import { NodeObserver, type NodeObserverInit } from './node-observer.js';
import { isGone, type ProcessProof } from './process-proof.js';

/** The interval at which a process on this machine is checked, in ms. Also the shortest time between two readings for a node. */
const CHECK_INTERVAL = 100;

export interface PeersInit extends NodeObserverInit {
  readonly timing: NodeObserverInit['timing'] & { readonly fenceAfter: number };
  readonly proof: ProcessProof | undefined;
}

/** The other nodes, by their leases. */
export class Peers {
  readonly #observer: NodeObserver;
  readonly #clock: Clock;
  readonly #maxAge: number;
  /** How long a message of a node may take to arrive, in ms. */
  readonly #transit: number;
  readonly #proof: ProcessProof | undefined;
  /** Node IDs whose state must be read again, with the time when that became known. */
  readonly #forgotten = new Map<string, number>();
  /** When the process of a lease was last checked. */
  readonly #checkedAt = new WeakMap<Lease, number>();
  /** Listeners for the end of a node, by its ID. */
  readonly #watches = new Map<string, Set<() => void>>();
  #stopped = false;

  constructor(init: PeersInit) {
    this.#observer = new NodeObserver(init);
    this.#clock = init.clock;
    this.#maxAge = init.timing.renewInterval;
    this.#transit = init.timing.lease - init.timing.fenceAfter;
    this.#proof = init.proof;
  }

  start(): void {
    this.#observer.start();
  }

  /** Called when this node leaves. No process is checked any more, and no listener called. */
  stop(): void {
    this.#stopped = true;
    this.#observer.stop();
  }

  /** See {@link NodeObserver.startAnew}. */
  startAnew(): void {
    this.#observer.startAnew();
  }

  /**
   * The lease of a node; undefined when its membership is over. `missing`: the node may own sessions, but nothing can be
   * sent to it.
   *
   * Rejects when Redis does not answer. The node may be alive then.
   */
  async find(id: string): Promise<Lease | 'missing' | undefined> {
    await this.#observer.observe(id, this.#neededReading(id));
    const state = this.#observer.stateOf(id);
    if (state === 'over') return undefined;
    return state === 'missing' ? state : this.#unlessGone(state);
  }

  /**
   * Whether the membership is over, as far as this node has read. This alone permits no claim: before a claim, {@link find} must
   * resolve to undefined.
   */
  isOver(id: string): boolean {
    return this.#observer.stateOf(id) === 'over';
  }

  /**
   * The lease of a node whose ID a client named; undefined when there is none. Nothing is kept of an ID without a lease, and such
   * IDs share readings that are at least {@link CHECK_INTERVAL} apart.
   *
   * Rejects as {@link find} does.
   */
  async member(id: string): Promise<Lease | undefined> {
    const isKnown = (): boolean => typeof this.#observer.stateOf(id) !== 'string';
    if (!isKnown()) {
      const wait = this.#observer.sentAt + CHECK_INTERVAL - this.#clock.now();
      if (wait > 0) await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, wait));
      await this.#observer.read(this.#clock.now());
    }
    const lease = isKnown() ? await this.find(id) : undefined;
    return lease === 'missing' ? undefined : lease;
  }

  /** The state of the node is read again when it is next asked for. */
  forget(id: string): void {
    this.#forgotten.set(id, this.#clock.now());
  }

  /** The leases of all live nodes. */
  async all(): Promise<Lease[]> {
    await this.#observer.read(this.#clock.now());
    return this.lastKnown();
  }

  /** The leases of all nodes that were alive when they were last read. */
  lastKnown(): Lease[] {
    return this.#observer.leases().filter((lease) => this.#unlessGone(lease) !== undefined);
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

  /**
   * Calls the listener when the node has ended, and its last messages have had `lease - fenceAfter` to arrive. An observed end comes
   * that late by itself, as the node stopped at `fenceAfter`. A proved end may come while TCP still repeats a lost segment.
   */
  watchEndOfMessages(lease: Lease, listener: () => void): () => void {
    let timer: unknown;
    const unwatch = this.watch(lease, () => {
      if (!this.#observer.isProvedOver(lease.id)) return listener();
      timer = this.#clock.setTimeout(() => this.#stopped || listener(), this.#transit);
    });
    return () => {
      unwatch();
      this.#clock.clearTimeout(timer);
    };
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

  /** When the reading must have been sent that the state of the node is taken from. */
  #neededReading(id: string): number {
    const now = this.#clock.now();
    const { sentAt } = this.#observer;
    const forgotten = this.#forgotten.get(id) ?? -Infinity;
    if (sentAt < forgotten && now - sentAt >= CHECK_INTERVAL) return forgotten;
    if (sentAt >= forgotten) this.#forgotten.delete(id);
    return now - this.#maxAge;
  }

  /** However long Redis takes, a process on this machine that has ended is seen at once. */
  async #watch(lease: Lease, listeners: Set<() => void>): Promise<void> {
    while (listeners.size > 0) {
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, CHECK_INTERVAL));
      if (this.#stopped) return;
      if (this.isOver(lease.id) || this.#unlessGone(lease) === undefined) break;
    }
    this.#watches.delete(lease.id);
    for (const listener of listeners) listener();
  }

  /** To check its process takes up to three system calls, and every forwarded request asks. */
  #unlessGone(lease: Lease): Lease | undefined {
    if (this.#stopped || this.#proof === undefined || lease.proof === undefined) return lease;
    const now = this.#clock.now();
    if (now - (this.#checkedAt.get(lease) ?? -Infinity) < CHECK_INTERVAL) return lease;
    this.#checkedAt.set(lease, now);
    if (!isGone(lease.proof, this.#proof)) return lease;
    this.#observer.died(lease.id);
    return undefined;
  }
}
