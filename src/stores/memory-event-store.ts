import { randomInt } from 'node:crypto';
import type { JSONRPCMessage } from '../protocol/messages.js';
import { checkOptions, clock, count, timer, type Check } from '../runtime/checks.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { type SessionEventStore, sessionOf } from './session-event-store.js';

/** Options of {@link memoryEventStore}. `undefined` is the same as leaving the key out. */
export interface MemoryEventStoreOptions {
  /** Events kept of one stream. Beyond it, the stream's oldest event is dropped. Default: 1,000. */
  maxEventsPerStream?: number | undefined;
  /**
   * Bytes kept in all: the JSON text of the messages, and 656 bytes of overhead for each event. Beyond it, the oldest
   * event of all streams is dropped. Default: 67,108,864 (64 MiB).
   */
  maxBytes?: number | undefined;
  /**
   * Bytes kept of one session, counted in the same way. Beyond it, the session's oldest event is dropped, so that one session
   * cannot push out the events of all others. A larger event is not stored: `storeEvent` rejects. The router makes stream IDs whose
   * part before the first `-` is the session. Default: 8,388,608 (8 MiB), at most `maxBytes`.
   */
  maxBytesPerSession?: number | undefined;
  /** Milliseconds that an event is kept. Default: 300,000 (5 min). */
  maxAge?: number | undefined;
  /** Time and timers. Default: Node's. For tests. */
  clock?: Clock | undefined;
}

/** The SDK's `EventStore`. It removes a session's events when the session ends, and reports its size. */
export interface MemoryEventStore extends Required<SessionEventStore> {
  /** Events that are stored now. */
  readonly size: number;
  /** Streams that these events belong to. */
  readonly streams: number;
  /** Bytes that are stored now, as `maxBytes` counts them. */
  readonly bytes: number;
}

/**
 * One event, linked to the next of its stream and to its neighbours of the same session. It is kept as text: its size is
 * known, and the app cannot change it any more.
 */
interface StoredEvent {
  readonly sequence: number;
  readonly stream: Stream;
  readonly json: string;
  readonly bytes: number;
  readonly dueAt: number;
  next: StoredEvent | undefined;
  older: StoredEvent | undefined;
  younger: StoredEvent | undefined;
}

/** The events of one session. Dropped with its last event. */
interface SessionShare {
  readonly id: string;
  readonly streams: Set<Stream>;
  bytes: number;
  oldest: StoredEvent | undefined;
  newest: StoredEvent | undefined;
}

/** The events of one stream. Dropped with its last event. */
interface Stream {
  readonly id: string;
  readonly session: SessionShare;
  size: number;
  oldest: StoredEvent | undefined;
  newest: StoredEvent | undefined;
  /** The sequence of the event that was dropped last. All later events are stored, so a client that has it misses none. */
  dropped: number | undefined;
}

/**
 * Bytes that an event takes beside its text, so that many small events cannot outgrow `maxBytes`. A priming event is 2 bytes of
 * JSON. On Node 20: 180 bytes of heap on a long stream, 290 with two events on each stream, 650 for a session's only event.
 */
const EVENT_OVERHEAD = 656;

const MIB = 1024 * 1024;

const CHECKS = new Map<string, Check>([
  ['maxEventsPerStream', count],
  ['maxBytes', count],
  ['maxBytesPerSession', count],
  ['maxAge', timer],
  ['clock', clock],
]);

/**
 * Keeps the events of all streams in memory, bounded by number, bytes and age, so that clients can resume.
 *
 * A stream is replayed without a gap or not at all. An event ID is unknown if a later event of its stream was dropped.
 * The events end with the process. For several nodes use a store that they share.
 *
 * @throws TypeError for an unknown option or a wrong value, naming the option, its value and the values that it takes.
 *
 * @example
 * ```ts
 * mcpRouter({ serverFactory, eventStore: memoryEventStore({ maxAge: 60_000 }) });
 * ```
 */
export function memoryEventStore(options: MemoryEventStoreOptions = {}): MemoryEventStore {
  checkOptions('memoryEventStore', options, CHECKS);
  return new MemoryEvents(options);
}

