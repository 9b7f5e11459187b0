import type { ServerContext } from 'express-mcp-router';
import {
  inputRequired,
  inputResponse,
  McpServer,
  ResourceNotFoundError,
  ResourceTemplate,
  SUPPORTED_PROTOCOL_VERSIONS,
} from '@modelcontextprotocol/server';
import { describeNotes, NoteList, uriOf } from './note-list.js';
import { say, sayFailed } from './results.js';
import { infoOf } from './server-info.js';
import {
  ANNOUNCE,
  ASK_NAME,
  COUNTDOWN,
  countDown,
  ECHO,
  greet,
  NAME_FORM,
  WHOAMI,
  whoAmI,
} from './tool-definitions.js';

/** A server serves MCP 2026-07-28 itself if it names that version. */
const supportedProtocolVersions = ['2026-07-28', ...SUPPORTED_PROTOCOL_VERSIONS];

/**
 * Builds the same server as `server.ts` with version 2 of the SDK, for clients of every version.
 *
 * @param hasStore - Whether the router can keep state for clients without a session.
 */
export function buildServerV2(context: ServerContext, hasStore: boolean): McpServer {
  const { info, capabilities, instructions, stateless } = infoOf(context);
  const server = new McpServer(info, { capabilities, instructions, supportedProtocolVersions });
  registerTools(server, context);
  if (stateless) return server;
  registerNotes(server, new NoteList(context, hasStore));
  registerDialogue(server, context);
  return server;
}

function registerTools(server: McpServer, context: ServerContext): void {
  server.registerTool('echo', ECHO, ({ text }) => say(text));
  server.registerTool('countdown', COUNTDOWN, ({ seconds }, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    if (progressToken === undefined) return countDown(seconds, mcpReq.signal, undefined);
    return countDown(seconds, mcpReq.signal, (progress) =>
      mcpReq.notify({ method: 'notifications/progress', params: { progressToken, ...progress } }),
    );
  });
  server.registerTool('whoami', WHOAMI, () => whoAmI(context));
}

function registerNotes(server: McpServer, notes: NoteList): void {
  const about = describeNotes(notes);
  const textAt = (uri: string): string => {
    const text = notes.textAt(uri);
    if (text === undefined) throw new ResourceNotFoundError(uri);
    return text;
  };

  server.registerTool('add_note', about.add, ({ text }) =>
    notes.add(text, () => server.server.sendResourceListChanged()),
  );
  server.registerTool('edit_note', about.edit, ({ id, text }) =>
    notes.edit(id, text, (uri) => server.server.sendResourceUpdated({ uri })),
  );
  server.registerTool('list_notes', about.list, () => notes.list());

  server.registerResource(
    'note',
    new ResourceTemplate('notes://{id}', {
      list: () => ({ resources: notes.ids().map((id) => ({ uri: uriOf(id), name: `Note ${id}` })) }),
      complete: { id: (start) => notes.ids().filter((id) => id.startsWith(start)) },
    }),
    about.resource,
    ({ href }) => ({ contents: [{ uri: href, mimeType: 'text/plain', text: textAt(href) }] }),
  );
  server.server.setRequestHandler('resources/subscribe', ({ params: { uri } }) => {
    textAt(uri);
    notes.subscribe(uri);
    return {};
  });
  server.server.setRequestHandler('resources/unsubscribe', ({ params: { uri } }) => {
    notes.unsubscribe(uri);
    return {};
  });

  server.registerPrompt('summarize_notes', about.prompt, () => ({
    messages: [{ role: 'user', content: { type: 'text', text: notes.summaryRequest() } }],
  }));
}

function registerDialogue(server: McpServer, { era, clientCapabilities }: ServerContext): void {
  // The handler does not wait: it returns its question, and is called anew with the answer. In a session the SDK asks.
  server.registerTool('ask_name', ASK_NAME, ({ mcpReq }) => {
    const answer = inputResponse(mcpReq.inputResponses, 'name');
    if (answer.kind === 'elicit') return greet(answer.action, answer.content?.name);
    if (clientCapabilities?.elicitation === undefined) {
      return sayFailed('This client cannot be asked: it did not declare the elicitation capability.');
    }
    return inputRequired({ inputRequests: { name: inputRequired.elicit(NAME_FORM) } });
  });

  server.registerTool('announce', ANNOUNCE, async ({ text, level }, { mcpReq, sessionId }) => {
    const params = { level, logger: 'announce', data: text };
    if (era === 'request') await mcpReq.notify({ method: 'notifications/message', params });
    // Logging is deprecated since MCP 2026-07-28. Only this function heeds the level that the session has set.
    // eslint-disable-next-line @typescript-eslint/no-deprecated
    else await server.server.sendLoggingMessage(params, sessionId);
    return say('Announced.');
  });
}
