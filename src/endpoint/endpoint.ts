import type { Exchange } from '../http/exchange.js';
import type { Post } from '../http/receive.js';

/** The MCP endpoint: serves each request that passed the guards. */
export interface Endpoint {
  /** The HTTP methods that it answers. Any other method gets 405. */
  readonly methods: readonly string[];
  /** @throws Refusal when the request is refused. Another error counts as internal. The same holds for `get` and `delete`. */
  post(exchange: Exchange, post: Post): Promise<void>;
  get?(exchange: Exchange): Promise<void>;
  delete?(exchange: Exchange): Promise<void>;
  /** Called at the beginning of the phase `draining`. No new session is opened from then on. */
  drain(): void;
  /** Resolves once no request is in flight. */
  idle(): Promise<void>;
  /** Ends subscriptions and standalone streams. A stream ends after its record was saved, so that the session can be restored. */
  endStreams(): Promise<void>;
  /** Ends all sessions and requests, in the phase `closing`. */
  close(): Promise<void>;
}
