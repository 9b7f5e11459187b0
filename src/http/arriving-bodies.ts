import type { Clock } from '../clock.js';
import { Refusal } from '../errors.js';

/** How long a body may take that comes when the router is closed already, in ms. */
const LATE = 1_000;

/**
 * The bodies that are being read. They share a memory, so that many that never end fill no process; and one that never comes
 * would keep its socket, and so its HTTP server, open.
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
    // A body that is here at once is read, as its ID stands in the refusal.
    if (this.#closed) this.#lateTimer ??= this.#clock.setTimeout(() => this.#refuseAll(), LATE);
  }

  delete(refuse: (reason: Refusal) => void): void {
    this.#refusals.delete(refuse);
    if (this.#lateTimer === undefined || this.#refusals.size > 0) return;
    this.#clock.clearTimeout(this.#lateTimer);
    this.#lateTimer = undefined;
  }

  /** Counts bytes that a body holds from now on; false, and not counted, where there is no room for them. */
  hold(bytes: number): boolean {
    if (this.#memory + bytes > this.#maxMemory) return false;
    this.#memory += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#memory -= bytes;
  }

  /** Refuses every body that is not whole. */
  close(): void {
    this.#closed = true;
    this.#refuseAll();
  }

  #refuseAll(): void {
    for (const refuse of this.#refusals) refuse(new Refusal('draining'));
  }
}
