import type { ServerResponse } from 'node:http';
import type { CoreEvents, StreamEnd } from '../events.js';
import type { Emitter } from '../runtime/emitter.js';

/** The reply that writes to a response. */
interface Writer {
  destroy(reason: StreamEnd): void;
}

interface Waiting {
  readonly bytes: number;
  /** The part of `bytes` that Node's response does not have yet: it is in middleware, or in an incomplete batch of answers. */
  readonly unsent: number;
  readonly writer: Writer;
}

/**
 * The replies of a router that wait for their readers. They share one memory limit, so that clients that do not read cannot
 * exhaust the process.
 */
export class ReplyMemory {
  /** In the order in which their readers last took something, longest ago first. */
  readonly #waiting = new Map<ServerResponse, Waiting>();
  readonly #limit: number;
  readonly #events: Emitter<CoreEvents>;
  #memory = 0;

  /** @param limit - Bytes that may wait in all replies together. */
  constructor(limit: number, events: Emitter<CoreEvents>) {
    this.#limit = limit;
    this.#events = events;
  }

  /**
   * Counts the bytes that wait in a reply. Beyond the limit, it breaks off the replies from which nothing was read for longest.
   * A single reply is never broken off: a body larger than the limit still reaches a client that reads it.
   *
   * @param unsent - Bytes that wait outside of Node's response.
   */
  hold(res: ServerResponse, writer: Writer, unsent = 0): void {
    if (res.writableLength + unsent === 0 || res.destroyed) return;
    if (!this.#waiting.has(res)) this.#watch(res, writer);
    this.#set(res, writer, unsent);
    for (const [first, waiting] of this.#waiting) {
      if (this.#memory <= this.#limit || this.#waiting.size === 1) return;
      this.#renew(first, waiting);
    }
  }

  #watch(res: ServerResponse, writer: Writer): void {
    const onDrain = (): void => {
      const { unsent = 0 } = this.#waiting.get(res) ?? {};
      this.#delete(res);
      // The bytes outside of Node's response are written next.
      if (unsent > 0 && !res.writableEnded) this.#set(res, writer, unsent);
      else release();
    };
    const release = (): void => {
      res.off('drain', onDrain).off('close', release);
      this.#delete(res);
    };
    res.on('drain', onDrain).on('close', release);
  }

  /** Puts a reply last if its reader has taken something since the reply was counted, else breaks it off. */
  #renew(res: ServerResponse, { bytes: before, unsent, writer }: Waiting): void {
    this.#delete(res);
    if (this.#set(res, writer, res.writableEnded ? 0 : unsent) < before) return;
    this.#delete(res);
    this.#events.emit('failure', 'a reply was broken off: what waits for readers exceeds maxReplyMemory', undefined);
    writer.destroy('slow_reader');
  }

  /** @returns All bytes that wait in the reply. */
  #set(res: ServerResponse, writer: Writer, unsent: number): number {
    const bytes = res.writableLength + unsent;
    this.#memory += bytes - (this.#waiting.get(res)?.bytes ?? 0);
    this.#waiting.set(res, { bytes, unsent, writer });
    return bytes;
  }

  #delete(res: ServerResponse): void {
    this.#memory -= this.#waiting.get(res)?.bytes ?? 0;
    this.#waiting.delete(res);
  }
}
