import type { McpServerLike } from '../protocol/wire-transport.js';

/** A server that serves MCP 2026-07-28 once it is connected. */
export interface NativeServer extends McpServerLike {
  /** The JSON Schema of a tool's input. Undefined when only `tools/list` tells it. */
  inputSchemaOf(tool: string): unknown;
}

/** A version of the SDK whose servers serve MCP 2026-07-28 themselves. `v2()` of `express-mcp-router/v2` makes one. */
export interface PerRequestSdk {
  /** Undefined for a server of another SDK. */
  adapt(server: McpServerLike): NativeServer | undefined;
}
