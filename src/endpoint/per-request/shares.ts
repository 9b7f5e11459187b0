/** Bounds of what callers hold at once, such as streams or bytes. */
export interface ShareLimits {
  readonly total: number;
  readonly perPrincipal: number;
  /** The share of all callers without a principal. */
  readonly anonymous: number;
}

/**
 * Bounds of the bytes that callers may have the router keep while no request of theirs is in flight. They are apart from the memory
 * of requests in flight, so that what one caller has it keep never refuses the requests of another.
 *
 * @param limit - Bytes that requests in flight may take.
 */
export function keptMemory(limit: number): ShareLimits {
  const total = limit / 4;
  return { total, perPrincipal: total / 4, anonymous: total / 2 };
}

/** Counts what each principal holds. Callers without a principal share one count. */
export class Shares {
  readonly #limits: ShareLimits;
  readonly #counts = new Map<string | undefined, number>();
  #total = 0;

  constructor(limits: ShareLimits) {
    this.#limits = limits;
  }

  /** Takes a share. @returns False when so much is not free, or not for that principal. */
  take(principal: string | undefined, amount = 1): boolean {
    const { total, perPrincipal, anonymous } = this.#limits;
    const count = this.#counts.get(principal) ?? 0;
    const limit = principal === undefined ? anonymous : perPrincipal;
    if (this.#total + amount > total || count + amount > limit) return false;
    this.#counts.set(principal, count + amount);
    this.#total += amount;
    return true;
  }

  /** Gives a share back that was taken. */
  give(principal: string | undefined, amount = 1): void {
    const count = (this.#counts.get(principal) ?? amount) - amount;
    if (count === 0) this.#counts.delete(principal);
    else this.#counts.set(principal, count);
    this.#total -= amount;
  }
}
