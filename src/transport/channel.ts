import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { Refusal } from '../errors.js';
import type { EventView } from './event-view.js';
import type { Reply } from './reply.js';

const ignore = (): void => undefined;

/**
 * A stream of events as the specification means it: it outlives the HTTP replies that carry it one after the other.
 *
 * With an event store, everything on a channel happens one after the other: an event is stored, then sent; a resume reads,
 * sends what was missed and takes over, and no event falls between. Without one, all is synchronous.
 */
export class Channel {
  /** The reply that carries the stream now. */
  reply: Reply | undefined;
  readonly streamId: string;
  readonly #view: EventView | undefined;
  #lastEventId: string | undefined;
  #finished = false;
  #replaying = false;
  #last: Promise<void> | undefined;

  constructor(view: EventView | undefined, streamId: string) {
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

  /** Lets a new reply take over from the one before it, after what the client missed. */
  resume(reply: Reply, lastEventId: string, view: EventView): Promise<void> {
    return this.#inTurn(async () => {
      const kept = await view.eventsAfter(lastEventId, this.streamId);
      const missed = kept ?? (this.endsWith(lastEventId) ? [] : undefined);
      if (missed === undefined) throw new Refusal('unknownEventId');
      // Its client went away meanwhile; the reply that it had may still be open.
      if (!reply.live) return;
      this.reply?.end();
      this.reply = reply;
      this.#replaying = true;
      reply.begin();
      for (const { id, json } of missed) {
        reply.event(json, id);
        await reply.drained();
      }
      this.#replaying = false;
      if (this.#finished) reply.end();
    });
  }

  /** Nothing more will come: ends the reply, and a resume that is under way once it has sent what was missed. */
  finish(): void {
    this.#finished = true;
    if (!this.#replaying) this.reply?.end();
  }

  /** The session is at its end: nothing is waited for. */
  close(): void {
    this.#finished = true;
    this.reply?.end();
  }

  /** The reply is over; unless another has taken over, nothing carries the stream. */
  detach(reply: Reply): boolean {
    if (this.reply !== reply) return false;
    this.reply = undefined;
    return true;
  }

  async #store(view: EventView, message?: JSONRPCMessage): Promise<string | undefined> {
    const eventId = await view.store(this.streamId, message);
    this.#lastEventId = eventId ?? this.#lastEventId;
    return eventId;
  }

  #inTurn(job: () => Promise<void>): Promise<void> {
    const done = (this.#last ?? Promise.resolve()).then(job);
    this.#last = done.catch(ignore);
    return done;
  }
}
