import type { JSONRPCNotification } from '../protocol/messages.js';
import { PROMPTS_CHANGED, RESOURCE_UPDATED, RESOURCES_CHANGED, TOOLS_CHANGED } from '../protocol/notifications.js';
import { keepingAlive } from '../runtime/clock.js';
import type { PrincipalRef } from '../sessions/principal-name.js';
import type { LocalDelivery } from './local-delivery.js';
import { toMessage, toRecipients, type Notice, type Notified, type NotifyTarget } from './notification.js';

/** Notifications of an app that may be in flight, and the characters that they may have together. */
const MAX_IN_FLIGHT = { count: 10_000, characters: 16 * 1024 * 1024 };

/** The counts where no client is. */
export const NONE: Notified = { delivered: 0, stored: 0, dropped: 0 };

/** The other nodes of a cluster, as notifications see them. */
export interface NotifiedNodes {
  /**
   * Resolves to the counts of all other nodes. Never rejects.
   *
   * @param json - A {@link Notice}.
   */
  notify(json: string): Promise<Notified>;
}

/**
 * Tells clients something from outside a request, for example from a webhook. A client with a session gets it on its standalone
 * stream, a client of MCP 2026-07-28 on its `subscriptions/listen`, on every node of a cluster.
 *
 * Each method resolves to the number of sessions and subscriptions by outcome. One whose client has not asked for the
 * notification is not counted: it is not subscribed to the resource, its log level is higher, or its filter is another.
 *
 * Each method rejects with a TypeError for an invalid notification or target, and for a notification of more than `maxBodySize`
 * bytes, which other nodes would not take. It rejects with an Error while 10,000 notifications are in flight, or 16 Mi characters. This
 * error, if no code awaits it, does not end the process.
 *
 * @example
 * ```ts
 * await mcp.notify.toolListChanged();
 * await mcp.notify.resourceUpdated('notes://7', { principal: { iss: 'https://idp.example', sub: 'alice' } });
 * const { delivered, stored, dropped } = await mcp.notify.send(
 *   { method: 'notifications/message', params: { level: 'warning', data: 'The service stops at noon' } },
 *   { session: 'the ID of a session' },
 * );
 * ```
 */
export interface Notify {
  /** Tells clients that the list of tools has changed. */
  toolListChanged(target?: NotifyTarget): Promise<Notified>;
  /** Tells clients that the list of prompts has changed. */
  promptListChanged(target?: NotifyTarget): Promise<Notified>;
  /** Tells clients that the list of resources has changed. */
  resourceListChanged(target?: NotifyTarget): Promise<Notified>;
  /**
   * Tells the clients that subscribed to a resource that it has changed.
   *
   * @param uri - Of the resource, or of a part of one that clients subscribed to.
   */
  resourceUpdated(uri: string, target?: NotifyTarget): Promise<Notified>;
  /**
   * Sends any notification that belongs to no request. `notifications/message` respects the level that each client has set. Clients
   * of MCP 2026-07-28 get only the four types that they can subscribe to.
   *
   * @param target - Default: all clients.
   */
  send(notification: Omit<JSONRPCNotification, 'jsonrpc'>, target?: NotifyTarget): Promise<Notified>;
}

/**
 * @param nameOf - Throws a TypeError for claims that name no principal.
 * @param nodes - Undefined without a cluster.
 * @param maxBytes - Bytes of the largest notification.
 */
export function createNotify(
  local: Pick<LocalDelivery, 'deliver'>,
  nameOf: (principal: PrincipalRef) => string,
  nodes: NotifiedNodes | undefined,
  maxBytes: number,
): Notify {
  const inFlight = { count: 0, characters: 0 };

  const deliver = async (notice: Notice): Promise<Notified> => {
    const json = JSON.stringify(notice);
    const { length } = json;
    if (Buffer.byteLength(json) > maxBytes) {
      throw new TypeError(`notify: a notification may have at most ${maxBytes} bytes (option maxBodySize)`);
    }
    if (inFlight.count >= MAX_IN_FLIGHT.count || inFlight.characters + length > MAX_IN_FLIGHT.characters) {
      throw new Error('notify: too many notifications are in flight: await each of them');
    }
    inFlight.count += 1;
    inFlight.characters += length;
    try {
      const [here, elsewhere = NONE] = await Promise.all([local.deliver(notice), nodes?.notify(json)]);
      return sum(here, elsewhere);
    } finally {
      inFlight.count -= 1;
      inFlight.characters -= length;
    }
  };

  const send: Notify['send'] = (notification, target) => {
    try {
      const sent = keepingAlive(deliver({ message: toMessage(notification), ...toRecipients(target, nameOf) }));
      sent.catch(() => undefined);
      return sent;
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new TypeError(String(error)));
    }
  };

  return {
    send,
    toolListChanged: (target) => send({ method: TOOLS_CHANGED }, target),
    promptListChanged: (target) => send({ method: PROMPTS_CHANGED }, target),
    resourceListChanged: (target) => send({ method: RESOURCES_CHANGED }, target),
    resourceUpdated: (uri, target) => send({ method: RESOURCE_UPDATED, params: { uri } }, target),
  };
}

/** Adds up the counts of two nodes. */
export function sum(a: Notified, b: Notified): Notified {
  return {
    delivered: a.delivered + b.delivered,
    stored: a.stored + b.stored,
    dropped: a.dropped + b.dropped,
  };
}
