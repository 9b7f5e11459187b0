import type { JSONRPCRequest } from '../../protocol/messages.js';
import { isLogLevel, type LogLevel } from '../../protocol/session-era.js';
import { Subscriptions } from './subscriptions.js';

/** The notifications that a client has asked its server for: the level of log messages, and the resources it subscribed to. */
export class ClientSettings {
  readonly #subscriptions: Subscriptions;
  #logLevel: LogLevel | undefined;

  /** @param maxSubscriptions - The number of resources that a session may be subscribed to. */
  constructor(maxSubscriptions: number, logLevel?: LogLevel, subscriptions: readonly string[] = []) {
    this.#logLevel = logLevel;
    this.#subscriptions = new Subscriptions(subscriptions, maxSubscriptions);
  }

  /** Undefined until the client sets it. */
  get logLevel(): LogLevel | undefined {
    return this.#logLevel;
  }

  get subscriptions(): string[] {
    return this.#subscriptions.all();
  }

  /** Whether the client subscribed to the resource, or to one that it is a part of. */
  isSubscribedTo(uri: string): boolean {
    return this.#subscriptions.cover(uri);
  }

  /** Whether there is room for the change that a request makes. If true, the request must be settled or {@link free}d. */
  reserve(request: JSONRPCRequest): boolean {
    return request.method !== 'resources/subscribe' || this.#subscriptions.reserve(request);
  }

  /** Releases the room of a request that has changed nothing. */
  free(request: JSONRPCRequest): void {
    this.#subscriptions.free(request);
  }

  /** Takes over the change of a request that succeeded. Returns false when the request changes nothing. */
  remember(request: JSONRPCRequest): boolean {
    const { method, params } = request;
    this.free(request);
    if (method === 'logging/setLevel') {
      const level = params?.level;
      if (!isLogLevel(level)) return false;
      this.#logLevel = level;
      return true;
    }
    // The server may have accepted a request without a valid URI.
    if (typeof params?.uri !== 'string') return false;
    if (method === 'resources/subscribe') this.#subscriptions.add(params.uri);
    else this.#subscriptions.delete(params.uri);
    return true;
  }
}
