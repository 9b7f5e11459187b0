import type { JSONRPCNotification } from '../../protocol/messages.js';
import type { Clock } from '../../runtime/clock.js';
import type { Announcement, NodePort } from '../port/node-port.js';

/** The shortest time between two messages to the other nodes, in ms. */
const INTERVAL = 100;
/** Bytes of one message, about. An envelope has room for four times as much. */
const MAX_MESSAGE = 64 * 1024;
/** Announcements that wait for a message. Each is of another principal or resource. */
const MAX_WAITING = 10_000;

export interface AnnouncerInit {
  readonly port: Pick<NodePort, 'broadcast'>;
  readonly clock: Clock;
  readonly report: (what: string, error: unknown) => void;
}

/**
 * Tells the other nodes what servers of this node announce. All that is announced within {@link INTERVAL} goes out together, the same
 * only once, and no message goes out before the one before it was taken. A node that does not take it in time misses it.
 */
export class Announcer {
  readonly #init: AnnouncerInit;
  readonly #waiting = new Map<string, Announcement>();
  #isBusy = false;

  constructor(init: AnnouncerInit) {
    this.#init = init;
  }

  announce(principal: string | undefined, { method, params }: JSONRPCNotification): void {
    const uri: unknown = params?.uri;
    const announcement = {
      method,
      ...(principal !== undefined && { principal }),
      ...(typeof uri === 'string' && { uri }),
    };
    const text = JSON.stringify(announcement);
    const isFull = this.#waiting.size >= MAX_WAITING && !this.#waiting.has(text);
    if (isFull || text.length > MAX_MESSAGE) {
      const why = isFull ? `${MAX_WAITING} announcements wait` : 'its URI is too long';
      return this.#init.report('an announcement did not reach the other nodes', new Error(why));
    }
    this.#waiting.set(text, announcement);
    if (this.#isBusy) return;
    this.#isBusy = true;
    // What is announced in the same turn goes out with it.
    setImmediate(() => void this.#send());
  }

  /** Sends what waits, in one message for each interval. Never rejects. */
  async #send(): Promise<void> {
    const { clock } = this.#init;
    // A loop, as promises of a call within a call would all be kept until nothing waits.
    do {
      const interval = new Promise<void>((resolve) => clock.setTimeout(resolve, INTERVAL));
      await this.#broadcast();
      await interval;
    } while (this.#waiting.size > 0);
    this.#isBusy = false;
  }

  async #broadcast(): Promise<void> {
    try {
      // A node that does not answer is dead, or learns of the change when its clients list again.
      await this.#init.port.broadcast('announce', { announcements: this.#take() });
    } catch (error) {
      this.#init.report('an announcement did not reach the other nodes', error);
    }
  }

  #take(): Announcement[] {
    const taken: Announcement[] = [];
    let length = 0;
    for (const [text, announcement] of this.#waiting) {
      length += text.length;
      if (length > MAX_MESSAGE && taken.length > 0) break;
      this.#waiting.delete(text);
      taken.push(announcement);
    }
    return taken;
  }
}
