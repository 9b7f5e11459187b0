import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { JSONRPCMessage, JSONRPCNotification, RequestId } from '../protocol/messages.js';
import { undeclaredBy } from '../protocol/notifications.js';
import { Deadline } from '../runtime/deadline-queue.js';
import { Refusal, type ErrorName } from '../errors.js';
import { EventStream } from './event-stream.js';
import type { Delivery, Lease, TransportSide } from './transport-types.js';
import type { SessionEventLog } from './session-events.js';
import { Probe } from './probe.js';
import type { Replay } from './replay.js';
import { Reply, type ReplyListener } from './reply.js';

/** Requests that may wait for a stream: more than a server sends before its client has opened the stream. */
const MAX_WAITING = 32;

/**
 * Notifications that may wait for the event store while their server goes on. They may have `maxStreamBuffer` characters together.
 * Beyond it, a server that awaits a notification waits for the store.
 */
const MAX_AHEAD = 1_000;

/** At this multiple of both bounds, notifications are dropped: their server does not await them. */
const DROPPED_FROM = 10;

/** Notifications of the app that may wait for the event store. They are few, as each of the app goes to many sessions. */
const MAX_STORING_OF_APP = 32;

interface Waiting {
  readonly json: string;
  readonly eventId: string | undefined;
}

/** The stream that a GET opens, for messages of the server that belong to no request of the client. A session has one. */
export class StandaloneStream implements ReplyListener {
  readonly events: EventStream;
  readonly #side: TransportSide;
  /** Undefined while no reply is open. */
  #lease: Lease | undefined;
  #openReplies = 0;
  /**
   * Requests sent while no stream is open. The SDK's client opens its stream after `notifications/initialized`. A server that
   * asks for the client's roots at that moment would otherwise wait for its time-out.
   */
  #waiting: Map<RequestId, Waiting> | undefined;
  #pingDue: Deadline<{ ping(): void }> | undefined;
  #unansweredPing: string | undefined;
  /** The unanswered ping that finds out whether the stream still has a reader. */
  #probe: Probe | undefined;
  /** The ID of the last probe. A late answer to it must not reach the server. */
  #probeId: string | undefined;
  /** Notifications of the server that wait for the event store. */
  readonly #storing = { count: 0, characters: 0 };
  /** Those of the app. A burst of the server must not take their place. */
  #storingOfApp = 0;
  /** The notifications that the server has not declared. So the app must not send them either. */
  #undeclared: readonly string[] = [];
  /** The reason why the stream may not be opened again. */
  #stopped: ErrorName | undefined;
  /** Whether the client may have the ID of an event, without which it cannot resume the stream. */
  #mayBeResumed: boolean;

  constructor(side: TransportSide, eventLog: SessionEventLog | undefined) {
    this.#side = side;
    this.events = new EventStream(eventLog, eventLog?.standaloneId ?? '');
    this.#mayBeResumed = eventLog?.isNew === false;
  }

  /** @param capabilities - Those of the server. The app may send only notifications that they allow. */
  restrict(capabilities: unknown): void {
    this.#undeclared = undeclaredBy(capabilities);
  }

  get open(): boolean {
    return this.events.reply?.live === true;
  }

