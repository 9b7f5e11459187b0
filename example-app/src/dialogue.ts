import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { LoggingLevelSchema, type ElicitRequestFormParams } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { say, sayFailed } from './results.js';

/** The SDK's default time-out of a minute is too short for a person to answer. */
const ANSWER_WITHIN_MS = 5 * 60_000;

const announceInput = z.object({
  text: z.string().max(2_000).describe('What to announce'),
  level: LoggingLevelSchema.default('notice').describe(
    'How important it is; clients can set what they want to hear of',
  ),
});

const nameForm: ElicitRequestFormParams = {
  message: 'What is your name?',
  requestedSchema: {
    type: 'object',
    properties: { name: { type: 'string', title: 'Name', minLength: 1, maxLength: 100 } },
    required: ['name'],
  },
};

/** Registers the tools that send requests or log messages to the client. */
export function registerDialogue(server: McpServer): void {
  server.registerTool(
    'ask_name',
    { title: 'Ask for a name', description: 'Asks the user for their name (elicitation) and greets them.' },
    async ({ requestId, signal }) => {
      if (server.server.getClientCapabilities()?.elicitation?.form === undefined) {
        return sayFailed('This client cannot be asked: it did not declare the elicitation capability.');
      }
      // `relatedRequestId` sends the question on the call's own stream, so that it needs no GET stream.
      const { action, content } = await server.server.elicitInput(nameForm, {
        relatedRequestId: requestId,
        timeout: ANSWER_WITHIN_MS,
        signal,
      });
      if (action === 'decline') return say('No name was given, which is fine.');
      if (action === 'cancel') return say('The question was put aside.');
      return say(`Hello, ${String(content?.name)}!`);
    },
  );

  server.registerTool(
    'announce',
    {
      title: 'Announce',
      description:
        'Sends a log message on the GET stream, where clients hear from the server without having asked. Clients without a ' +
        'session get it on the reply to this call, if they ask for log messages.',
      inputSchema: announceInput,
    },
    async ({ text, level }, { sessionId }) => {
      await server.server.sendLoggingMessage({ level, logger: 'announce', data: text }, sessionId);
      return say('Announced.');
    },
  );
}
