import type { JSONRPCRequest } from '../../protocol/messages.js';

/** Bytes that a URI may take on average. Times the greatest number of subscriptions, this bounds all URIs together. */
const BYTES_EACH = 128;

/**
 * The resources in a session's record that the session is subscribed to. Each restore repeats the subscriptions, so their
 * number is bounded. A request in flight counts as if it had succeeded.
 */
export class Subscriptions {
  readonly #maxCount: number;
  readonly #uris: Set<string>;
  /** Bytes of {@link #uris}. */
  #size = 0;
  /** Requests in flight, and the bytes of their URIs. */
  #reserved: Map<JSONRPCRequest, number> | undefined;
  #reservedSize = 0;

  constructor(uris: readonly string[], maxCount: number) {
    this.#maxCount = maxCount;
    this.#uris = new Set(uris);
    for (const uri of this.#uris) this.#size += Buffer.byteLength(uri);
  }

  all(): string[] {
    return [...this.#uris];
  }

  /** Whether the resource, or one that it is a part of, is among them. */
  cover(uri: string): boolean {
    if (this.#uris.has(uri)) return true;
    for (const subscribed of this.#uris) if (isWithin(uri, subscribed)) return true;
    return false;
  }

  /** Whether there is room for the request's subscription. If true, the room is kept until {@link free}. */
  reserve(request: JSONRPCRequest): boolean {
    const uri = request.params?.uri;
    if (typeof uri !== 'string' || this.#uris.has(uri)) return true;
    const size = Buffer.byteLength(uri);
    if (!this.#hasRoom(size)) return false;
    this.#reserved ??= new Map();
    this.#reserved.set(request, size);
    this.#reservedSize += size;
    return true;
  }

  free(request: JSONRPCRequest): void {
    const size = this.#reserved?.get(request);
    if (size === undefined) return;
    this.#reserved?.delete(request);
    this.#reservedSize -= size;
  }

  /** The URI is dropped without room. That happens when it was unsubscribed while its own request was in flight. */
  add(uri: string): void {
    const size = Buffer.byteLength(uri);
    if (this.#uris.has(uri) || !this.#hasRoom(size)) return;
    this.#uris.add(uri);
    this.#size += size;
  }

  delete(uri: string): void {
    if (this.#uris.delete(uri)) this.#size -= Buffer.byteLength(uri);
  }

  #hasRoom(size: number): boolean {
    const count = this.#uris.size + (this.#reserved?.size ?? 0);
    return count < this.#maxCount && this.#size + this.#reservedSize + size <= this.#maxCount * BYTES_EACH;
  }
}

/** An update may name a sub-resource of the one that the client subscribed to (schema, `ResourceUpdatedNotificationParams`). */
export function isWithin(uri: string, subscribed: string): boolean {
  if (!uri.startsWith(subscribed)) return false;
  return uri.length === subscribed.length || subscribed.endsWith('/') || /^[/?#]/.test(uri.slice(subscribed.length));
}
