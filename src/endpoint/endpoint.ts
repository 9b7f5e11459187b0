import type { Exchange } from '../http/exchange.js';
import type { Post } from '../http/receive.js';

/** The MCP endpoint: what becomes of a request that passed the guards. */
export interface Endpoint {
  /** The HTTP methods that it answers; any other gets 405. */
  readonly methods: readonly string[];
  /** @throws Refusal for what the client is to be told; anything else is an internal error. So do `get` and `delete`. */
  post(exchange: Exchange, post: Post): Promise<void>;
  get?(exchange: Exchange): Promise<void>;
  delete?(exchange: Exchange): Promise<void>;
  /** Prepares the end of what is open. The router's phase is `draining`, so nothing new is opened. */
  drain(): void;
  /** Resolves once no request is under way. */
  idle(): Promise<void>;
  /** Ends the standalone streams and the subscriptions, each when all is saved that another process needs to go on with its session. */
  endStreams(): Promise<void>;
  /** Ends everything. The router's phase is `closing`. */
  close(): Promise<void>;
}
