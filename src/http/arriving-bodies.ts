import type { Clock } from '../runtime/clock.js';
import { Refusal } from '../errors.js';

/** How long a body may take that begins to arrive after the router was closed, in ms. */
const LATE_BODY_TIMEOUT = 1_000;

/** Stops the reading of one body. Its identity stands for the body. */
type Refuse = (reason: Refusal) => void;

/**
 * The bodies that are being read. They share one memory limit, so that many slow bodies cannot exhaust the process. Closing
 * refuses them all, as a body that never ends would keep its socket and its HTTP server open.
 */
export class ArrivingBodies {
  readonly #clock: Clock;
  readonly #maxMemory: number;
  readonly #refusals = new Set<Refuse>();
  /** The bytes of each body that holds memory. The body whose last chunk came longest ago is the first. */
  readonly #held = new Map<Refuse, number>();
  #memory = 0;
  #closed = false;
  #lateTimer: unknown;

  /** @param maxMemory - Bytes that all of them may hold. */
  constructor(clock: Clock, maxMemory: number) {
    this.#clock = clock;
    this.#maxMemory = maxMemory;
  }

  /** @param refuse - Called when the router closes before the body is whole, or when other bodies need its memory. */
  add(refuse: Refuse): void {
    this.#refusals.add(refuse);
    // A body that has arrived already is still read: the refusal quotes the ID of its request.
    if (this.#closed) this.#lateTimer ??= this.#clock.setTimeout(() => this.#refuseAll(), LATE_BODY_TIMEOUT);
  }

  /** Releases what the body holds. */
  delete(refuse: Refuse): void {
    this.#refusals.delete(refuse);
    this.#release(refuse);
    if (this.#lateTimer === undefined || this.#refusals.size > 0) return;
    this.#clock.clearTimeout(this.#lateTimer);
    this.#lateTimer = undefined;
  }

  /**
   * Called for each chunk that has to wait for the next. Where memory is short, refuses the bodies that have waited longest
   * for a chunk: a client that stops half-way must not keep the bodies of other clients out.
   *
   * @param bytes - All that the body holds from now on.
   * @throws Refusal `bodiesAtCapacity` when the body alone exceeds the limit.
   */
  hold(refuse: Refuse, bytes: number): void {
    if (bytes > this.#maxMemory) throw new Refusal('bodiesAtCapacity');
    this.#release(refuse);
    for (const longestWaiting of this.#held.keys()) {
      if (this.#memory + bytes <= this.#maxMemory) break;
      longestWaiting(new Refusal('bodiesAtCapacity'));
    }
    this.#held.set(refuse, bytes);
    this.#memory += bytes;
  }

  /** Refuses every body that is incomplete. */
  close(): void {
    this.#closed = true;
    this.#refuseAll();
  }

  #release(refuse: Refuse): void {
    this.#memory -= this.#held.get(refuse) ?? 0;
    this.#held.delete(refuse);
  }

  #refuseAll(): void {
    for (const refuse of this.#refusals) refuse(new Refusal('draining'));
  }
}
