import type { JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';

/** Bytes that the URI of a subscription may take, on the average of as many as there may be. */
const BYTES_EACH = 128;

/**
 * The resources that a session is subscribed to, as its record holds them. They are repeated with each restore, so there must not
 * be too many. A request that is not settled counts as if it had been answered well.
 */
export class Subscriptions {
  readonly #most: number;
  readonly #uris: Set<string>;
  /** Bytes of {@link #uris}. */
  #size = 0;
  /** Requests that are not settled, and the bytes of their URIs. */
  #reserved: Map<JSONRPCRequest, number> | undefined;
  #reservedSize = 0;

  constructor(uris: readonly string[], most: number) {
    this.#most = most;
    this.#uris = new Set(uris);
    for (const uri of this.#uris) this.#size += Buffer.byteLength(uri);
  }

  all(): string[] {
    return [...this.#uris];
  }

  /** Whether the session may have what the request asks for; room for it is kept then until {@link free}. */
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

  /** For a URI that was unsubscribed from while the request for it was under way there may be no room: then it is not kept. */
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
    return count < this.#most && this.#size + this.#reservedSize + size <= this.#most * BYTES_EACH;
  }
}
