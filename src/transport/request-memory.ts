import { Refusal } from '../errors.js';

/** Bytes of a request in flight without its params, an estimate: its handler's promise and signal, and its reply. */
const REQUEST = 4 * 1024;
/** Bytes of one value that `JSON.parse` makes, an estimate. The characters of a string come on top. */
const VALUE = 64;

/** Bytes of memory that the messages of a POST take, an estimate. */
export function memoryOf(messages: unknown): number {
  return REQUEST + sizeOf(messages);
}

/** Bytes of memory that a JSON value takes, an estimate. It uses no recursion, as the client decides on the depth. */
export function sizeOf(json: unknown): number {
  const rest = [json];
  let bytes = 0;
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
  /** Bytes that all requests in flight may take together. */
  readonly limit: number;
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Whether requests of that size fit beside those in flight. While none is in flight, any size fits. */
  hasRoomFor(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.limit;
  }

  /**
   * Holds memory for a request that waits for its server.
   *
   * @throws Refusal `bodiesAtCapacity` when it does not fit.
   */
  async during<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (!this.hasRoomFor(bytes)) throw new Refusal('bodiesAtCapacity');
    this.hold(bytes);
    try {
      return await work();
    } finally {
      this.release(bytes);
    }
  }

  hold(bytes: number): void {
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}
