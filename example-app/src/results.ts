/** The result of a tool, as both versions of the SDK take it. */
export interface ToolResult {
  [field: string]: unknown;
  content: { type: 'text'; text: string }[];
  isError?: boolean;
}

/** Returns a tool result with one text. */
export function say(text: string): ToolResult {
  return { content: [{ type: 'text', text }] };
}

/** Returns a tool result that tells the model of a failure, with the reason. */
export function sayFailed(text: string): ToolResult {
  return { ...say(text), isError: true };
}
