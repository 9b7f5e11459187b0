import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';

/** Returns a tool result with one text. */
export function say(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

/** Returns a tool result that tells the model of a failure, with the reason. */
export function sayFailed(text: string): CallToolResult {
  return { ...say(text), isError: true };
}
