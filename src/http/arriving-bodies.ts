import type { Clock } from '../clock.js';
import { Refusal } from '../errors.js';

/** How long a body may take that begins to arrive after the router was closed, in ms. */
const LATE = 1_000;

/**
 * The bodies that are being read. They share one memory limit, so that many slow bodies cannot exhaust the process. Closing
 * refuses them all, as a body that never ends would keep its socket and its HTTP server open.
 */
export class ArrivingBodies {
  readonly #clock: Clock;
  readonly #maxMemory: number;
  readonly #refusals = new Set<(reason: Refusal) => void>();
  #memory = 0;
  #closed = false;
  #lateTimer: unknown;

  /** @param maxMemory - Bytes that all of them may hold. */
  constructor(clock: Clock, maxMemory: number) {
    this.#clock = clock;
    this.#maxMemory = maxMemory;
  }

  /** @param refuse - Called when the router closes before the body is whole. */
  add(refuse: (reason: Refusal) => void): void {
    this.#refusals.add(refuse);
    // A body that has arrived already is still read: the refusal quotes the ID of its request.
    if (this.#closed) this.#lateTimer ??= this.#clock.setTimeout(() => this.#refuseAll(), LATE);
  }

  delete(refuse: (reason: Refusal) => void): void {
    this.#refusals.delete(refuse);
    if (this.#lateTimer === undefined || this.#refusals.size > 0) return;
    this.#clock.clearTimeout(this.#lateTimer);
    this.#lateTimer = undefined;
  }

  /** Reserves bytes for a body. False, and nothing is reserved, when the limit would be exceeded. */
  hold(bytes: number): boolean {
    if (this.#memory + bytes > this.#maxMemory) return false;
    this.#memory += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#memory -= bytes;
  }

  /** Refuses every body that is incomplete. */
  close(): void {
    this.#closed = true;
    this.#refuseAll();
  }

  #refuseAll(): void {
    for (const refuse of this.#refusals) refuse(new Refusal('draining'));
  }
}
