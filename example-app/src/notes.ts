import type { ServerContext } from 'express-mcp-router';
import { ResourceTemplate, type McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  McpError,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
  type CallToolResult,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { say, sayFailed } from './results.js';

/** Limits of one session, so that one client cannot fill the memory. The router limits the whole state to 64 KiB. */
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

/** Registers the notes of one session: tools, a resource for each note, subscriptions to changes, and a prompt. */
export function registerNotes(server: McpServer, { state }: Pick<ServerContext, 'state'>): void {
  // Not part of the state: the router repeats the subscriptions to the server of a restored session.
  const subscribed = new Set<string>();
  /** IDs count from 1. */
  const texts = () => (state.get('notes') ?? []) as string[];
  const ids = () => [...texts().keys()].map((index) => String(index + 1));
  const lines = () =>
    texts()
      .map((text, index) => `${index + 1}: ${text}`)
      .join('\n');

  server.registerTool(
    'add_note',
    {
      title: 'Add a note',
      description: 'Adds a note to this session. It becomes a resource, notes://{id}.',
      inputSchema: addNoteInput,
    },
    ({ text }) => {
      const notes = texts();
      if (notes.length >= MAX_NOTES) return sayFailed(`A session holds at most ${MAX_NOTES} notes.`);
      const added = `Added note ${notes.length + 1}.`;
      return change([...notes, text], added, () => server.server.sendResourceListChanged());
    },
  );

  server.registerTool(
    'edit_note',
    {
      title: 'Change a note',
      description: 'Changes a note of this session; clients that subscribed to it are notified.',
      inputSchema: editNoteInput,
    },
    ({ id, text }) => {
      const index = ids().indexOf(id);
      if (index === -1) return sayFailed(`This session has no note ${id}.`);
      const uri = uriOf(id);
      return change(texts().with(index, text), `Changed note ${id}.`, async () => {
        if (subscribed.has(uri)) await server.server.sendResourceUpdated({ uri });
      });
    },
  );

  server.registerTool(
    'list_notes',
    { title: 'List the notes', description: 'Lists the notes of this session, and of no other.' },
    () => say(texts().length === 0 ? 'This session has no notes.' : lines()),
  );

  server.registerResource(
    'note',
    new ResourceTemplate('notes://{id}', {
      list: () => ({ resources: ids().map((id) => ({ uri: uriOf(id), name: `Note ${id}` })) }),
      complete: { id: (start) => ids().filter((id) => id.startsWith(start)) },
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
              texts().length === 0
                ? 'Say that there are no notes yet.'
                : `Summarize these notes briefly:\n\n${lines()}`,
          },
        },
      ],
    }),
  );

  /** Answers after the notes are saved, so that a confirmed change survives a restart. */
  async function change(notes: string[], done: string, tell: () => Promise<void>): Promise<CallToolResult> {
    let saving: Promise<void>;
    try {
      saving = state.set('notes', notes);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return sayFailed('There is no room for that: all notes of a session together take at most 64 KiB.');
    }
    const saved = await saving.then(
      () => true,
      () => false,
    );
    await tell();
    // The change is in memory all the same. A model that reads only of a failure would repeat it.
    return saved ? say(done) : sayFailed(`${done} It is not saved yet, and would be lost if the server ended now.`);
  }

  function textAt(uri: string): string {
    const text = texts()[ids().map(uriOf).indexOf(uri)];
    if (text === undefined) throw new McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
    return text;
  }
}