/** See {@link memoryEventStore}. */
export class MemoryEvents implements MemoryEventStore {
  readonly #maxEventsPerStream: number;
  readonly #maxBytes: number;
  readonly #maxBytesPerSession: number;
  readonly #maxAge: number;
  readonly #clock: Clock;
  /** By sequence, which is the order of age over all streams. */
  readonly #events = new Map<number, StoredEvent>();
  readonly #streams = new Map<string, Stream>();
  /** By session, so that a purge visits only the streams of its session. */
  readonly #sessions = new Map<string, SessionShare>();
  /** Starts at a random number, so that an event ID of an earlier process is not taken for one of this process. */
  #sequence = randomInt(2 ** 30);
  /** No event with a lower sequence is stored. V8 finds a map's first key slowly after many earlier keys were deleted. */
  #lowest = this.#sequence;
  #bytes = 0;
  #timer: unknown;

  constructor(options: MemoryEventStoreOptions) {
    this.#maxEventsPerStream = options.maxEventsPerStream ?? 1_000;
    this.#maxBytes = options.maxBytes ?? 64 * MIB;
    this.#maxBytesPerSession = Math.min(this.#maxBytes, options.maxBytesPerSession ?? 8 * MIB);
    this.#maxAge = options.maxAge ?? 5 * 60_000;
    this.#clock = options.clock ?? systemClock;
  }

  get size(): number {
    return this.#events.size;
  }

