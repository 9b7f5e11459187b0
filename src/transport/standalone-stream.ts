import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { Deadline } from '../runtime/deadline-queue.js';
import { Refusal, type ErrorName } from '../errors.js';
import { EventStream } from './event-stream.js';
import type { Lease, TransportSide } from './transport-types.js';
import type { SessionEventLog } from './session-events.js';
import { Probe } from './probe.js';
import type { Replay } from './replay.js';
import { Reply, type ReplyListener } from './reply.js';

/** Requests that wait for a stream to go out on; more than a server sends before its client has opened one. */
const MAX_HELD = 32;

interface Held {
  readonly json: string;
  readonly eventId: string | undefined;
}

/** The stream that a GET opens: what the server has to say outside any request of the client. One a session. */
export class StandaloneStream implements ReplyListener {
  readonly events: EventStream;
  readonly #side: TransportSide;
  /** Undefined while no reply is open. */
  #lease: Lease | undefined;
  #openReplies = 0;
  /**
   * Requests sent while no stream is open. The SDK's client opens its stream after `notifications/initialized`, so a server
   * that asks for the client's roots just then would otherwise wait for its time-out.
   */
  #held: Map<RequestId, Held> | undefined;
  #pingDue: Deadline<{ ping(): void }> | undefined;
  #unansweredPing: string | undefined;
  /** The ping that finds out whether the stream still has a reader, while it is under way. */
  #probe: Probe | undefined;
  /** The ID of the last probe. A late answer to it must not reach the server. */
  #probeId: string | undefined;
  /** Why it may not be opened again. */
  #stopped: ErrorName | undefined;

  constructor(side: TransportSide, view: SessionEventLog | undefined) {
    this.#side = side;
    this.events = new EventStream(view, view?.standaloneId ?? '');
  }

  get open(): boolean {
    return this.events.reply?.live === true;
  }

  /**
   * Opens the stream on a fresh reply.
   *
   * @param replace - Ends one that is open already: whoever asks has lost it.
   * @throws Refusal when the client of an open stream answers a ping, or this stream was stopped.
   */
  async start(res: ServerResponse, primed: boolean, replace = false): Promise<void> {
    if (this.#stopped !== undefined) throw new Refusal(this.#stopped);
    if (this.open && !replace) await this.#takeOver(res);
    const reply = this.#openReply(res);
    this.events.carryOn(reply);
    this.#opened();
    // What is held has IDs of its own; they are older than that of a priming event would be.
    if (primed && (this.#held?.size ?? 0) === 0) await this.events.prime();
    else reply.begin();
    this.#sendHeld(reply, false);
  }

  /**
   * Lets a fresh reply take over after what the client missed.
   *
   * @throws Refusal when it was stopped; what the channel throws.
   */
  async resume(res: ServerResponse, replay: Replay, lastEventId: string, view: SessionEventLog): Promise<void> {
    if (this.#stopped !== undefined) throw new Refusal(this.#stopped);
    await this.events.resume(replay, lastEventId, view, () => {
      const reply = this.#openReply(res);
      this.#opened();
      return reply;
    });
    if (replay.reply !== undefined) this.#sendHeld(replay.reply, true);
  }

  /** Ends the stream for good. */
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

  /** Sends a request or notification; one that finds no stream waits if it is a request, and is gone if it is not. */
  send(message: JSONRPCMessage, json: string): Promise<void> | undefined {
    const id = 'id' in message ? message.id : undefined;
    const published = this.events.publish(message, (eventId) => {
      const { open } = this;
      this.events.event(json, eventId);
      if (open) return;
      if (id !== undefined) this.#hold(id, { json, eventId });
      else this.#withdraw(message);
    });
    if (id !== undefined) return published;
    // Nobody waits for a notification: one stalled client that resumes must not hold up a broadcast to all others.
    published?.catch((error: unknown) =>
      this.#side.context.events.emit('failure', 'a notification', error, this.#side.sessionId),
    );
    return undefined;
  }

  /** Sends a ping, or ends the stream if the one before was not answered: nobody is there. */
  ping(): void {
    if (!this.open) return;
    if (this.#unansweredPing !== undefined) {
      this.events.reply?.destroy();
      return;
    }
    this.#unansweredPing = randomUUID();
    this.events.reply?.event(JSON.stringify({ jsonrpc: '2.0', id: this.#unansweredPing, method: 'ping' }));
    this.#pingLater();
  }

  /** Whether the answer is one to our own ping. */
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

  #openReply(res: ServerResponse): Reply {
    this.#lease ??= this.#side.owner?.acquire('standalone');
    this.#openReplies += 1;
    return new Reply(res, 'standalone', this.#side, this);
  }

  /**
   * Ends an open stream whose client does not answer a ping. All GETs that arrive meanwhile share one ping.
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
    // Destroyed, not ended: the old client does not read the rest, and a proxy would keep the connection meanwhile.
    probe.reply.destroy();
  }

  #ask(reply: Reply): Probe {
    const probe = new Probe(this.#side.context.clock, reply, () => (this.#probe = undefined));
    this.#probeId = probe.id;
    return probe;
  }

  #opened(): void {
    this.#probe?.settle(true);
    this.#unansweredPing = undefined;
    this.#side.owner?.streamOpened();
    this.#pingLater();
  }

  #pingLater(): void {
    const { pings } = this.#side.context;
    if (pings === undefined) return;
    this.#pingDue ??= new Deadline<{ ping(): void }>(this);
    pings.add(this.#pingDue);
  }

  #hold(id: RequestId, held: Held): void {
    this.#held ??= new Map();
    if (this.#held.size >= MAX_HELD) {
      throw new Error('The client has no SSE stream open, and too many requests wait for one already');
    }
    this.#held.set(id, held);
  }

  /** Sends what is held, if the reply carries the stream. What a resume has sent is not sent again: all that was stored. */
  #sendHeld(reply: Reply, resumed: boolean): void {
    if (this.events.reply !== reply || !reply.live) return;
    for (const { json, eventId } of this.#held?.values() ?? []) {
      if (!resumed || eventId === undefined) reply.event(json, eventId);
    }
    this.#held = undefined;
  }

  /** Takes back a request that waits still when the server cancels it. */
  #withdraw(message: JSONRPCMessage): void {
    if (!('method' in message) || message.method !== 'notifications/cancelled') return;
    this.#held?.delete(message.params?.requestId as RequestId);
  }
}
