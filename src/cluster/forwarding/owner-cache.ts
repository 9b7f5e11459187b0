/** Sessions of which a node remembers who owns them; the one that was not asked for the longest is forgotten first. */
const MOST = 20_000;

/** Who owned a session when it was last asked for: who is wrong about it is told by the node that does not own it. */
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
    if (this.#owners.size > MOST && oldest !== undefined) this.#owners.delete(oldest);
  }

  delete(sessionId: string): void {
    this.#owners.delete(sessionId);
  }
}
