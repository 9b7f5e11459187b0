import { ResourceTemplate, type McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpError, SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { describeNotes, uriOf, type NoteList } from './note-list.js';

/** "Resource not found" (spec 2025-11-25, server/resources, "Error Handling"); the SDK has no name for it. */
const RESOURCE_NOT_FOUND = -32002;

/** Registers notes: tools, a resource for each note, subscriptions to changes, and a prompt. */
export function registerNotes(server: McpServer, notes: NoteList): void {
  const about = describeNotes(notes);
  const textAt = (uri: string): string => {
    const text = notes.textAt(uri);
    if (text === undefined) throw new McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
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
  server.server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
    textAt(uri);
    notes.subscribe(uri);
    return {};
  });
  server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
    notes.unsubscribe(uri);
    return {};
  });

  server.registerPrompt('summarize_notes', about.prompt, () => ({
    messages: [{ role: 'user', content: { type: 'text', text: notes.summaryRequest() } }],
  }));
}
