/** Sessions that were closed, until all is done that their end takes. */
export class ClosingSessions {
  readonly #ending = new Set<Promise<void>>();
  /** IDs of those that were closed for another node to own, and are still this one's by their records. */
  readonly #leaving = new Set<string>();

  /** @param leaving - The session's ID, if it was closed for another node to own. */
  track(ending: Promise<void>, leaving?: string): Promise<void> {
    this.#ending.add(ending);
    if (leaving !== undefined) this.#leaving.add(leaving);
    return ending.finally(() => {
      this.#ending.delete(ending);
      if (leaving !== undefined) this.#leaving.delete(leaving);
    });
  }

  isMoving(id: string): boolean {
    return this.#leaving.has(id);
  }

  /** Resolves when none is left. */
  async settled(): Promise<void> {
    await Promise.all(this.#ending);
  }
}
