import type { McpServerLike } from '../protocol/wire-transport.js';

/** A version of the SDK whose servers serve MCP 2026-07-28 themselves. `v2()` of `express-mcp-router/v2` makes one. */
export interface PerRequestSdk {
  /** The server, which serves MCP 2026-07-28 once it is connected; undefined for a server of another SDK. */
  adapt(server: McpServerLike): McpServerLike | undefined;
}
