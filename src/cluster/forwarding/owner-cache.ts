/** Bound on the number of known owners. The least recently used entry is dropped first. */
const MAX_OWNERS = 20_000;

/** The last known owner of each session. A wrong entry does no harm: a node refuses requests for sessions of other nodes. */
export class OwnerCache {
  readonly #owners = new Map<string, string>();

  get(sessionId: string): string | undefined {
    const owner = this.#owners.get(sessionId);
    if (owner === undefined) return undefined;
    this.#owners.delete(sessionId);
    this.#owners.set(sessionId, owner);
    return owner;
  }

  set(sessionId: string, owner: string): void {
    this.#owners.set(sessionId, owner);
    const [oldest] = this.#owners.keys();
    if (this.#owners.size > MAX_OWNERS && oldest !== undefined) this.#owners.delete(oldest);
  }

  delete(sessionId: string): void {
    this.#owners.delete(sessionId);
  }
}
