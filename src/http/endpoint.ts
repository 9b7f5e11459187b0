import type { Exchange } from './exchange.js';

/** The MCP endpoint: what becomes of a request that passed the guards. */
export interface Endpoint {
  /** The HTTP methods that it answers; any other gets 405. */
  readonly methods: readonly string[];
  /** @throws Refusal for what the client is to be told; anything else is an internal error. */
  handle(exchange: Exchange): Promise<void>;
  /** From now on nothing new is opened, and standalone streams are ended. */
  drain(): void;
  /** Resolves once nothing is attached. */
  idle(): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}
