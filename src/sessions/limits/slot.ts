/**
 * A place under the caps. The session holds it, and so does each build of the session's server. A factory may run on after its
 * client hung up, so its place stays taken until it has settled.
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
