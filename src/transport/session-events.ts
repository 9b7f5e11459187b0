import type { JSONRPCMessage, RequestId } from '../protocol/messages.js';
import type { Clock } from '../runtime/clock.js';
import type { ErrorName } from '../errors.js';
import type { STORE_OPERATIONS } from '../events.js';
import type { MemoryEvents } from '../stores/memory-event-store.js';
import { Fenced, type EventFence, type FencedEventStore, sessionHash } from '../stores/session-event-store.js';
import { timedCall, type OnStoreAnswer, type StoreCall } from '../stores/timed-call.js';
import { asPromise } from '../runtime/user-code.js';
import type { SessionInit, TransportContext, TransportOwner } from './transport-types.js';

type Operation = (typeof STORE_OPERATIONS)['event'][number];

const ignore = (): void => undefined;

/** An event that the store has read. */
export interface StoredEvent {
  /** Undefined when the store's ID cannot be sent in an event stream. */
  readonly id: string | undefined;
  /** The store's own ID of the event, even if it cannot be sent to a client. */
  readonly key: string;
  readonly json: string;
  /** The request that it answers. */
  readonly answers: RequestId | undefined;
}

/** Takes the events of a stream one after the other. Rejects to make the store stop reading. */
export interface EventSink {
  take(event: StoredEvent): Promise<void>;
  /** Called for each event that is read only to learn its stream. */
  skip(): Promise<void>;
}

/** Stands for the message that a priming event lacks. The SDK's transport stores the same, so event stores know it. */
const PRIMING = {} as JSONRPCMessage;

/** How long a store may take for one answer, in ms, so that no reply waits for ever. */
const STORE_TIMEOUT = 10_000;

/** After such a time-out, events are sent without IDs for this long, in ms. A late answer of the store ends the pause. */
const STORE_PAUSE = 60_000;

/** Guards events where another node may own the session: the fence that is stored with them, and the handler of a refusal. */
export interface Fencing {
  readonly fence: EventFence;
  readonly onFenced: () => void;
}

/** Keeps answers that the event store refused: a request is answered once, and its client may be disconnected then. */
export interface RefusedAnswers {
  /** Bounded by size and age. */
  readonly kept: MemoryEvents;
  /** The session, which outlives its server. */
  readonly owner: Pick<TransportOwner, 'answersRefused' | 'answerRefused'>;
}

/** Requests of a stream whose answers are lost, and the error that their client gets. */
export interface Loss {
  /** Empty when the IDs are not known. */
  readonly requests: readonly RequestId[];
  readonly reason: ErrorName;
}

/** Characters that request IDs may take in a stream ID. Many event stores make the stream ID a part of each event ID. */
const MAX_REQUESTS = 1024;

/**
 * One session's view of an event store that many sessions share.
 *
 * Stream IDs begin with a hash of the session's ID. So no two sessions share a stream ID, and a session finds its streams again
 * after a restart. The session ID itself never gets into the store, or into event IDs. Events that the store returns are
 * compared with this prefix, so that no client gets an event of another session (spec 2025-11-25, basic/transports,
 * "Resumability and Redelivery": the server must not replay messages of a different stream).
 */
export class SessionEventLog {
  readonly standaloneId: string;
  readonly #store: FencedEventStore;
  readonly #fencing: Fencing | undefined;
  readonly #prefix: string;
  readonly #epoch: number;
  readonly #firstEpoch: number;
  readonly #clock: Clock;
  readonly #onFailure: (what: string, error: unknown) => void;
  readonly #onAnswer: OnStoreAnswer;
  readonly #refused: RefusedAnswers | undefined;
  #streams = 0;
  /** The store gets no events until this time of the router's clock. */
  #pausedUntil = 0;

  /** @param firstEpoch - The epoch in which this process got the session. Requests of earlier epochs ended with their process. */
  constructor(
    store: FencedEventStore,
    sessionId: string,
    epoch: number,
    clock: Clock,
    onFailure: (what: string, error: unknown) => void,
    firstEpoch = epoch,
    fencing?: Fencing,
    refused?: RefusedAnswers,
    onAnswer: OnStoreAnswer = ignore,
  ) {
    this.#store = store;
    this.#prefix = sessionHash(sessionId);
    this.#epoch = epoch;
    this.#firstEpoch = firstEpoch;
    this.#fencing = fencing;
    this.#refused = refused;
    this.#clock = clock;
    this.#onFailure = onFailure;
    this.#onAnswer = onAnswer;
    this.standaloneId = `${this.#prefix}-get`;
  }

