import type { ServerResponse } from 'node:http';
import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '../protocol/messages.js';
import { errorResponse, type ErrorName } from '../errors.js';
import { EventStream } from './event-stream.js';
import type { Lease, PostInit, TransportSide } from './transport-types.js';
import type { SessionEventLog } from './session-events.js';
import { isJson } from './reply-form.js';
import { Reply, type ReplyListener } from './reply.js';
import { noteError } from './response-facts.js';
import { frame } from './sse.js';

const REPLY_CLOSED = 'The client has gone: its reply was closed, and what is said now cannot be resumed';

/** The facts of one POST, beside its messages. */
export interface Taking extends Pick<PostInit, 'extra' | 'operations'> {
  /** Undefined when the POST has no requests. */
  readonly stream?: RequestStream;
}

/** The requests of one POST, until they are all settled and the reply is over. */
export class RequestStream implements ReplyListener {
  readonly events: EventStream;
  /** Whether the client accepts only one JSON body, so that no event can precede the answer. */
  readonly jsonOnly: boolean;
  readonly #side: TransportSide;
  readonly #resumable: boolean;
  readonly #batch: boolean;
  readonly #ids: readonly RequestId[];
  #unsettled: number;
  #openReplies = 0;
  /** Undefined when all requests are settled and no reply is open. */
  #lease: Lease | undefined;
  /** The response of the newest reply. Undefined when no reply is open. */
  #res: ServerResponse | undefined;
  /** Whether an answer was sent as an event. */
  #answered = false;
  /** The answers so far, as long as the reply may still be JSON. */
  #answers: string[] | undefined;
  #status = 200;

  /** @param eventLog - Where its events are stored. Undefined when the client cannot resume. */
  constructor(
    res: ServerResponse,
    side: TransportSide,
    requests: readonly JSONRPCRequest[],
    { batch, form = 'any', lease }: Pick<PostInit, 'batch' | 'form' | 'lease'>,
    eventLog: SessionEventLog | undefined,
  ) {
    const json = isJson(form, side.context.enableJsonResponse);
    this.jsonOnly = form === 'json';
    this.#side = side;
    this.#unsettled = requests.length;
    this.#batch = batch;
    this.#ids = requests.map(({ id }) => id);
    this.#resumable = eventLog !== undefined;
    this.#answers = json ? [] : undefined;
    this.#lease = lease;
    this.events = new EventStream(eventLog, eventLog?.newStreamId(this.#ids) ?? '');
    this.events.reply = this.openReply(res, json);
  }

  /** Opens a new reply to carry the stream. */
  openReply(res: ServerResponse, jsonFirst = false): Reply {
    // A client may resume the stream after its requests are settled.
    this.#lease ??= this.#side.owner?.acquire('request');
    this.#openReplies += 1;
    this.#res = res;
    return new Reply(res, 'request', this.#side, this, jsonFirst);
  }

  /** Sends a message before the answer. The promise waits while the client reads too slowly (back-pressure). */
  async send(message: JSONRPCMessage, json: string): Promise<void> {
    this.#stream();
    if ('id' in message && !this.#resumable && this.events.reply?.live !== true) {
      throw new Error(REPLY_CLOSED);
    }
    await this.events.publish(message, (eventId) => {
      // A server's request that was neither stored nor sent would never be answered.
      if ('id' in message && eventId === undefined && !this.events.reaches) throw new Error(REPLY_CLOSED);
      this.events.event(json, eventId, true);
    });
    await this.events.reply?.drained();
  }

  /** Stores the answer if the client can resume, then calls `deliver`, which settles the request. */
  publishAnswer(message: JSONRPCMessage, deliver: (eventId?: string) => void): Promise<void> | undefined {
    if (this.#answers === undefined) return this.events.publish(message, deliver);
    deliver();
    return undefined;
  }

  /** Sets the HTTP status of the answer. It counts only if no event was sent before. */
  refuse(status: number): void {
    this.#status = status;
  }

  /** Notes that the answer to one of its requests is an error of the router. */
  noteError(reason: ErrorName): void {
    if (this.#res !== undefined) noteError(this.#res, reason);
  }

  /** Called when one request is settled. A cancelled request has no answer. */
  settle(answer: string | undefined, eventId?: string): void {
    this.#unsettled -= 1;
    this.#deliver(answer, eventId);
    this.#releaseIfOver();
  }

  /** Whether all its requests are settled. */
  get settled(): boolean {
    return this.#unsettled === 0;
  }

  /** Whether the reply may still become one JSON body, and so needs an answer to each request. */
  get json(): boolean {
    return this.#answers !== undefined;
  }

  finalErrors(asEvents: boolean, begun: boolean): string | undefined {
    // The client can resume at another node, or already has some of the answers.
    if (begun && (this.#resumable || this.#answered)) return undefined;
    const errors = this.#ids.map((id) => JSON.stringify(errorResponse('outcomeUnknown', id)));
    if (asEvents) return errors.map((json) => frame(json)).join('');
    return this.#bodyOf(errors);
  }

  replyClosed(reply: Reply, complete: boolean): void {
    if (this.events.detach(reply) && !complete && reply.streaming) this.#side.owner?.streamLost();
    // These answers can reach the client no more.
    if (this.#answers !== undefined) this.#answers = [];
    this.#openReplies -= 1;
    if (this.#openReplies === 0) this.#res = undefined;
    if (!complete && this.#openReplies === 0 && this.#unsettled > 0) this.#side.disconnected(this);
    this.#releaseIfOver();
  }

  #releaseIfOver(): void {
    if (this.#unsettled > 0 || this.#openReplies > 0) return;
    this.#lease?.release();
    this.#lease = undefined;
  }

  #deliver(answer: string | undefined, eventId: string | undefined): void {
    const reply = this.events.reply;
    if (this.#answers !== undefined) {
      if (answer !== undefined && reply !== undefined) this.#answers.push(answer);
      if (this.settled) reply?.json(this.#bodyOf(this.#answers), this.#status);
      else if (answer !== undefined) reply?.keep(answer);
      return;
    }
    if (this.#status !== 200 && answer !== undefined && reply?.streaming === false) reply.json(answer, this.#status);
    this.#answered ||= answer !== undefined && this.#side.owner?.mayNotRespond !== true;
    if (answer !== undefined && this.settled) this.events.lastEvent(answer, eventId);
    else if (answer !== undefined) this.events.event(answer, eventId, true);
    else if (this.settled) this.events.finish();
  }

  /** A JSON body: an array for a batch, else the message itself. */
  #bodyOf(messages: readonly string[]): string {
    const text = messages.join(',');
    return this.#batch ? `[${text}]` : text;
  }

  /** Turns the reply into SSE, beginning with the answers so far. */
  #stream(): void {
    const answers = this.#answers;
    this.#answers = undefined;
    for (const answer of answers ?? []) this.events.reply?.event(answer);
  }
}
