import type { ServerResponse } from 'node:http';
import type { CoreEvents } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';
import { breakOff } from './response.js';

/**
 * The replies of a router that wait for their readers. They share one memory limit, so that many clients that do not read cannot
 * exhaust the process.
 */
export class ReplyMemory {
  /** The bytes that wait in each reply. The reply whose reader last took something longest ago is the first. */
  readonly #waiting = new Map<ServerResponse, number>();
  readonly #limit: number;
  readonly #events: Emitter<CoreEvents>;
  #memory = 0;

  /** @param limit - Bytes that all of them may hold. */
  constructor(limit: number, events: Emitter<CoreEvents>) {
    this.#limit = limit;
    this.#events = events;
  }

  /**
   * Counts the bytes that wait in a reply. Where memory is short, breaks off the replies whose readers have taken nothing for
   * longest. One reply alone is never broken off: a body larger than the limit still reaches a client that reads it.
   */
  hold(res: ServerResponse): void {
    if (res.writableLength === 0 || res.destroyed) return;
    if (!this.#waiting.has(res)) this.#releaseWhenRead(res);
    this.#set(res, res.writableLength);
    for (const [first, bytes] of this.#waiting) {
      if (this.#memory <= this.#limit || this.#waiting.size === 1) return;
      this.#renew(first, bytes);
    }
  }

  #releaseWhenRead(res: ServerResponse): void {
    const release = (): void => {
      res.off('drain', release).off('close', release);
      this.#delete(res);
    };
    res.on('drain', release).on('close', release);
  }

  /** Puts a reply last if its reader has taken something since the last look, else breaks it off. */
  #renew(res: ServerResponse, bytes: number): void {
    this.#delete(res);
    if (res.writableLength < bytes) {
      this.#set(res, res.writableLength);
      return;
    }
    this.#events.emit('failure', 'a reply was broken off: what waits for readers exceeds maxReplyMemory', undefined);
    breakOff(res);
  }

  #set(res: ServerResponse, bytes: number): void {
    this.#memory += bytes - (this.#waiting.get(res) ?? 0);
    this.#waiting.set(res, bytes);
  }

  #delete(res: ServerResponse): void {
    this.#memory -= this.#waiting.get(res) ?? 0;
    this.#waiting.delete(res);
  }
}
