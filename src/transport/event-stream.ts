import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import type { SessionEventLog } from './session-events.js';
import type { Replay } from './replay.js';
import type { Reply } from './reply.js';

const ignore = (): void => undefined;

/**
 * A stream of events as the specification means it: it outlives the HTTP replies that carry it one after the other.
 *
 * With an event store, events are stored and sent one after the other. A resume reads in parallel, at its reader's speed. It
 * takes over between two events, so that none is missed. Without a store, all is synchronous.
 */
export class EventStream {
  /** The reply that carries the stream now. */
  reply: Reply | undefined;
  readonly streamId: string;
  readonly #view: SessionEventLog | undefined;
  #lastEventId: string | undefined;
  #finished = false;
  /** The resume that is under way. */
  #replay: Replay | undefined;
  #last: Promise<void> | undefined;

  constructor(view: SessionEventLog | undefined, streamId: string) {
    this.#view = view;
    this.streamId = streamId;
  }

  /** Stores the message where there is a store, and delivers it. */
  publish(message: JSONRPCMessage, deliver: (eventId?: string) => void): Promise<void> | undefined {
    const view = this.#view;
    if (view === undefined) {
      deliver();
      return undefined;
    }
    return this.#inTurn(async () => deliver(await this.#store(view, message)));
  }

  /** Begins the reply with an event that has an ID and no data, so that the client can resume before anything was sent. */
  async prime(): Promise<void> {
    const view = this.#view;
    await this.#inTurn(async () => this.reply?.begin(view && (await this.#store(view))));
  }

  /**
   * Whether nothing came after the event. The store may have let go of it then: a stream that is quiet for longer than events
   * are kept must still be there for its client.
   */
  endsWith(eventId: string): boolean {
    return this.#lastEventId === eventId;
  }

  /** Makes a fresh reply carry the stream from now on. */
  carryOn(reply: Reply): void {
    this.#replay?.destroy();
    // Its client is not to come back for what it has already.
    this.reply?.end(false);
    this.reply = reply;
  }

  /**
   * Lets a new reply replace the current one, after it has sent the events that the client missed.
   *
   * @param makeReply - Called with the first event to send, or when nothing was missed. The current reply stays until then.
   * @throws Refusal `unknownEventId` when the event is not kept; ReplayStopped when the client has gone; the store's own errors.
   */
  async resume(replay: Replay, lastEventId: string, view: SessionEventLog, makeReply: () => Reply): Promise<void> {
    replay.open = () => {
      this.reply?.end(false);
      this.reply = makeReply();
      this.reply.begin();
      return this.reply;
    };
    this.#replay = replay;
    // Answers that the store refuses later are published, and reach the replay that way.
    replay.refused = view.refusedAnswers(this.streamId);
    try {
      while (this.#replay === replay && !replay.stopped) {
        const from = replay.lastKey ?? lastEventId;
        const quiet = this.endsWith(from);
        replay.collect();
        const known = await view.replay(from, this.streamId, replay);
        if (!known && !quiet) throw new Refusal('unknownEventId');
        // In turn no event is being stored, so a later event goes to the new reply itself.
        await this.#inTurn(() => {
          if (replay.stopped || replay.catchUp()) this.#settled(replay);
        });
      }
    } finally {
      this.#settled(replay);
    }
  }

  /** Whether an event that is sent now reaches a client, or a resume that is under way. */
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
   * Nothing more will come: ends the reply.
   *
   * @param waits - Whether a resume that is under way sends what was missed first. False at the end of the session.
   */
  finish(waits = true): void {
    this.#finished = true;
    if (!waits || !this.#catchingUp) this.reply?.end();
  }

  /** The reply is over; unless another has taken over, nothing carries the stream. */
  detach(reply: Reply): boolean {
    if (this.reply !== reply) return false;
    this.reply = undefined;
    return true;
  }

  /** Whether the current reply has not yet sent all events that its client missed. */
  get #catchingUp(): boolean {
    return this.#replay?.reply !== undefined && this.#replay.reply === this.reply;
  }

  #settled(replay: Replay): void {
    if (this.#replay !== replay) return;
    this.#replay = undefined;
    if (this.#finished && replay.reply === this.reply) this.reply?.end();
  }

  async #store(view: SessionEventLog, message?: JSONRPCMessage): Promise<string | undefined> {
    const eventId = await view.store(this.streamId, message);
    this.#lastEventId = eventId ?? this.#lastEventId;
    return eventId;
  }

  #inTurn(job: () => Promise<void> | void): Promise<void> {
    const done = (this.#last ?? Promise.resolve()).then(job);
    this.#last = done.catch(ignore);
    return done;
  }
}
