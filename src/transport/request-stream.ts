import type { ServerResponse } from 'node:http';
import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { errorResponse } from '../errors.js';
import { Channel } from './channel.js';
import type { PostInit, TransportSide } from './context.js';
import type { EventView } from './event-view.js';
import { isJson } from './reply-form.js';
import { Reply, type ReplyListener } from './reply.js';
import { frame } from './sse.js';

const GONE = 'The client has gone: its reply was closed, and what is said now cannot be resumed';

/** What a POST asked for, until all its requests are settled and its reply is over. */
export class RequestStream implements ReplyListener {
  readonly channel: Channel;
  /** Whether the client accepts only one JSON body, so that no event can precede the answer. */
  readonly jsonOnly: boolean;
  readonly #side: TransportSide;
  readonly #resumable: boolean;
  readonly #batch: boolean;
  readonly #ids: readonly RequestId[];
  #unsettled: number;
  /** Whether one of the answers was sent as an event. */
  #answered = false;
  /** The answers so far, as long as the reply may still be JSON. */
  #answers: string[] | undefined;

  /** @param view - Where its events are stored; undefined when its client could not resume. */
  constructor(
    res: ServerResponse,
    side: TransportSide,
    requests: readonly JSONRPCRequest[],
    { batch, form = 'any' }: Pick<PostInit, 'batch' | 'form'>,
    view: EventView | undefined,
  ) {
    const json = isJson(form, side.context.enableJsonResponse);
    this.jsonOnly = form === 'json';
    this.#side = side;
    this.#unsettled = requests.length;
    this.#batch = batch;
    this.#ids = requests.map(({ id }) => id);
    this.#resumable = view !== undefined;
    this.#answers = json ? [] : undefined;
    this.channel = new Channel(view, view?.newStreamId(this.#ids) ?? '');
    this.channel.reply = new Reply(res, 'request', side, this, json);
    side.owner.hold();
  }

  /** Sends something that comes before an answer; the promise is the back-pressure of the client's reader. */
  async send(message: JSONRPCMessage, json: string): Promise<void> {
    this.#stream();
    if ('id' in message && !this.#resumable && this.channel.reply?.live !== true) {
      throw new Error(GONE);
    }
    await this.channel.publish(message, (eventId) => {
      // A server's request that was neither stored nor sent would never be answered.
      if ('id' in message && eventId === undefined && !this.channel.reaches) throw new Error(GONE);
      this.channel.event(json, eventId, true);
    });
    await this.channel.reply?.drained();
  }

  /** Stores the answer where it could be asked for again; `deliver` is to settle the request with it. */
  publishAnswer(message: JSONRPCMessage, deliver: (eventId?: string) => void): Promise<void> | undefined {
    if (this.#answers === undefined) return this.channel.publish(message, deliver);
    deliver();
    return undefined;
  }

  /** One request is settled: with an answer, or with none (a cancelled request gets none). */
  settle(answer: string | undefined, eventId?: string): void {
    this.#unsettled -= 1;
    this.#deliver(answer, eventId);
    if (this.settled) this.#side.owner.release();
  }

  /** Whether all its requests are. */
  get settled(): boolean {
    return this.#unsettled === 0;
  }

  /** Whether the reply may still become one JSON body, and so wants an answer for each request. */
  get json(): boolean {
    return this.#answers !== undefined;
  }

  lastWords(asEvents: boolean, begun: boolean): string | undefined {
    // The client resumes at another node, or has some of the answers.
    if (begun && (this.#resumable || this.#answered)) return undefined;
    const words = this.#ids.map((id) => JSON.stringify(errorResponse('outcomeUnknown', id)));
    if (asEvents) return words.map((json) => frame(json)).join('');
    return this.#batch ? `[${words.join(',')}]` : (words[0] ?? '');
  }

  replyClosed(reply: Reply, complete: boolean): void {
    if (this.channel.detach(reply) && !complete && reply.streaming) this.#side.owner.streamLost();
  }

  #deliver(answer: string | undefined, eventId: string | undefined): void {
    const reply = this.channel.reply;
    if (this.#answers !== undefined) {
      if (answer !== undefined) this.#answers.push(answer);
      if (this.settled) reply?.json(this.#batch ? `[${this.#answers.join(',')}]` : (this.#answers[0] ?? ''));
      return;
    }
    this.#answered ||= answer !== undefined && !this.#side.owner.silenced;
    if (answer !== undefined && this.settled) this.channel.lastEvent(answer, eventId);
    else if (answer !== undefined) this.channel.event(answer, eventId, true);
    else if (this.settled) this.channel.finish();
  }

  /** From here on the reply is SSE. */
  #stream(): void {
    const answers = this.#answers;
    this.#answers = undefined;
    for (const answer of answers ?? []) this.channel.reply?.event(answer);
  }
}
