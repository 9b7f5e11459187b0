import type { JSONRPCNotification } from '../../../protocol/messages.js';
import type { Clock } from '../../../runtime/clock.js';
import { Deadline, DeadlineQueue } from '../../../runtime/deadline-queue.js';
import { RESOURCE_UPDATED } from '../../../protocol/notifications.js';

/** The shortest time between two announcements of one kind to the streams of one principal, in ms. */
const INTERVAL = 100;

/** A stream, as announcements see it. */
export interface Listener {
  accepts(notification: JSONRPCNotification): boolean;
  announce(notification: JSONRPCNotification): unknown;
}

/** The streams of one principal. All callers without a principal count as one. */
interface Group {
  readonly listeners: Set<Listener>;
  readonly recent: Map<string, Recent>;
}

/** An announcement that was made less than {@link INTERVAL} ago. */
class Recent {
  readonly due = new Deadline<Recent>(this);
  /** Whether the same was announced again since then. */
  isRepeated = false;

  constructor(
    readonly group: Group,
    readonly notification: JSONRPCNotification,
  ) {}
}

/**
 * Carries the announcements of a principal's servers to the streams of that principal. A server that registers tools during each
 * call announces each time, and its clients ask for the list each time. So repetitions within {@link INTERVAL} become one.
 */
export class Announcements {
  readonly #groups = new Map<string | undefined, Group>();
  readonly #recent: DeadlineQueue<Recent>;

  constructor(clock: Clock) {
    this.#recent = new DeadlineQueue(clock, INTERVAL, (recent) => this.#afterInterval(recent));
  }

  join(principal: string | undefined, listener: Listener): void {
    const group = this.#groups.get(principal) ?? { listeners: new Set(), recent: new Map() };
    this.#groups.set(principal, group);
    group.listeners.add(listener);
  }

  leave(principal: string | undefined, listener: Listener): void {
    const group = this.#groups.get(principal);
    if (group?.listeners.delete(listener) !== true || group.listeners.size > 0) return;
    this.#groups.delete(principal);
    for (const { due } of group.recent.values()) due.cancel();
  }

  /** Announces a change to the streams of a principal. The other fields of the notification are of one request, and stay out. */
  announce(principal: string | undefined, { method, params }: JSONRPCNotification): void {
    const group = this.#groups.get(principal);
    const uri: unknown = method === RESOURCE_UPDATED ? params?.uri : undefined;
    const notification = { jsonrpc: '2.0' as const, method, ...(uri !== undefined && { params: { uri } }) };
    if (group === undefined || ![...group.listeners].some((listener) => listener.accepts(notification))) return;
    const key = keyOf(notification);
    const recent = group.recent.get(key);
    if (recent !== undefined) {
      recent.isRepeated = true;
      return;
    }
    const first = new Recent(group, notification);
    group.recent.set(key, first);
    this.#send(first);
  }

  #send(recent: Recent): void {
    this.#recent.add(recent.due);
    for (const listener of recent.group.listeners) listener.announce(recent.notification);
  }

  #afterInterval(recent: Recent): void {
    const { isRepeated, group, notification } = recent;
    recent.isRepeated = false;
    if (isRepeated) this.#send(recent);
    else group.recent.delete(keyOf(notification));
  }
}

/** Equal announcements have equal keys. */
export function keyOf({ method, params }: JSONRPCNotification): string {
  return method === RESOURCE_UPDATED ? `${method} ${String(params?.uri)}` : method;
}
