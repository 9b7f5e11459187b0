import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';

/** An event store of the SDK's interface that can also let go of a session's events when the session ends. */
export interface SessionEventStore extends EventStore {
  /** Removes the events of every stream whose ID is `session`, a `-`, and whatever follows. */
  purge(session: string): Promise<void>;
}

/** By whom and in which epoch a session must be owned, by its record in Redis, for an event of it to be stored. */
export interface EventFence {
  /** The record's key. */
  readonly key: string;
  readonly owner: string;
  readonly epoch: number;
}

/** An event store that may be able to tell whether the session is still owned by who stores the event. */
export interface FencedEventStore extends EventStore, Partial<Pick<SessionEventStore, 'purge'>> {
  /** @throws Fenced when the session is another node's by now. */
  storeEvent(streamId: string, message: JSONRPCMessage, fence?: EventFence): Promise<string>;
}

/** The session is owned by another node, or in another epoch: whoever is told so must say nothing more for it. */
export class Fenced extends Error {
  override readonly name = 'Fenced';
}
