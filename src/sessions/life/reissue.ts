import { randomUUID } from 'node:crypto';
import { Deadline, DeadlineQueue } from '../../runtime/deadline-queue.js';
import type { CoreEvents } from '../../events.js';
import type { Emitter } from '../../runtime/emitter.js';
import { openSession, type Caller, type SessionParts } from './open.js';
import type { Session } from '../session.js';

/** How long a session waits for the client to use its ID, in ms. A client uses it at once or never. */
const UNCLAIMED_TTL = 60_000;

/** The share of `maxSessions` that may wait at a time, so that a client with invented IDs cannot fill the router. */
const UNCLAIMED_SHARE = 0.1;

interface Issue {
  readonly key: string;
  readonly session: Promise<Session | undefined>;
  /** The session once it is open; null when there is none. */
  opened: Session | null | undefined;
}

/** Opens a new session in place of one that has ended, for a client that takes the new ID from a 404. */
export class Reissuer {
  readonly #parts: SessionParts;
  readonly #events: Emitter<CoreEvents>;
  readonly #isSessionId: (id: string) => boolean;
  readonly #maxWaiting: number;
  /** By stale ID and principal, so that parallel requests get the same session. */
  readonly #issued = new Map<string, Issue>();
  readonly #unclaimed: DeadlineQueue<Issue>;

  /** @param isSessionId - Whether this router could have issued the ID. */
  constructor(
    parts: SessionParts,
    events: Emitter<CoreEvents>,
    isSessionId: (id: string) => boolean,
    maxSessions: number,
  ) {
    this.#parts = parts;
    this.#events = events;
    this.#isSessionId = isSessionId;
    this.#maxWaiting = Math.max(1, Math.floor(maxSessions * UNCLAIMED_SHARE));
    this.#unclaimed = new DeadlineQueue(parts.registry.clock, UNCLAIMED_TTL, (issue) => void this.#expire(issue));
  }

  /**
   * The ID of the session that replaces the one with the stale ID. Undefined when none could be opened. Never rejects.
   *
   * @param version - The protocol version that the client sent with its request.
   */
  async reissue(stale: string, version: string, caller: Caller): Promise<string | undefined> {
    if (!this.#isSessionId(stale)) return undefined;
    const key = JSON.stringify([stale, caller.principal]);
    const session = await (this.#issued.get(key) ?? this.#issue(key, version, caller))?.session;
    return session?.state === 'closed' ? undefined : session?.id;
  }

  #issue(key: string, version: string, caller: Caller): Issue | undefined {
    if (this.#issued.size >= this.#maxWaiting) this.#forgetClaimed();
    // The client may never use the new session, so no other session is evicted for it.
    if (this.#issued.size >= this.#maxWaiting || !this.#parts.registry.caps.hasRoom(caller.principal)) return undefined;
    const session = this.#open(version, caller);
    const issue: Issue = { key, session, opened: undefined };
    void session.then((opened) => (issue.opened = opened ?? null));
    this.#issued.set(key, issue);
    this.#unclaimed.add(new Deadline(issue));
    return issue;
  }

  async #open(version: string, caller: Caller): Promise<Session | undefined> {
    const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: 'unknown', version: '0' } };
    try {
      const { session } = await openSession(this.#parts, {
        ...caller,
        message: { jsonrpc: '2.0', id: randomUUID(), method: 'initialize', params },
        params,
        evicts: false,
        onGone: () => undefined,
      });
      session?.transport?.tell({ jsonrpc: '2.0', method: 'notifications/initialized' }, caller.extra);
      return session;
    } catch (error) {
      this.#events.emit('failure', 'a session could not be reissued', error);
      return undefined;
    }
  }

  /** Sessions that were used, or could not be opened, wait for no client any more. */
  #forgetClaimed(): void {
    for (const { key, opened } of this.#issued.values()) {
      if (opened === null || opened?.used === true) this.#issued.delete(key);
    }
  }

  async #expire(issue: Issue): Promise<void> {
    if (this.#issued.get(issue.key) === issue) this.#issued.delete(issue.key);
    const session = await issue.session;
    if (session?.used === false) await this.#parts.registry.close(session, 'expired');
  }
}
