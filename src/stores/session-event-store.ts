import type { JSONRPCMessage } from '../protocol/messages.js';
import type { EventStore } from '../protocol/wire-transport.js';
import { createHash } from 'node:crypto';

/** An event store of the SDK's interface that can also remove a session's events when the session ends. */
export interface SessionEventStore extends EventStore {
  /** Removes the events of every stream whose ID begins with `session` and a `-`. */
  purge(session: string): Promise<void>;
}

/** The owner and the epoch that a session's record in Redis must have, so that an event of the session may be stored. */
export interface EventFence {
  /** The record's key. */
  readonly key: string;
  readonly owner: string;
  readonly epoch: number;
}

/** An event store that may check whether the node that stores the event still owns the session. */
export interface FencedEventStore extends EventStore, Partial<Pick<SessionEventStore, 'purge'>> {
  /** @throws Fenced when another node owns the session. */
  storeEvent(streamId: string, message: JSONRPCMessage, fence?: EventFence): Promise<string>;
}

/** Another node owns the session, or the session is in another epoch. This node must send nothing more for it. */
export class Fenced extends Error {
  override readonly name = 'Fenced';
}

/** The name of a session in keys and stream IDs. They must not contain the session ID itself, as it is a credential. */
export function sessionHash(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('hex').slice(0, 32);
}

/** The session of a stream: the part of its ID before the first `-`, or the whole ID. */
export function sessionOf(streamId: string): string {
  const end = streamId.indexOf('-');
  return end === -1 ? streamId : streamId.slice(0, end);
}
