/** How the run goes is decided by this number; CHAOS_SEED runs one again, as far as the machine's own timing lets it. */
export const SEED = Number(process.env.CHAOS_SEED ?? Date.now() % 2 ** 31);

/** Random numbers that a seed brings back (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** At least `from`, and less than `to`. */
  integer(from: number, to: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return from + (((mixed ^ (mixed >>> 14)) >>> 0) % (to - from));
  }

  /** So many of the choices: all of them in each round, each round in an order of its own. */
  shuffled<T>(choices: readonly T[], count: number): T[] {
    const drawn: T[] = [];
    while (drawn.length < count) {
      const left = [...choices];
      while (left.length > 0) drawn.push(...left.splice(this.integer(0, left.length), 1));
    }
    return drawn.slice(0, count);
  }
}
