import type { Clock } from '../runtime/clock.js';
import { InFlight } from '../runtime/in-flight.js';
import type { Lifecycle } from '../runtime/lifecycle-phase.js';
import { LinkedList, type Linked } from '../runtime/linked-list.js';
import { Refusal } from '../errors.js';

/** How long a body may take when it begins to arrive after the router was closed, in ms. */
const LATE_BODY_TIMEOUT = 1_000;

/** A body that is being read. */
export interface Arriving extends Linked<Arriving> {
  /** The bytes that it takes in memory while it waits for its next chunk. */
  held: number;
  /** Stops reading, and removes the body from the bodies that are being read. */
  refuse(reason: Refusal): void;
}

/**
 * The bodies that are being read. They share one memory limit, so that many slow bodies cannot exhaust the process. Closing
 * refuses them all. Otherwise a body that never ends would keep its socket and its HTTP server open.
 */
export class ArrivingBodies {
  readonly #clock: Clock;
  readonly #maxMemory: number;
  readonly #lifecycle: Lifecycle;
  /** The bodies without memory, as none of their chunks had to wait. */
  readonly #unheld = new LinkedList<Arriving>();
  /** The bodies with memory, in the order of their last chunks, oldest first. */
  readonly #holding = new LinkedList<Arriving>();
  readonly #count = new InFlight();
  #memory = 0;
  #lateTimer: unknown;

  /** @param maxMemory - Bytes that all bodies may take together. */
  constructor(clock: Clock, maxMemory: number, lifecycle: Lifecycle) {
    this.#lifecycle = lifecycle;
    this.#clock = clock;
    this.#maxMemory = maxMemory;
  }

  /** Whether no body is being read. */
  get isNone(): boolean {
    return this.#count.isNone;
  }

  /** Resolves once no body is being read. */
  whenNone(): Promise<void> {
    return this.#count.whenNone();
  }

  /** From now on the body is refused if the router closes, or if other bodies need its memory. */
  add(body: Arriving): void {
    this.#unheld.append(body);
    this.#count.begin();
    // A body that has arrived completely is still read, so that the refusal has the ID of its request.
    if (this.#lifecycle.isClosing) this.#lateTimer ??= this.#clock.setTimeout(() => this.close(), LATE_BODY_TIMEOUT);
  }

  /** Releases the memory of a body that is complete or refused. */
  delete(body: Arriving): void {
    if (body.list === undefined) return;
    body.list.delete(body);
    this.#setHeld(body, 0);
    this.#count.end();
    if (!this.isNone || this.#lateTimer === undefined) return;
    this.#clock.clearTimeout(this.#lateTimer);
    this.#lateTimer = undefined;
  }

  /**
   * Called for each chunk that has to wait for the next one. Above the limit, it refuses the bodies that have waited longest
   * for a chunk, so that a client that stops half-way does not block the bodies of other clients.
   *
   * @param bytes - The memory of the whole body from now on.
   * @throws Refusal `bodiesAtCapacity` when the body alone exceeds the limit.
   */
  hold(body: Arriving, bytes: number): void {
    if (bytes > this.#maxMemory) throw new Refusal('bodiesAtCapacity');
    this.#setHeld(body, bytes);
    this.#holding.append(body);
    // The loop ends before this body, as it is the last one and alone does not exceed the limit.
    let { first } = this.#holding;
    while (first !== undefined && this.#memory > this.#maxMemory) {
      first.refuse(new Refusal('bodiesAtCapacity'));
      ({ first } = this.#holding);
    }
  }

  /** Refuses every body that is incomplete. */
  close(): void {
    for (let body = this.#first; body !== undefined; body = this.#first) body.refuse(new Refusal('draining'));
  }

  get #first(): Arriving | undefined {
    return this.#unheld.first ?? this.#holding.first;
  }

  #setHeld(body: Arriving, bytes: number): void {
    this.#memory += bytes - body.held;
    body.held = bytes;
  }
}
