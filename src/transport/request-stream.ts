import type { ServerResponse } from 'node:http';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { Channel } from './channel.js';
import type { TransportSide } from './context.js';
import type { EventView } from './event-view.js';
import { Reply, type ReplyListener } from './reply.js';

/** What a POST asked for, until all its requests are settled and its reply is over. */
export class RequestStream implements ReplyListener {
  readonly channel: Channel;
  readonly #side: TransportSide;
  readonly #resumable: boolean;
  readonly #batch: boolean;
  #unsettled: number;
  /** The answers so far, as long as the reply may still be JSON. */
  #answers: string[] | undefined;

  /** @param view - Where its events are stored; undefined when its client could not resume. */
  constructor(res: ServerResponse, side: TransportSide, requests: number, batch: boolean, view: EventView | undefined) {
    const json = side.context.enableJsonResponse;
    this.#side = side;
    this.#unsettled = requests;
    this.#batch = batch;
    this.#resumable = view !== undefined;
    this.#answers = json ? [] : undefined;
    this.channel = new Channel(view, view?.newStreamId() ?? '');
    this.channel.reply = new Reply(res, 'request', side, this, json);
    side.owner.hold();
  }

  /** Sends something that comes before an answer; the promise is the back-pressure of the client's reader. */
  async send(message: JSONRPCMessage, json: string): Promise<void> {
    this.#stream();
    if ('id' in message && !this.#resumable && this.channel.reply?.live !== true) {
      throw new Error('The client has gone: its reply was closed, and without an event store it cannot be resumed');
    }
    await this.channel.publish(message, (eventId) => this.channel.reply?.event(json, eventId));
    await this.channel.reply?.drained();
  }

  /** Stores the answer where it could be asked for again; `deliver` is to settle the request with it. */
  publishAnswer(message: JSONRPCMessage, deliver: (eventId?: string) => void): Promise<void> | undefined {
    if (this.#answers === undefined) return this.channel.publish(message, deliver);
    deliver();
    return undefined;
  }

  /** One request is settled: with an answer, or with none (a cancelled request gets none). True when all are. */
  settle(answer: string | undefined, eventId?: string): boolean {
    this.#unsettled -= 1;
    const reply = this.channel.reply;
    const last = this.#unsettled === 0;
    if (answer !== undefined) {
      if (this.#answers !== undefined) this.#answers.push(answer);
      else if (last) reply?.lastEvent(answer, eventId);
      else reply?.event(answer, eventId);
    }
    if (!last) return false;
    if (this.#answers !== undefined)
      reply?.json(this.#batch ? `[${this.#answers.join(',')}]` : (this.#answers[0] ?? ''));
    else this.channel.finish();
    this.#side.owner.release();
    return true;
  }

  /** Whether the reply may still become one JSON body, and so wants an answer for each request. */
  get json(): boolean {
    return this.#answers !== undefined;
  }

  replyClosed(reply: Reply, complete: boolean): void {
    if (this.channel.detach(reply) && !complete) this.#side.owner.streamLost();
  }

  /** From here on the reply is SSE. */
  #stream(): void {
    const answers = this.#answers;
    this.#answers = undefined;
    for (const answer of answers ?? []) this.channel.reply?.event(answer);
  }
}
