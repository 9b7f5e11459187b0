/** Bounds of what callers hold at once. */
export interface ShareLimits {
  readonly total: number;
  readonly perPrincipal: number;
  /** The share of all callers without a principal. */
  readonly anonymous: number;
}

/** Counts what each principal holds. Callers without a principal share one count. */
export class Shares {
  readonly #limits: ShareLimits;
  readonly #counts = new Map<string | undefined, number>();
  #total = 0;

  constructor(limits: ShareLimits) {
    this.#limits = limits;
  }

  /** Takes one place. @returns False when there is none, or none for that principal. */
  take(principal: string | undefined): boolean {
    const { total, perPrincipal, anonymous } = this.#limits;
    const count = this.#counts.get(principal) ?? 0;
    if (this.#total >= total || count >= (principal === undefined ? anonymous : perPrincipal)) return false;
    this.#counts.set(principal, count + 1);
    this.#total += 1;
    return true;
  }

  /** Gives a place back that was taken. */
  give(principal: string | undefined): void {
    const count = (this.#counts.get(principal) ?? 1) - 1;
    if (count === 0) this.#counts.delete(principal);
    else this.#counts.set(principal, count);
    this.#total -= 1;
  }
}
