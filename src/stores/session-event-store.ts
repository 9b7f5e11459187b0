import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

/** An event store of the SDK's interface that can also let go of a session's events when the session ends. */
export interface SessionEventStore extends EventStore {
  /** Removes the events of every stream whose ID is `session`, a `-`, and whatever follows. */
  purge(session: string): Promise<void>;
}
