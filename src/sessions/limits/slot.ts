/**
 * A place under the caps. It is taken until the session and each build of the session's server release it. A factory may run on
 * after its client disconnected, so the place stays taken until the factory has settled.
 */
export class Slot {
  readonly #free: () => void;
  #holders = 1;

  constructor(free: () => void) {
    this.#free = free;
  }

  retain(): void {
    this.#holders += 1;
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#free();
  }
}
