import type { JSONRPCMessage } from '../protocol/messages.js';
import { Refusal } from '../errors.js';
import type { SessionEventLog } from './session-events.js';
import type { Replay } from './replay.js';
import type { Reply } from './reply.js';

const ignore = (): void => undefined;

/**
 * An SSE stream in the sense of the specification: it outlives the HTTP replies that carry it one after the other
 * (spec 2025-11-25, basic/transports, "Resumability and Redelivery").
 *
 * With an event store, events are stored and sent one after the other. A resume reads in parallel, at its reader's speed. It
 * takes over between two events, so that none is missed. Without a store, events are sent synchronously.
 */
export class EventStream {
  /** The reply that carries the stream now. */
  reply: Reply | undefined;
  readonly streamId: string;
  readonly #eventLog: SessionEventLog | undefined;
  #lastEventId: string | undefined;
  #finished = false;
  /** The resume in progress. */
  #replay: Replay | undefined;
  #last: Promise<unknown> | undefined;

  constructor(eventLog: SessionEventLog | undefined, streamId: string) {
    this.#eventLog = eventLog;
    this.streamId = streamId;
  }

  /** Stores the message where there is a store, and delivers it. */
  publish(message: JSONRPCMessage, deliver: (eventId?: string) => void): Promise<void> | undefined {
    const eventLog = this.#eventLog;
    if (eventLog === undefined) {
      deliver();
      return undefined;
    }
    return this.#enqueue(async () => deliver(await this.#store(eventLog, message)));
  }

  /**
   * Begins the reply with an event that has an ID and no data, so that the client can resume before anything was sent.
   *
   * @returns Whether the reply began with an event ID. False without a store or a reply, and when the store failed.
   */
  prime(): Promise<boolean> {
    return this.#enqueue(async () => {
      const { reply } = this;
      const eventId = reply && this.#eventLog && (await this.#store(this.#eventLog));
      reply?.begin(eventId);
      return eventId !== undefined;
    });
  }

  /**
   * Whether the event is the last one of the stream. The store may have deleted the last event of a stream that was quiet for
   * longer than events are kept. The client can resume even then, as it missed nothing.
   */
  endsWith(eventId: string): boolean {
    return this.#lastEventId === eventId;
  }

  /** Makes a new reply carry the stream from now on. */
  carryOn(reply: Reply): void {
    this.#replay?.destroy('replaced');
    // Without a `retry` field: the client of the old reply need not reconnect, as the new reply carries the stream.
    this.reply?.end(false);
    this.reply = reply;
  }

  /**
   * Lets a new reply replace the current one, after it has sent the events that the client missed.
   *
   * @param makeReply - Called with the first event to send, or when nothing was missed. The current reply stays until then.
   * @returns Whether the client was sent all of them. False when it disconnected, or a newer resume has begun.
   * @throws Refusal `unknownEventId` when the event is not kept; ReplayStopped when the client has gone; the store's own errors.
   */
  async resume(
    replay: Replay,
    lastEventId: string,
    eventLog: SessionEventLog,
    makeReply: () => Reply,
  ): Promise<boolean> {
    replay.open = () => {
      this.reply?.end(false);
      this.reply = makeReply();
      this.reply.begin();
      return this.reply;
    };
    this.#replay = replay;
    // Answers that the store refuses later are published, and reach the replay that way.
    replay.refused = eventLog.refusedAnswers(this.streamId);
    let caughtUp = false;
    try {
      while (this.#replay === replay && !replay.stopped) {
        const from = replay.lastKey ?? lastEventId;
        const quiet = this.endsWith(from);
        replay.collect();
        const known = await eventLog.replay(from, this.streamId, replay);
        if (!known && !quiet) throw new Refusal('unknownEventId');
        // A queued job runs while no event is being stored. So a later event goes to the new reply directly.
        await this.#enqueue(() => {
          caughtUp = !replay.stopped && replay.catchUp();
          if (replay.stopped || caughtUp) this.#endReplay(replay);
        });
      }
      return caughtUp;
    } finally {
      this.#endReplay(replay);
    }
  }

  /** Whether an event that is sent now reaches a client, or a resume in progress. */
  get reaches(): boolean {
    return this.#replay !== undefined || this.reply?.live === true;
  }

  /**
   * Sends an event on the reply. While the reply is catching up, the event follows those that its client missed.
   *
   * @param follows - Whether a resume that has no reply yet also gets the event.
   */
  event(json: string, eventId: string | undefined, follows = eventId !== undefined): void {
    const replay = this.#replay;
    const catchingUp = this.#catchingUp;
    if (catchingUp || follows) replay?.follow(json, eventId);
    if (!catchingUp) this.reply?.event(json, eventId);
  }

  /** Sends the last event. */
  lastEvent(json: string, eventId: string | undefined): void {
    if (this.#replay === undefined) {
      this.#finished = true;
      this.reply?.lastEvent(json, eventId);
      return;
    }
    this.event(json, eventId, true);
    this.finish();
  }

  /**
   * Ends the reply, as no event follows.
   *
   * @param waits - Whether a resume in progress first sends the missed events. False at the end of the session.
   */
  finish(waits = true): void {
    this.#finished = true;
    if (!waits || !this.#catchingUp) this.reply?.end();
  }

  /** Called when a reply is over. Returns whether it carried the stream: false when another reply has taken over. */
  detach(reply: Reply): boolean {
    if (this.reply !== reply) return false;
    this.reply = undefined;
    return true;
  }

  /** Whether the current reply has not yet sent all events that its client missed. */
  get #catchingUp(): boolean {
    return this.#replay?.reply !== undefined && this.#replay.reply === this.reply;
  }

  #endReplay(replay: Replay): void {
    if (this.#replay !== replay) return;
    this.#replay = undefined;
    if (this.#finished && replay.reply === this.reply) this.reply?.end();
  }

  async #store(eventLog: SessionEventLog, message?: JSONRPCMessage): Promise<string | undefined> {
    const eventId = await eventLog.store(this.streamId, message);
    this.#lastEventId = eventId ?? this.#lastEventId;
    return eventId;
  }

  #enqueue<T>(job: () => Promise<T> | T): Promise<T> {
    const done = (this.#last ?? Promise.resolve()).then(job);
    this.#last = done.catch(ignore);
    return done;
  }
}
