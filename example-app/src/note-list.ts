import { isDeepStrictEqual } from 'node:util';
import type { ServerContext } from 'express-mcp-router';
import { z } from 'zod';
import { say, sayFailed, type ToolResult } from './results.js';

/** Limits of one session or user, so that one client cannot fill the memory. The router limits the whole state to 64 KiB. */
const MAX_NOTES = 100;
const MAX_LENGTH = 2_000;

/** Changes by other requests of the user that may come before one. */
const MAX_ATTEMPTS = 20;

const noteText = z.string().min(1).max(MAX_LENGTH);
const addNoteInput = z.object({ text: noteText.describe('The text of the note') });
const editNoteInput = z.object({
  id: z.string().describe('The note to change'),
  text: noteText.describe('The text that it gets'),
});

export const uriOf = (id: string) => `notes://${id}`;

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

/** The notes of one session, or of one user where the client has no session. It knows nothing of the SDK. */
export class NoteList {
  readonly #era: ServerContext['era'];
  /** The word for the owner of the notes, in texts. */
  readonly owner: 'session' | 'user';
  readonly #state: ServerContext['state'];
  readonly #refusal: string | undefined;
  /** URIs. Not part of the state: the router repeats the subscriptions to the server of a restored session. */
  readonly #subscribed = new Set<string>();

  /** @param hasStore - Whether the router can keep state for clients without a session. */
  constructor(context: NotesContext, hasStore: boolean) {
    this.#era = context.era;
    this.owner = context.era === 'session' ? 'session' : 'user';
    this.#state = context.state;
    this.#refusal = whyNoNotes(context, hasStore);
  }

  /** IDs count from 1. */
  ids(): string[] {
    return [...this.#texts().keys()].map((index) => String(index + 1));
  }

  /** Undefined when no note has that URI. */
  textAt(uri: string): string | undefined {
    return this.#texts()[this.ids().map(uriOf).indexOf(uri)];
  }

  list(): ToolResult {
    if (this.#refusal !== undefined) return sayFailed(this.#refusal);
    return say(this.#texts().length === 0 ? `This ${this.owner} has no notes.` : this.#lines());
  }

  /** What asks a model to summarize the notes. */
  summaryRequest(): string {
    if (this.#texts().length === 0) return 'Say that there are no notes yet.';
    return `Summarize these notes briefly:\n\n${this.#lines()}`;
  }

  /** @param tell - Tells clients of the change. */
  add(text: string, tell: () => Promise<void>): Promise<ToolResult> {
    return this.#change(
      (notes) =>
        notes.length >= MAX_NOTES
          ? `A ${this.owner} holds at most ${MAX_NOTES} notes.`
          : { notes: [...notes, text], done: `Added note ${notes.length + 1}.` },
      tell,
    );
  }

  /** @param tell - Tells clients of the change. It is called if a client may have subscribed to the note. */
  edit(id: string, text: string, tell: (uri: string) => Promise<void>): Promise<ToolResult> {
    const uri = uriOf(id);
    return this.#change(
      (notes) => {
        const index = this.ids().indexOf(id);
        if (index === -1) return `This ${this.owner} has no note ${id}.`;
        return { notes: notes.with(index, text), done: `Changed note ${id}.` };
      },
      async () => {
        if (this.#mayBeSubscribed(uri)) await tell(uri);
      },
    );
  }

  subscribe(uri: string): void {
    this.#subscribed.add(uri);
  }

  unsubscribe(uri: string): void {
    this.#subscribed.delete(uri);
  }

  /** A client without a session subscribes by a request of its own, which has a server of its own. */
  #mayBeSubscribed(uri: string): boolean {
    return this.#era === 'request' || this.#subscribed.has(uri);
  }

  /** Answers after the notes are saved, so that a confirmed change survives a restart. */
  async #change(make: Change, tell: () => Promise<void>): Promise<ToolResult> {
    if (this.#refusal !== undefined) return sayFailed(this.#refusal);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const made = make(this.#texts());
      if (typeof made === 'string') return sayFailed(made);
      const { notes, done } = made;
      let saving: Promise<void>;
      try {
        saving = this.#state.set('notes', notes);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return sayFailed(`There is no room for that: all notes of a ${this.owner} together take at most 64 KiB.`);
      }
      const saved = await saving.then(
        () => true,
        () => false,
      );
      // Another request of the user has changed the notes since they were read.
      if (!saved && this.#era === 'request' && !isDeepStrictEqual(this.#texts(), notes)) continue;
      await tell();
      if (saved) return say(done);
      // The server of a single request ends with it, and nothing saves the change later.
      if (this.#era === 'request') return sayFailed('The change may not be saved. List the notes to see.');
      // The change is in memory all the same. A model that reads only of a failure would repeat it.
      return sayFailed(`${done} It is not saved yet, and would be lost if the server ended now.`);
    }
    return sayFailed('Other requests keep changing the notes. Nothing was changed by this one.');
  }

  #texts(): readonly string[] {
    return (this.#state.get('notes') ?? []) as string[];
  }

  #lines(): string {
    return this.#texts()
      .map((text, index) => `${index + 1}: ${text}`)
      .join('\n');
  }
}

/** Titles, descriptions and schemas of the notes, for both versions of the SDK. */
export function describeNotes({ owner }: NoteList) {
  return {
    add: {
      title: 'Add a note',
      description: `Adds a note to this ${owner}. It becomes a resource, notes://{id}.`,
      inputSchema: addNoteInput,
    },
    edit: {
      title: 'Change a note',
      description: `Changes a note of this ${owner}; clients that subscribed to it are notified.`,
      inputSchema: editNoteInput,
    },
    list: { title: 'List the notes', description: `Lists the notes of this ${owner}, and of no other.` },
    resource: { title: 'Note', description: `A note of this ${owner}`, mimeType: 'text/plain' },
    prompt: {
      title: 'Summarize the notes',
      description: `Asks the model to summarize the notes of this ${owner}.`,
    },
  };
}
