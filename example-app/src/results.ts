import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';

/** A tool's answer in words. */
export function say(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

/** A tool's answer that tells the model that, and why, it did not work. */
export function sayFailed(text: string): CallToolResult {
  return { ...say(text), isError: true };
}
