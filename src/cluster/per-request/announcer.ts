import type { JSONRPCNotification } from '../../protocol/messages.js';
import type { Clock } from '../../runtime/clock.js';
import type { Announcement } from '../port/node-port.js';

/** The failure that is reported. */
export const LOST = 'an announcement did not reach the other nodes';

/** The shortest time between two equal announcements to the other nodes, in ms. */
const INTERVAL = 100;
/** Characters of the longest announcement. */
const MAX_LENGTH = 64 * 1024;
/** Announcements that wait for the end of the interval. Each names another principal or resource. */
const MAX_WAITING = 10_000;

export interface AnnouncerInit {
  /** Sends an announcement to the other nodes, as JSON. Never rejects. */
  readonly tell: (announcement: string) => unknown;
  readonly clock: Clock;
  readonly report: (what: string, error: unknown) => void;
}

/**
 * Sends the announcements of this node's servers to the other nodes. Those of one {@link INTERVAL} go out together, and of equal
 * announcements only one. A node that does not take one in time misses it: its clients learn of the change when they list again.
 */
export class Announcer {
  readonly #init: AnnouncerInit;
  readonly #waiting = new Set<string>();
  #isBusy = false;

  constructor(init: AnnouncerInit) {
    this.#init = init;
  }

  announce(principal: string | undefined, { method, params }: JSONRPCNotification): void {
    const uri: unknown = params?.uri;
    const announcement: Announcement = {
      method,
      ...(principal !== undefined && { principal }),
      ...(typeof uri === 'string' && { uri }),
    };
    const text = JSON.stringify(announcement);
    const isFull = this.#waiting.size >= MAX_WAITING && !this.#waiting.has(text);
    if (isFull || text.length > MAX_LENGTH) {
      const why = isFull ? `${MAX_WAITING} announcements wait` : 'its URI is too long';
      return this.#init.report(LOST, new Error(why));
    }
    this.#waiting.add(text);
    if (this.#isBusy) return;
    this.#isBusy = true;
    // Announcements of the same turn go out with it.
    setImmediate(() => void this.#send());
  }

  /** Sends the waiting announcements, once in each interval. Never rejects. */
  async #send(): Promise<void> {
    const { clock, tell } = this.#init;
    // A loop, as promises of a call within a call would all be kept until nothing waits.
    do {
      for (const text of this.#waiting) void tell(text);
      this.#waiting.clear();
      await new Promise<void>((resolve) => clock.setTimeout(resolve, INTERVAL));
    } while (this.#waiting.size > 0);
    this.#isBusy = false;
  }
}
