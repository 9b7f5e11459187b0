import { Refusal } from '../errors.js';
import type { Exchange } from '../http/exchange.js';
import { eraOf } from '../http/per-request/check.js';
import type { Post } from '../http/receive.js';
import type { Endpoint } from './endpoint.js';

/** Serves clients of all revisions of MCP. Each POST goes to the endpoint of its era. Only the session era has GET and DELETE. */
export class EraEndpoint implements Endpoint {
  readonly methods: readonly string[];
  readonly #sessions: Endpoint;
  readonly #perRequest: Endpoint;

  constructor(sessions: Endpoint, perRequest: Endpoint) {
    this.#sessions = sessions;
    this.#perRequest = perRequest;
    this.methods = sessions.methods;
  }

  async post(exchange: Exchange, post: Post): Promise<void> {
    const era = eraOf(post.messages, post.batch, exchange.req.headers);
    return (era === 'session' ? this.#sessions : this.#perRequest).post(exchange, post);
  }

  async get(exchange: Exchange): Promise<void> {
    if (this.#sessions.get === undefined) throw new Refusal('methodNotAllowed');
    return this.#sessions.get(exchange);
  }

  async delete(exchange: Exchange): Promise<void> {
    if (this.#sessions.delete === undefined) throw new Refusal('methodNotAllowed');
    return this.#sessions.delete(exchange);
  }

  drain(): void {
    this.#sessions.drain();
    this.#perRequest.drain();
  }

  async idle(): Promise<void> {
    await Promise.all([this.#sessions.idle(), this.#perRequest.idle()]);
  }

  async endStreams(): Promise<void> {
    await Promise.all([this.#sessions.endStreams(), this.#perRequest.endStreams()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#sessions.close(), this.#perRequest.close()]);
  }
}