  get streams(): number {
    return this.#streams.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Stores the event before it returns, so that events have the order of the calls.
   *
   * @throws Error when the event is larger than `maxBytesPerSession` or `maxBytes`. Stored events are kept.
   */
  storeEvent(streamId: string, message: JSONRPCMessage): Promise<string> {
    return new Promise((resolve) => resolve(this.#append(streamId, JSON.stringify(message))));
  }

  getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    return Promise.resolve(this.#locate(eventId)?.stream.id);
  }

  /**
   * Sends the events after the given one, and those that are stored during the replay. Rejects when `send` rejects. Rejects when
   * an event is dropped before it was sent, as the client would have a gap in its stream.
   */
  async replayEventsAfter(
    lastEventId: string,
    { send }: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const last = this.#locate(lastEventId);
    if (last === undefined) return '';
    const { stream } = last;
    let event = this.#following(stream, last.sequence);
    while (event !== undefined) {
      await send(idOf(stream.id, event.sequence), JSON.parse(event.json) as JSONRPCMessage);
      event = this.#following(stream, event.sequence);
    }
    return stream.id;
  }

  /** The JSON texts of a stream's events, oldest first. */
  textsOf(streamId: string): readonly string[] {
    const texts: string[] = [];
    for (let event = this.#streams.get(streamId)?.oldest; event !== undefined; event = event.next)
      texts.push(event.json);
    return texts;
  }

  purge(session: string): Promise<void> {
    for (const { id } of this.#sessions.get(sessionOf(session))?.streams ?? [])
      if (id.startsWith(`${session}-`)) this.#forget(id);
    return Promise.resolve();
  }

  #append(streamId: string, json: string): string {
    const bytes = Buffer.byteLength(json) + EVENT_OVERHEAD;
    // Storing it would push out the session's other events, and then the event itself.
    if (bytes > this.#maxBytesPerSession)
      throw new Error(`memoryEventStore: ${bytes} bytes are more than a session may hold`);
    const sequence = (this.#sequence += 1);
    const stream = this.#streams.get(streamId) ?? this.#open(streamId);
    const { session } = stream;
    const event: StoredEvent = {
      sequence,
      stream,
      json,
      bytes,
      dueAt: this.#clock.now() + this.#maxAge,
      next: undefined,
      older: session.newest,
      younger: undefined,
    };
    this.#events.set(sequence, event);
    this.#bytes += bytes;
    session.bytes += bytes;
    session.oldest ??= event;
    if (session.newest !== undefined) session.newest.younger = event;
    session.newest = event;
    stream.size += 1;
    stream.oldest ??= event;
    if (stream.newest !== undefined) stream.newest.next = event;
    stream.newest = event;
    this.#bound(stream);
    this.#arm();
    return idOf(streamId, sequence);
  }

  #open(id: string): Stream {
    const session = this.#shareOf(sessionOf(id));
    const stream: Stream = { id, session, size: 0, oldest: undefined, newest: undefined, dropped: undefined };
    this.#streams.set(id, stream);
    session.streams.add(stream);
    return stream;
  }

  #shareOf(id: string): SessionShare {
    const known = this.#sessions.get(id);
    if (known !== undefined) return known;
    const session: SessionShare = { id, streams: new Set(), bytes: 0, oldest: undefined, newest: undefined };
    this.#sessions.set(id, session);
    return session;
  }

  #bound(stream: Stream): void {
    for (let event = stream.oldest; event !== undefined && stream.size > this.#maxEventsPerStream; event = event.next) {
      this.#drop(event);
    }
    const { session } = stream;
    while (session.oldest !== undefined && session.bytes > this.#maxBytesPerSession) this.#drop(session.oldest);
    for (let event = this.#oldest(); event !== undefined && this.#bytes > this.#maxBytes; event = this.#oldest()) {
      this.#drop(event);
    }
  }

  #forget(streamId: string): void {
    for (let event = this.#streams.get(streamId)?.oldest; event !== undefined; event = event.next) this.#drop(event);
    this.#arm();
  }

  /** @param event - Must be the oldest one of its stream, so that a stream never has a gap. */
  #drop(event: StoredEvent): void {
    const { sequence, stream, bytes, next, older, younger } = event;
    const { session } = stream;
    this.#events.delete(sequence);
    this.#bytes -= bytes;
    session.bytes -= bytes;
    if (older === undefined) session.oldest = younger;
    else older.younger = younger;
    if (younger === undefined) session.newest = older;
    else younger.older = older;
    // A replay may still refer to the event. Without this, it would keep its neighbours in memory.
    event.older = event.younger = undefined;
    stream.size -= 1;
    stream.oldest = next;
    stream.dropped = sequence;
    if (next === undefined) this.#close(stream);
  }

  #close(stream: Stream): void {
    const { session } = stream;
    this.#streams.delete(stream.id);
    session.streams.delete(stream);
    if (session.streams.size === 0) this.#sessions.delete(session.id);
  }

  /** The oldest event of all. It is also its stream's oldest. */
  #oldest(): StoredEvent | undefined {
    if (this.#events.size === 0) return undefined;
    while (!this.#events.has(this.#lowest)) this.#lowest += 1;
    return this.#events.get(this.#lowest);
  }

  /** The place of an event ID in its stream. Undefined unless the ID was issued and all later events are stored. */
  #locate(eventId: string): { stream: Stream; sequence: number } | undefined {
    // The last underscore, as a stream ID may have any character.
    const separator = eventId.lastIndexOf('_');
    const stream = this.#streams.get(eventId.slice(0, separator));
    const sequence = Number(eventId.slice(separator + 1));
    // Only the spelling that was issued counts, as Number() also reads '', '0x1' and '1.0'.
    if (stream === undefined || eventId !== idOf(stream.id, sequence)) return undefined;
    const known = this.#events.get(sequence)?.stream === stream || stream.dropped === sequence;
    return known ? { stream, sequence } : undefined;
  }

  #following(stream: Stream, sequence: number): StoredEvent | undefined {
    const event = this.#events.get(sequence);
    if (event !== undefined) return event.next;
    if (stream.dropped === sequence) return stream.oldest;
    throw new Error('memoryEventStore: an event was dropped before it could be replayed');
  }

  /** Sets one timer, for the oldest event. If that event is dropped earlier, the timer fires without effect and is set again. */
  #arm(): void {
    const oldest = this.#oldest();
    if (oldest !== undefined) {
      const ms = Math.max(0, Math.ceil(oldest.dueAt - this.#clock.now()));
      this.#timer ??= this.#clock.setTimeout(this.#expire, ms);
      return;
    }
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #expire = (): void => {
    this.#timer = undefined;
    const now = this.#clock.now();
    for (let event = this.#oldest(); event !== undefined && event.dueAt <= now; event = this.#oldest()) {
      this.#drop(event);
    }
    this.#arm();
  };
}

function idOf(streamId: string, sequence: number): string {
  return `${streamId}_${sequence}`;
}