  /**
   * Opens the stream on a new reply.
   *
   * @param replace - Whether to end a stream that is already open without a ping: its client has lost it.
   * @throws Refusal when the client of an open stream answers a ping, or this stream was stopped.
   */
  async start(res: ServerResponse, primed: boolean, replace = false): Promise<void> {
    if (this.#stopped !== undefined) throw new Refusal(this.#stopped);
    if (this.open && !replace) await this.#takeOver(res);
    const reply = this.#openReply(res);
    this.events.carryOn(reply);
    this.#opened();
    // Waiting requests have event IDs already, which come before the ID of a priming event. So they take its place.
    if (!primed || (this.#waiting?.size ?? 0) > 0) reply.begin();
    else if (await this.events.prime()) this.#mayBeResumed = true;
    this.#sendWaiting(reply, false);
  }

  /**
   * Lets a new reply take over, after it has sent the events that the client missed.
   *
   * @returns Whether the client was sent all of them.
   * @throws Refusal when the stream was stopped.
   * @throws The errors of `EventStream.resume`.
   */
  async resume(res: ServerResponse, replay: Replay, lastEventId: string, eventLog: SessionEventLog): Promise<boolean> {
    if (this.#stopped !== undefined) throw new Refusal(this.#stopped);
    const caughtUp = await this.events.resume(replay, lastEventId, eventLog, () => {
      const reply = this.#openReply(res);
      this.#opened();
      return reply;
    });
    if (replay.reply !== undefined) this.#sendWaiting(replay.reply, true);
    return caughtUp;
  }

  /** Ends the stream for good: a GET for it is refused from now on. */
  stop(reason: ErrorName): void {
    this.#stopped = reason;
    this.#probe?.settle(true);
    this.events.finish();
  }

  /** Ends the stream with its session. */
  close(): void {
    this.#stopped ??= 'sessionNotFound';
    this.#probe?.settle(true);
    this.events.finish(false);
  }

  /**
   * Sends a request or notification. While no stream is open, a request waits and a notification is dropped. A notification is also
   * dropped, and reported, while far too many wait for the event store.
   *
   * @returns A promise that waits for the event store, never for the client's reader. Undefined when the server may go on.
   */
  send(message: JSONRPCMessage, json: string): Promise<void> | undefined {
    const id = 'id' in message ? message.id : undefined;
    const deliver = (eventId?: string): void => {
      if (this.#sendEvent(json, eventId)) return;
      if (id !== undefined) this.#addWaiting(id, { json, eventId });
      else if (isCancellation(message)) this.#waiting?.delete(message.params?.requestId as RequestId);
    };
    return id === undefined ? this.#tell(message, json, deliver) : this.events.publish(message, deliver);
  }

  /** Sends a notification of the app. Waits for the event store, if there is one, but never for the client's reader. */
  notify(message: JSONRPCNotification, json: string): Delivery | Promise<Delivery> {
    if (this.#stopped === 'sessionNotFound' || this.#storingOfApp >= MAX_STORING_OF_APP) return 'dropped';
    if (this.#undeclared.includes(message.method) || !(this.open || this.#mayBeResumed)) return 'dropped';
    const outcome: { delivery: Delivery } = { delivery: 'dropped' };
    const stored = this.events.publish(message, (eventId) => {
      // The event may have ended a reply whose reader is too slow.
      if (this.#sendEvent(json, eventId) && this.open) outcome.delivery = 'delivered';
      else if (eventId !== undefined && this.#mayBeResumed) outcome.delivery = 'stored';
    });
    if (stored === undefined) return outcome.delivery;
    this.#storingOfApp += 1;
    return stored.then(() => outcome.delivery).finally(() => (this.#storingOfApp -= 1));
  }

  /** Sends a ping. Ends the stream instead if the client has not answered the last ping. */
  ping(): void {
    if (!this.open) return;
    if (this.#unansweredPing !== undefined) {
      this.events.reply?.destroy('ping_unanswered');
      return;
    }
    this.#unansweredPing = randomUUID();
    this.events.reply?.event(JSON.stringify({ jsonrpc: '2.0', id: this.#unansweredPing, method: 'ping' }));
    this.#pingLater();
  }

  /** Takes the answer to a ping of this stream. Returns false when it answers another request. */
  takesAnswer(id: RequestId | undefined): boolean {
    if (id !== undefined && id === this.#probeId) {
      this.#probe?.settle(true);
      return true;
    }
    if (id === undefined || id !== this.#unansweredPing) return false;
    this.#unansweredPing = undefined;
    return true;
  }

  replyClosed(reply: Reply, complete: boolean): void {
    if (this.events.detach(reply)) {
      this.#probe?.settle(false);
      this.#pingDue?.cancel();
      if (!complete) this.#side.owner?.streamLost();
    }
    this.#openReplies -= 1;
    if (this.#openReplies > 0) return;
    this.#lease?.release();
    this.#lease = undefined;
  }

  /** Publishes a notification of the server. */
  #tell(message: JSONRPCMessage, json: string, deliver: (eventId?: string) => void): Promise<void> | undefined {
    const report = (error: unknown): void =>
      this.#side.context.events.emit('failure', 'a notification', error, this.#side.sessionId);
    // There are no more cancellations than requests, which wait for the store.
    if (!isCancellation(message) && this.#isFull(json, DROPPED_FROM)) {
      report(new Error('too many wait for the event store'));
      return undefined;
    }
    const mayGoOn = !this.#isFull(json);
    const stored = this.events.publish(message, deliver);
    if (stored === undefined) return undefined;
    this.#storing.count += 1;
    this.#storing.characters += json.length;
    const done = stored.catch(report).finally(() => {
      this.#storing.count -= 1;
      this.#storing.characters -= json.length;
    });
    // A server that tells many sessions one after the other must not wait for the store each time.
    return mayGoOn ? undefined : done;
  }

  /** Whether one more notification exceeds a multiple of the bounds for the server. A single one may have any length. */
  #isFull({ length }: string, multiple = 1): boolean {
    const { count, characters } = this.#storing;
    if (count === 0) return false;
    return count >= multiple * MAX_AHEAD || characters + length > multiple * this.#side.context.maxStreamBuffer;
  }

  /** Sends an event. Returns whether the stream was open. */
  #sendEvent(json: string, eventId: string | undefined): boolean {
    const { open } = this;
    this.events.event(json, eventId);
    if (open && eventId !== undefined) this.#mayBeResumed = true;
    return open;
  }

  #openReply(res: ServerResponse): Reply {
    this.#lease ??= this.#side.owner?.acquire('standalone');
    this.#openReplies += 1;
    return new Reply(res, 'standalone', this.#side, this);
  }

  /**
   * Ends an open stream if its client does not answer a ping. All GETs that arrive while the ping is unanswered share it.
   *
   * @throws Refusal `streamConflict` when the client answers, or a newer GET takes the stream; or the reason of `stop`.
   */
  async #takeOver(res: ServerResponse): Promise<void> {
    const { reply } = this.events;
    if (reply === undefined) return;
    const probe = (this.#probe ??= this.#ask(reply));
    probe.wait(res);
    const lives = await probe.lives;
    if (this.#stopped !== undefined) throw new Refusal(this.#stopped);
    if (lives || !probe.isNewest(res)) throw new Refusal('streamConflict');
    // Destroyed, not ended: the old client does not read the rest, so a proxy would keep the connection open.
    probe.reply.destroy('replaced');
  }

  #ask(reply: Reply): Probe {
    const probe = new Probe(this.#side.context.clock, reply, () => (this.#probe = undefined));
    this.#probeId = probe.id;
    return probe;
  }

  #opened(): void {
    this.#probe?.settle(true);
    this.#unansweredPing = undefined;
    this.#pingLater();
  }

  #pingLater(): void {
    const { pings } = this.#side.context;
    if (pings === undefined) return;
    this.#pingDue ??= new Deadline<{ ping(): void }>(this);
    pings.add(this.#pingDue);
  }

  #addWaiting(id: RequestId, waiting: Waiting): void {
    this.#waiting ??= new Map();
    if (this.#waiting.size >= MAX_WAITING) {
      throw new Error('The client has no SSE stream open, and too many requests wait for one already');
    }
    this.#waiting.set(id, waiting);
  }

  /** Sends the waiting requests, if the reply carries the stream. A resume has already sent those that were stored. */
  #sendWaiting(reply: Reply, resumed: boolean): void {
    if (this.events.reply !== reply || !reply.live) return;
    for (const { json, eventId } of this.#waiting?.values() ?? []) {
      if (!resumed || eventId === undefined) this.#sendEvent(json, eventId);
    }
    this.#waiting = undefined;
  }
}

/** Of a request of the server, by the server. */
function isCancellation(message: JSONRPCMessage): message is JSONRPCNotification {
  return 'method' in message && message.method === 'notifications/cancelled';
}
