import type { ServerResponse } from 'node:http';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { EventSink, StoredEvent } from './event-view.js';
import type { Reply } from './reply.js';

/** Characters, and events, after which the event loop turns once: a store in memory would otherwise hold it to its end. */
const TURN_AFTER = { characters: 64 * 1024, events: 64 };

/** Tells a store to read no more: nothing is sent any longer. */
export class ReplayStopped extends Error {
  override readonly name = 'ReplayStopped';
}

interface Followed {
  readonly json: string;
  readonly eventId: string | undefined;
}

/**
 * One resume under way: sends what the client missed as the store reads it, at the speed of the client's reader.
 *
 * Its reply begins with the first event, so that a resume which fails before can still be refused. What is published
 * meanwhile follows at the end. That is kept here up to a bound; past it, the store has it.
 */
export class Replay implements EventSink {
  /** Begins the reply. */
  open!: () => Reply;
  /** Answers, as JSON text, that the store has refused. */
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

  /** Undefined until there was something to send. */
  get reply(): Reply | undefined {
    return this.#reply;
  }

  /** Whether nothing can be sent any longer. */
  get stopped(): boolean {
    return this.#stopped || this.#reply?.live === false;
  }

  /** What the store calls the last event that was sent. */
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

  /** Begins to collect what is published; the store is read from its last event on. */
  collect(): void {
    this.#overflown = false;
    this.#following = this.#following.filter(({ eventId }) => eventId === undefined);
    this.#followingSize = this.#following.reduce((sum, { json }) => sum + json.length, 0);
  }

  /** Takes an event that was published meanwhile. One that the store could not keep cannot be read from it later. */
  follow(json: string, eventId: string | undefined): void {
    const fits = this.#followingSize + json.length <= this.#maxFollowing;
    if (!fits && eventId === undefined) return this.destroy();
    if (!fits) this.#overflown = true;
    if (this.#overflown && eventId !== undefined) return;
    this.#following.push({ json, eventId });
    this.#followingSize += json.length;
  }

  /** Sends what was published meanwhile and not read from the store; false when the store has to be read once more. */
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

  /** Ends it without waiting for the reader: a newer one has come, or it cannot go on. */
  destroy(): void {
    this.#stop();
    this.#res.destroy();
  }

  /** The session is at its end. A reply that has not begun is free for the refusal. */
  end(): void {
    this.#reply?.end();
    this.#stop();
  }

  /** It is over, whichever way. */
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

/** The replays of one transport, one for each stream: a newer one ends the older as it arrives. */
export class Replays {
  readonly #running = new Map<string, Replay>();

  /** @param key - What no two replays may be for at a time. */
  begin(key: string, replay: Replay): void {
    // Its client has hung up, and may have come again before it.
    if (replay.stopped) return;
    const older = this.#running.get(key);
    this.#running.set(key, replay);
    if (older !== replay) older?.destroy();
  }

  end(key: string, replay: Replay): void {
    if (this.#running.get(key) === replay) this.#running.delete(key);
  }

  close(): void {
    for (const replay of this.#running.values()) replay.end();
  }
}
