import type { ServerResponse } from 'node:http';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { StreamEnd } from '../events.js';
import { breakOff } from './response.js';
import type { EventSink, StoredEvent } from './session-events.js';
import type { Reply } from './reply.js';

/** A replay yields to the event loop after this much. Otherwise a store in memory would block the loop for the whole replay. */
const TURN_AFTER = { characters: 64 * 1024, events: 64 };

/** Makes a store stop reading, as its events cannot be sent any more. */
export class ReplayStopped extends Error {
  override readonly name = 'ReplayStopped';
}

interface Followed {
  readonly json: string;
  readonly eventId: string | undefined;
}

/**
 * One resume in progress. It sends the events that the client missed as the store reads them, at the speed of the client.
 *
 * The reply begins with the first event, so that a resume which fails earlier can still be refused. Events that are published
 * during the replay follow at its end. They wait here up to a bound. Beyond it, they are read from the store.
 */
export class Replay implements EventSink {
  /** Begins the reply. */
  open!: () => Reply;
  /** Answers that the store refused, as JSON text. */
  refused: readonly string[] = [];
  readonly #res: ServerResponse;
  readonly #maxFollowing: number;
  #reply: Reply | undefined;
  #stopped: boolean;
  #wake: () => void = () => undefined;
  #charactersSent = 0;
  #eventsSent = 0;
  #lastKey: string | undefined;
  #following: Followed[] = [];
  #followingSize = 0;
  #overflown = false;

  /** @param maxFollowing - Characters of published events that may wait for the end of the replay. */
  constructor(res: ServerResponse, maxFollowing: number) {
    this.#res = res;
    this.#maxFollowing = maxFollowing;
    this.#stopped = res.destroyed;
    res.once('close', this.#stop);
  }

  /** Undefined until there is an event to send. */
  get reply(): Reply | undefined {
    return this.#reply;
  }

  /** Whether nothing can be sent any more. */
  get stopped(): boolean {
    return this.#stopped || this.#reply?.live === false;
  }

  /** The store's ID of the last event that was sent. */
  get lastKey(): string | undefined {
    return this.#lastKey;
  }

  begin(): Reply {
    if (this.#reply === undefined) {
      this.#reply = this.open();
      this.#reply.catchingUp = true;
    }
    return this.#reply;
  }

  async take({ id, key, json }: StoredEvent): Promise<void> {
    this.#check();
    const reply = this.begin();
    reply.event(json, id);
    this.#lastKey = key;
    await this.#pause(json.length);
    this.#check();
    while (reply.congested) {
      await this.#drained();
      this.#check();
    }
  }

  async skip(): Promise<void> {
    await this.#pause(0);
    this.#check();
  }

  /** Begins to collect published events. The store is read from the last sent event on. */
  collect(): void {
    this.#overflown = false;
    this.#following = this.#following.filter(({ eventId }) => eventId === undefined);
    this.#followingSize = this.#following.reduce((sum, { json }) => sum + json.length, 0);
  }

  /** Collects an event that was published during the replay. One without an ID must fit, as the store cannot read it later. */
  follow(json: string, eventId: string | undefined): void {
    const fits = this.#followingSize + json.length <= this.#maxFollowing;
    if (!fits && eventId === undefined) return this.destroy('slow_reader');
    if (!fits) this.#overflown = true;
    if (this.#overflown && eventId !== undefined) return;
    this.#following.push({ json, eventId });
    this.#followingSize += json.length;
  }

  /** Sends the collected events that were not read from the store. False when the store must be read once more. */
  catchUp(): boolean {
    if (this.#overflown) return false;
    const reply = this.begin();
    for (const json of this.refused) reply.event(json);
    const read = this.#following.findIndex(({ eventId }) => eventId !== undefined && eventId === this.#lastKey);
    for (const [at, { json, eventId }] of this.#following.entries()) {
      if (at > read || eventId === undefined) reply.event(json, eventId);
    }
    this.#following = [];
    reply.catchingUp = false;
    return true;
  }

  /** Breaks the reply off, because a newer resume has come or this one failed. */
  destroy(reason: StreamEnd): void {
    this.#stop();
    if (this.#reply === undefined) breakOff(this.#res);
    else this.#reply.destroy(reason);
  }

  /** Ends the replay with its session. A reply that has not begun stays free for the refusal. */
  end(): void {
    this.#reply?.end();
    this.#stop();
  }

  /** Removes the listener when the replay is over. */
  release(): void {
    this.#res.off('close', this.#stop);
  }

  readonly #stop = (): void => {
    this.#stopped = true;
    this.#wake();
  };

  #check(): void {
    if (this.stopped) throw new ReplayStopped();
  }

  async #pause(characters: number): Promise<void> {
    this.#charactersSent += characters;
    this.#eventsSent += 1;
    if (this.#charactersSent < TURN_AFTER.characters && this.#eventsSent < TURN_AFTER.events) return;
    this.#charactersSent = this.#eventsSent = 0;
    await turnOfTheLoop();
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#res.once('drain', resolve);
    });
  }
}

/** The replays of one transport, at most one for each stream. A newer one ends the older when it begins. */
export class Replays {
  readonly #running = new Map<string, Replay>();

  /** @param key - The stream, or the event while its stream is not known. */
  begin(key: string, replay: Replay): void {
    // A client that disconnected may have reconnected already. Its older request must not end the newer one.
    if (replay.stopped) return;
    const older = this.#running.get(key);
    this.#running.set(key, replay);
    older?.destroy('replaced');
  }

  end(key: string, replay: Replay): void {
    if (this.#running.get(key) === replay) this.#running.delete(key);
  }

  close(): void {
    for (const replay of this.#running.values()) replay.end();
  }
}
