import { isDeepStrictEqual } from 'node:util';
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

/** Limits of one session or user, so that one client cannot fill the memory. The router limits the whole state to 64 KiB. */
const MAX_NOTES = 100;
const MAX_LENGTH = 2_000;

/** Changes by other requests of the user that may come before one. */
const MAX_ATTEMPTS = 20;

/** "Resource not found" (spec 2025-11-25, server/resources, "Error Handling"); the SDK has no name for it. */
const RESOURCE_NOT_FOUND = -32002;

const noteText = z.string().min(1).max(MAX_LENGTH);
const addNoteInput = z.object({ text: noteText.describe('The text of the note') });
const editNoteInput = z.object({
  id: z.string().describe('The note to change'),
  text: noteText.describe('The text that it gets'),
});

const uriOf = (id: string) => `notes://${id}`;

/** Makes a change to the notes as they are now. Returns a text when it is impossible. */
type Change = (notes: readonly string[]) => { readonly notes: string[]; readonly done: string } | string;

type NotesContext = Pick<ServerContext, 'era' | 'principal' | 'state'>;

/** Why no notes can be kept. A client without a session may reach any process with each request, so its user's notes are in a store. */
function whyNoNotes({ era, principal }: NotesContext, hasStore: boolean): string | undefined {
  if (era === 'session') return undefined;
  if (principal === undefined)
    return 'Notes of a client without a session belong to its user, and this request names none.';
  return hasStore
    ? undefined
    : 'Notes of a client without a session need a store: set MCP_SESSION_STORE or MCP_CLUSTER.';
}

/**
 * Registers the notes of one session, or of one user where the client has no session: tools, a resource for each note, subscriptions
 * to changes, and a prompt.
 */
export function registerNotes(server: McpServer, context: NotesContext, hasStore: boolean): void {
  const { era, state } = context;
  const owner = era === 'session' ? 'session' : 'user';
  const refusal = whyNoNotes(context, hasStore);
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
      description: `Adds a note to this ${owner}. It becomes a resource, notes://{id}.`,
      inputSchema: addNoteInput,
    },
    ({ text }) =>
      change(
        (notes) =>
          notes.length >= MAX_NOTES
            ? `A ${owner} holds at most ${MAX_NOTES} notes.`
            : { notes: [...notes, text], done: `Added note ${notes.length + 1}.` },
        () => server.server.sendResourceListChanged(),
      ),
  );

  server.registerTool(
    'edit_note',
    {
      title: 'Change a note',
      description: `Changes a note of this ${owner}; clients that subscribed to it are notified.`,
      inputSchema: editNoteInput,
    },
    ({ id, text }) => {
      const uri = uriOf(id);
      return change(
        (notes) => {
          const index = ids().indexOf(id);
          if (index === -1) return `This ${owner} has no note ${id}.`;
          return { notes: notes.with(index, text), done: `Changed note ${id}.` };
        },
        async () => {
          // A client without a session subscribes by a request of its own, which has a server of its own.
          if (era === 'request' || subscribed.has(uri)) await server.server.sendResourceUpdated({ uri });
        },
      );
    },
  );

  server.registerTool(
    'list_notes',
    { title: 'List the notes', description: `Lists the notes of this ${owner}, and of no other.` },
    () => {
      if (refusal !== undefined) return sayFailed(refusal);
      return say(texts().length === 0 ? `This ${owner} has no notes.` : lines());
    },
  );

  server.registerResource(
    'note',
    new ResourceTemplate('notes://{id}', {
      list: () => ({ resources: ids().map((id) => ({ uri: uriOf(id), name: `Note ${id}` })) }),
      complete: { id: (start) => ids().filter((id) => id.startsWith(start)) },
    }),
    { title: 'Note', description: `A note of this ${owner}`, mimeType: 'text/plain' },
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
    { title: 'Summarize the notes', description: `Asks the model to summarize the notes of this ${owner}.` },
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
  async function change(make: Change, tell: () => Promise<void>): Promise<CallToolResult> {
    if (refusal !== undefined) return sayFailed(refusal);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const made = make(texts());
      if (typeof made === 'string') return sayFailed(made);
      const { notes, done } = made;
      let saving: Promise<void>;
      try {
        saving = state.set('notes', notes);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return sayFailed(`There is no room for that: all notes of a ${owner} together take at most 64 KiB.`);
      }
      const saved = await saving.then(
        () => true,
        () => false,
      );
      // Another request of the user has changed the notes since they were read.
      if (!saved && era === 'request' && !isDeepStrictEqual(texts(), notes)) continue;
      await tell();
      if (saved) return say(done);
      // The server of a single request ends with it, and nothing saves the change later.
      if (era === 'request') return sayFailed('The change may not be saved. List the notes to see.');
      // The change is in memory all the same. A model that reads only of a failure would repeat it.
      return sayFailed(`${done} It is not saved yet, and would be lost if the server ended now.`);
    }
    return sayFailed('Other requests keep changing the notes. Nothing was changed by this one.');
  }

  function textAt(uri: string): string {
    const text = texts()[ids().map(uriOf).indexOf(uri)];
    if (text === undefined) throw new McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
    return text;
  }
}