  /** Whether the session had no server before this one: no client can have an event of its streams yet. */
  get isNew(): boolean {
    return this.#epoch === 0;
  }

  /** An ID for the stream of some requests. It contains their IDs, for {@link lossOf}. */
  newStreamId(requests: readonly RequestId[]): string {
    this.#streams += 1;
    const ids = Buffer.from(JSON.stringify(requests)).toString('hex');
    return `${this.#prefix}-${this.#epoch}.${this.#streams}-${ids.length > MAX_REQUESTS ? '' : ids}`;
  }

  /**
   * The answers that may be lost on a stream without unsettled requests. Undefined when all were stored. Requests of an earlier
   * process are lost with it.
   */
  lossOf(streamId: string): Loss | undefined {
    const [, epoch, ids = ''] = /^(\d+)\.\d+-([0-9a-f]*)$/.exec(streamId.slice(this.#prefix.length + 1)) ?? [];
    const isEarlierProcess = Number(epoch) < this.#firstEpoch;
    if (epoch === undefined || (!isEarlierProcess && this.#refused?.owner.answersRefused !== true)) return undefined;
    return {
      requests: requestIds(Buffer.from(ids, 'hex').toString()),
      reason: isEarlierProcess ? 'outcomeUnknown' : 'answerNotStored',
    };
  }

  /** The answers of a stream that the store refused, as JSON text. */
  refusedAnswers(streamId: string): readonly string[] {
    return this.#refused?.kept.textsOf(streamId) ?? [];
  }

  /**
   * The stream of an event that the store does not know. Most stores begin event IDs with the stream ID. Undefined when the ID
   * does not begin so, or when no earlier process can have lost the event.
   */
  lostStreamOf(eventId: string): string | undefined {
    if (!this.#owns(eventId)) return undefined;
    const [rest] = /^(get|\d+\.\d+-[0-9a-f]*)/.exec(eventId.slice(this.#prefix.length + 1)) ?? [];
    if (rest === undefined || (rest === 'get' && this.#firstEpoch === 0)) return undefined;
    return `${this.#prefix}-${rest}`;
  }

  /** The ID under which the message can be replayed. Undefined when storing failed: the message is delivered even then. */
  async store(streamId: string, message: JSONRPCMessage = PRIMING): Promise<string | undefined> {
    // Without the pause, each event of a call would wait for its own time-out, and the answer would be late by minutes.
    if (this.#clock.now() < this.#pausedUntil) {
      this.#keepAnswer(streamId, message);
      return undefined;
    }
    try {
      const id = await this.#ask('storeEvent', () => this.#store.storeEvent(streamId, message, this.#fencing?.fence), {
        isFault: (error) => !(error instanceof Fenced),
      });
      if (isSendable(id)) return id;
      throw new TypeError('the event store gave an event ID that is empty or has a line break');
    } catch (error) {
      this.#onFailure('event store: storeEvent', error);
      if (error instanceof Fenced) this.#fencing?.onFenced();
      else this.#keepAnswer(streamId, message);
      return undefined;
    }
  }

  /**
   * The stream of this session that the event belongs to. Undefined when the event is another session's, or not known.
   *
   * @param sink - Skips the events that a store without `getStreamIdForEventId` reads to find the stream.
   * @throws The error of the store or of the sink.
   */
  async streamOf(eventId: string, sink: Pick<EventSink, 'skip'>): Promise<string | undefined> {
    const store = this.#store;
    const streamId =
      store.getStreamIdForEventId === undefined
        ? await this.#read(eventId, () => sink.skip())
        : await this.#ask('getStreamIdForEventId', async () => store.getStreamIdForEventId?.(eventId));
    return this.#owns(streamId) ? streamId : undefined;
  }

  /**
   * Hands the events after the given one on its stream to the sink, one after the other. Resolves to false when the store does
   * not know the event.
   *
   * @param streamId - The result of {@link streamOf}, which proves that the stream is this session's.
   * @throws The error of the store or of the sink.
   * @throws Error when the store has read another stream.
   */
  async replay(eventId: string, streamId: string, sink: Pick<EventSink, 'take'>): Promise<boolean> {
    const seen = { any: false };
    const replayed = await this.#read(eventId, async (key, message) => {
      if (!('jsonrpc' in message)) return;
      seen.any = true;
      const answers = 'method' in message ? undefined : message.id;
      await sink.take({ id: isSendable(key) ? key : undefined, key, json: JSON.stringify(message), answers });
    });
    if (replayed === streamId) return true;
    if (seen.any) throw new Error('the event store read another stream than that of the event');
    return false;
  }

  /** Keeps the answer even while its reply is open, as a disconnect may be noticed late. */
  #keepAnswer(streamId: string, message: JSONRPCMessage): void {
    const refused = this.#refused;
    if (refused === undefined || !('id' in message) || 'method' in message) return;
    refused.owner.answerRefused();
    // If the answer is too large to be kept, a resume gets an error in its place (`lossOf`).
    refused.kept.storeEvent(streamId, message).catch(() => undefined);
  }

  /** Makes the store read the events after the given one. The time-out counts while the store reads, not while `take` runs. */
  async #read(eventId: string, take: (key: string, message: JSONRPCMessage) => Promise<void>): Promise<string> {
    const reading = new ReadingTime(this.#clock);
    let over = false;
    let stoppedBy: unknown;
    const send = async (key: string, message: JSONRPCMessage): Promise<void> => {
      if (over) throw new Error('the event store did not answer in time');
      reading.pause();
      try {
        await take(key, message);
      } catch (error) {
        stoppedBy = error;
        throw error;
      }
      reading.resume();
    };
    try {
      return await this.#ask('replayEventsAfter', () => this.#store.replayEventsAfter(eventId, { send }), {
        remaining: () => STORE_TIMEOUT - reading.current,
        taken: () => reading.total,
        isFault: (error) => error !== stoppedBy,
      });
    } finally {
      over = true;
    }
  }

  #ask<T>(
    operation: Operation,
    ask: () => Promise<T>,
    more: Pick<StoreCall<T>, 'remaining' | 'taken' | 'isFault'> = {},
  ): Promise<T> {
    const answer = asPromise(ask);
    const onTimeout = (): Error => {
      this.#pausedUntil = this.#clock.now() + STORE_PAUSE;
      const answered = (): void => void (this.#pausedUntil = 0);
      answer.then(answered, answered);
      return new Error('the event store did not answer in time');
    };
    return timedCall(this.#clock, { operation, answer, limit: STORE_TIMEOUT, onTimeout, ...more }, this.#onAnswer);
  }

  #owns(streamId: string | undefined): streamId is string {
    return typeof streamId === 'string' && streamId.startsWith(`${this.#prefix}-`);
  }
}

/** How long a store reads, without the time in which its events are sent. In ms. */
class ReadingTime {
  readonly #clock: Clock;
  #since: number | undefined;
  #before = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.resume();
  }

  /** Since it began to read, or to read on. 0 while an event is being sent. */
  get current(): number {
    return this.#since === undefined ? 0 : this.#clock.now() - this.#since;
  }

  get total(): number {
    return this.#before + this.current;
  }

  pause(): void {
    this.#before = this.total;
    this.#since = undefined;
  }

  resume(): void {
    this.#since = this.#clock.now();
  }
}

/** The events of a session, if its router has an event store. */
export function createEventLog(
  { id, owner, epoch, firstEpoch, eventStore, fence }: SessionInit,
  { clock, events, refusedAnswers: kept }: TransportContext,
): SessionEventLog | undefined {
  if (eventStore === undefined) return undefined;
  const onFailure = (what: string, error: unknown): void => events.emit('failure', what, error, id);
  const fencing = fence && { fence, onFenced: () => owner.fenced() };
  const onAnswer: OnStoreAnswer = (...answer) => events.emit('storeAnswered', 'event', ...answer);
  const refused = kept && { kept, owner };
  return new SessionEventLog(eventStore, id, epoch, clock, onFailure, firstEpoch, fencing, refused, onAnswer);
}

/** The text comes from an event ID that a client has sent, so it may be anything. */
function requestIds(json: string): readonly RequestId[] {
  try {
    const ids: unknown = JSON.parse(json);
    return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string' || typeof id === 'number') : [];
  } catch {
    return [];
  }
}

/** The ID becomes a field of the event stream, where a line break would begin another field (HTML, 9.2.6). */
function isSendable(eventId: unknown): eventId is string {
  return typeof eventId === 'string' && eventId !== '' && !/[\0\r\n]/.test(eventId);
}
