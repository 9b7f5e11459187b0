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

/** Notifications of the server that may wait for the event store. They may have `maxStreamBuffer` characters together. */
const MAX_STORING = 1_000;

/** The number beyond which none of the app waits with them: each of the app goes to many sessions. */
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
  /** Notifications that wait for the event store. */
  readonly #storing = { count: 0, characters: 0 };
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
   * dropped, and reported, while too many wait for the event store.
   */
  send(message: JSONRPCMessage, json: string): Promise<void> | undefined {
    const id = 'id' in message ? message.id : undefined;
    const deliver = (eventId?: string): void => {
      if (this.#event(json, eventId)) return;
      if (id !== undefined) this.#addWaiting(id, { json, eventId });
      else if (isCancellation(message)) this.#waiting?.delete(message.params?.requestId as RequestId);
    };
    if (id !== undefined) return this.events.publish(message, deliver);
    const report = (error: unknown): void =>
      this.#side.context.events.emit('failure', 'a notification', error, this.#side.sessionId);
    // There are no more cancellations than requests, which wait for the store.
    if (!isCancellation(message) && !this.#mayStore(json)) report(new Error('too many wait for the event store'));
    // The server does not wait for a notification: one stalled client that resumes must not delay a broadcast to the others.
    else this.#publish(message, json, deliver)?.catch(report);
    return undefined;
  }

  /** Sends a notification of the app. Waits for the event store, if there is one, but never for the client's reader. */
  notify(message: JSONRPCNotification, json: string): Delivery | Promise<Delivery> {
    if (this.#stopped === 'sessionNotFound' || this.#storing.count >= MAX_STORING_OF_APP) return 'dropped';
    if (this.#undeclared.includes(message.method) || !(this.open || this.#mayBeResumed)) return 'dropped';
    const outcome: { delivery: Delivery } = { delivery: 'dropped' };
    const published = this.#publish(message, json, (eventId) => {
      // The event may have ended a reply whose reader is too slow.
      if (this.#event(json, eventId) && this.open) outcome.delivery = 'delivered';
      else if (eventId !== undefined && this.#mayBeResumed) outcome.delivery = 'stored';
    });
    return published?.then(() => outcome.delivery) ?? outcome.delivery;
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

  /** Whether one more notification of the server may wait for the event store. A single one may have any length. */
  #mayStore({ length }: string): boolean {
    const { count, characters } = this.#storing;
    return count === 0 || (count < MAX_STORING && characters + length <= this.#side.context.maxStreamBuffer);
  }

  /** Publishes a notification. Counts it while it waits for the event store. */
  #publish(
    message: JSONRPCMessage,
    { length }: string,
    deliver: (eventId?: string) => void,
  ): Promise<void> | undefined {
    const published = this.events.publish(message, deliver);
    if (published === undefined) return undefined;
    this.#storing.count += 1;
    this.#storing.characters += length;
    return published.finally(() => {
      this.#storing.count -= 1;
      this.#storing.characters -= length;
    });
  }

  /** Sends an event. Returns whether the stream was open. */
  #event(json: string, eventId: string | undefined): boolean {
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
      if (!resumed || eventId === undefined) this.#event(json, eventId);
    }
    this.#waiting = undefined;
  }
}

/** Of a request of the server, by the server. */
function isCancellation(message: JSONRPCMessage): message is JSONRPCNotification {
  return 'method' in message && message.method === 'notifications/cancelled';
}
