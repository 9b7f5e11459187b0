import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { JSONRPCNotification } from '../protocol/messages.js';
import { LOG_MESSAGE, RESOURCE_UPDATED } from '../protocol/notifications.js';
import { LOG_LEVELS, type LogLevel } from '../protocol/session-era.js';
import type { Clock } from '../runtime/clock.js';
import { EventLoopBudget } from '../runtime/event-loop-budget.js';
import { ClientSettings } from '../sessions/records/client-settings.js';
import { decodeRecord } from '../sessions/records/record-format.js';
import type { Registry } from '../sessions/registry.js';
import type { Session } from '../sessions/session.js';
import type { Delivery } from '../transport/transport-types.js';
import type { Notice, Notified } from './notification.js';

/** Streams that get a notification in one turn of the event loop. Each write to a socket takes up to 70 us. */
const PIECE = 25;

/** An open stream of a client without sessions. */
export interface NotifiedStream {
  /** Undefined when its client does not want such a notification. */
  notify(message: JSONRPCNotification): Delivery | undefined;
}

type Sessions = Pick<Registry, 'get' | 'all' | 'ofPrincipal'>;
type Count = (delivery: Delivery) => void;

/** Delivers notifications to the clients of this node, one after the other, so that each stream gets them in their order. */
export class LocalDelivery {
  readonly #sessions: Sessions;
  readonly #streams: (principal?: string) => readonly NotifiedStream[];
  readonly #report: (error: unknown, sessionId?: string) => void;
  readonly #budget: EventLoopBudget;
  /** The settings in the record of each hibernated session. A record may have 64 KiB of state, and each notification needs them. */
  readonly #hibernated = new WeakMap<Session, { readonly record: string; readonly settings: ClientSettings }>();
  #last: Promise<unknown> = Promise.resolve();

  /** @param streams - The streams of a principal, or all: those of clients of MCP 2026-07-28. */
  constructor(
    sessions: Sessions,
    streams: (principal?: string) => readonly NotifiedStream[],
    clock: Clock,
    report: (error: unknown, sessionId?: string) => void,
  ) {
    this.#sessions = sessions;
    this.#streams = streams;
    this.#report = report;
    this.#budget = new EventLoopBudget(clock);
  }

  /** Never rejects. */
  async deliver(notice: Notice): Promise<Notified> {
    const counts = { delivered: 0, stored: 0, dropped: 0 };
    const count: Count = (delivery) => (counts[delivery] += 1);
    const begun = this.#last.then(() => this.#begin(notice, count));
    this.#last = begun.catch(() => undefined);
    // Event stores are awaited after the next notification may begin: a session's own queue keeps the order.
    await Promise.all(await begun);
    return counts;
  }

  /** Hands the notification to every stream. Returns promises for those that wait for the event store. */
  async #begin({ message, session, principal }: Notice, count: Count): Promise<Promise<void>[]> {
    const json = JSON.stringify(message);
    const stored: Promise<void>[] = [];
    await this.#each(this.#recipients(session, principal), (recipient) => {
      const delivery = this.#deliver(recipient, message, json);
      if (delivery instanceof Promise) stored.push(delivery.then(count));
      else if (delivery !== undefined) count(delivery);
    });
    if (session !== undefined) return stored;
    await this.#each(this.#streams(principal), (stream) => {
      const delivery = stream.notify(message);
      if (delivery !== undefined) count(delivery);
    });
    return stored;
  }

  #recipients(session: string | undefined, principal: string | undefined): Session[] {
    if (principal !== undefined) return this.#sessions.ofPrincipal(principal);
    if (session === undefined) return this.#sessions.all();
    const found = this.#sessions.get(session);
    return found === undefined ? [] : [found];
  }

  async #each<T>(all: readonly T[], act: (item: T) => void): Promise<void> {
    for (let from = 0; from < all.length; from += PIECE) {
      // A stream writes at the end of the turn, where the budget does not measure it.
      if (from > 0) await turnOfTheLoop();
      await this.#budget.run(() => all.slice(from, from + PIECE).forEach(act));
    }
  }

  #deliver(session: Session, message: JSONRPCNotification, json: string): Delivery | Promise<Delivery> | undefined {
    const { state, id } = session;
    // Another node may own the session, or it has ended since the notification began.
    if (session.mayNotRespond || state === 'closing' || state === 'closed') return undefined;
    try {
      if (!isWanted(message, () => this.#settingsOf(session))) return undefined;
      if (state !== 'active' && state !== 'orphaned') return 'dropped';
      const delivery = session.transport?.standalone.notify(message, json) ?? 'dropped';
      if (typeof delivery === 'string') return delivery;
      return delivery.catch((error: unknown) => this.#failed(error, id));
    } catch (error) {
      return this.#failed(error, id);
    }
  }

  #failed(error: unknown, sessionId: string): Delivery {
    this.#report(error, sessionId);
    return 'dropped';
  }

  /** The settings of a hibernated session are read from its record: the session is not woken. */
  #settingsOf(session: Session): ClientSettings | undefined {
    const { id, settings, hibernatedRecord: record } = session;
    if (settings !== undefined || record === undefined) return settings;
    const known = this.#hibernated.get(session);
    if (known?.record === record) return known.settings;
    const { logLevel, subscriptions } = decodeRecord(record, id);
    const decoded = { record, settings: new ClientSettings(Infinity, logLevel, subscriptions) };
    this.#hibernated.set(session, decoded);
    return decoded.settings;
  }
}

/** Whether a client has asked for such a notification. Only log messages and updates of resources depend on its settings. */
function isWanted({ method, params }: JSONRPCNotification, settings: () => ClientSettings | undefined): boolean {
  if (method === RESOURCE_UPDATED) return settings()?.isSubscribedTo(params?.uri as string) === true;
  if (method !== LOG_MESSAGE) return true;
  const least = settings()?.logLevel;
  return least === undefined || LOG_LEVELS.indexOf(params?.level as LogLevel) >= LOG_LEVELS.indexOf(least);
}
