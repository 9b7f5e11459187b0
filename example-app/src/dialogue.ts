import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { say, sayFailed } from './results.js';
import { ANNOUNCE, ASK_NAME, greet, NAME_FORM } from './tool-definitions.js';

/** The SDK's default time-out of a minute is too short for a person to answer. */
const ANSWER_WITHIN_MS = 5 * 60_000;

/** Registers the tools that send requests or log messages to the client. */
export function registerDialogue(server: McpServer): void {
  server.registerTool('ask_name', ASK_NAME, async ({ requestId, signal }) => {
    if (server.server.getClientCapabilities()?.elicitation?.form === undefined) {
      return sayFailed('This client cannot be asked: it did not declare the elicitation capability.');
    }
    // `relatedRequestId` sends the question on the call's own stream, so that it needs no GET stream.
    const { action, content } = await server.server.elicitInput(NAME_FORM, {
      relatedRequestId: requestId,
      timeout: ANSWER_WITHIN_MS,
      signal,
    });
    return greet(action, content?.name);
  });

  server.registerTool('announce', ANNOUNCE, async ({ text, level }, { sessionId }) => {
    await server.server.sendLoggingMessage({ level, logger: 'announce', data: text }, sessionId);
    return say('Announced.');
  });
}
