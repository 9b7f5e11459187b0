/** Counts work in progress, and notifies when none remains. */
export class InFlight {
  readonly #waiting: (() => void)[] = [];
  #count = 0;

  begin(): void {
    this.#count += 1;
  }

  end(): void {
    this.#count -= 1;
    if (this.#count === 0 && this.#waiting.length > 0) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Whether no work is in progress. */
  get isNone(): boolean {
    return this.#count === 0;
  }

  /** Counts the work until it is over. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.begin();
    try {
      return await work;
    } finally {
      this.end();
    }
  }

  /** Resolves once no work is in progress. */
  whenNone(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
