import { ResourceTemplate, type McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpError, SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { say, sayFailed } from './results.js';

/** What one session may keep, so that no client can fill the memory of all. */
const MAX_NOTES = 100;
const MAX_LENGTH = 2_000;

/** "Resource not found" (spec 2025-11-25, server/resources, "Error Handling"); the SDK has no name for it. */
const RESOURCE_NOT_FOUND = -32002;

const noteText = z.string().min(1).max(MAX_LENGTH);
const addNoteInput = z.object({ text: noteText.describe('The text of the note') });
const editNoteInput = z.object({
  id: z.string().describe('The note to change'),
  text: noteText.describe('The text that it gets'),
});

const uriOf = (id: string) => `notes://${id}`;

/** The notes of one session: tools, a resource each, subscriptions to changes, and a prompt. */
export function registerNotes(server: McpServer): void {
  const notes = new Map<string, string>();
  const subscribed = new Set<string>();
  const lines = () => [...notes].map(([id, text]) => `${id}: ${text}`).join('\n');

  server.registerTool(
    'add_note',
    {
      title: 'Add a note',
      description: 'Adds a note to this session. It becomes a resource, notes://{id}.',
      inputSchema: addNoteInput,
    },
    async ({ text }) => {
      if (notes.size >= MAX_NOTES) return sayFailed(`A session holds at most ${MAX_NOTES} notes.`);
      const id = String(notes.size + 1);
      notes.set(id, text);
      await server.server.sendResourceListChanged();
      return say(`Added note ${id}.`);
    },
  );

  server.registerTool(
    'edit_note',
    {
      title: 'Change a note',
      description: 'Changes a note of this session; clients that subscribed to it are told.',
      inputSchema: editNoteInput,
    },
    async ({ id, text }) => {
      if (!notes.has(id)) return sayFailed(`This session has no note ${id}.`);
      notes.set(id, text);
      const uri = uriOf(id);
      if (subscribed.has(uri)) await server.server.sendResourceUpdated({ uri });
      return say(`Changed note ${id}.`);
    },
  );

  server.registerTool(
    'list_notes',
    { title: 'List the notes', description: 'Lists the notes of this session, and of no other.' },
    () => say(notes.size === 0 ? 'This session has no notes.' : lines()),
  );

  server.registerResource(
    'note',
    new ResourceTemplate('notes://{id}', {
      list: () => ({ resources: [...notes.keys()].map((id) => ({ uri: uriOf(id), name: `Note ${id}` })) }),
      complete: { id: (start) => [...notes.keys()].filter((id) => id.startsWith(start)) },
    }),
    { title: 'Note', description: 'A note of this session', mimeType: 'text/plain' },
    ({ href }) => ({ contents: [{ uri: href, mimeType: 'text/plain', text: textAt(href) }] }),
  );

  server.server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
    textAt(uri);
    subscribed.add(uri);
    return {};
  });
  server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
    subscribed.delete(uri);
    return {};
  });

  server.registerPrompt(
    'summarize_notes',
    { title: 'Summarize the notes', description: 'Asks the model to summarize the notes of this session.' },
    () => ({
      messages: [
        {
          role: 'user',
          content: {
            type: 'text',
            text:
              notes.size === 0 ? 'Say that there are no notes yet.' : `Summarize these notes briefly:\n\n${lines()}`,
          },
        },
      ],
    }),
  );

  function textAt(uri: string): string {
    for (const [id, text] of notes) if (uriOf(id) === uri) return text;
    throw new McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
  }
}
