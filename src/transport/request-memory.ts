/** Bytes of a request in flight without its params, an estimate: its handler's promise and signal, and its reply. */
const REQUEST = 4 * 1024;
/** Bytes of a value that `JSON.parse` makes, an estimate, beside the characters of a string. */
const VALUE = 64;

/** Bytes that the messages of a POST take in memory, about. The value is walked without recursion, as its depth is the client's. */
export function memoryOf(messages: unknown): number {
  const rest = [messages];
  let bytes = REQUEST;
  for (let value = rest.pop(); value !== undefined; value = rest.pop()) {
    bytes += VALUE;
    if (typeof value === 'string') bytes += value.length;
    else if (Array.isArray(value)) for (const inner of value as unknown[]) rest.push(inner);
    else if (typeof value === 'object' && value !== null) {
      for (const [name, inner] of Object.entries(value)) {
        bytes += name.length;
        rest.push(inner);
      }
    }
  }
  return bytes;
}

/**
 * The requests in flight of a router. They share one memory limit, so that clients cannot exhaust the process with large params
 * for handlers that wait.
 */
export class RequestMemory {
  readonly #limit: number;
  #held = 0;

  /** @param limit - Bytes that all of them may take. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether requests of that size fit beside those in flight. Alone, they may exceed the limit. */
  hasRoomFor(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.#limit;
  }

  hold(bytes: number): void {
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}
