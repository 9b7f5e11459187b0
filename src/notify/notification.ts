import type { JSONRPCNotification } from '../protocol/messages.js';
import { LOG_MESSAGE, RESOURCE_UPDATED } from '../protocol/notifications.js';
import { isLogLevel, LOG_LEVELS } from '../protocol/session-era.js';
import { checkOptions, isObject, shown, type Check } from '../runtime/checks.js';
import type { PrincipalRef } from '../sessions/principal-name.js';

/** The clients that get a notification: those of one session, or of one principal. */
export type NotifyTarget = { readonly session: string } | { readonly principal: PrincipalRef };

/** How many streams of clients got a notification, and how many did not. */
export interface Notified {
  /** Written to an open stream. */
  readonly delivered: number;
  /** Kept by the event store for a client that may resume its standalone stream: it may have the ID of an event. */
  readonly stored: number;
  /**
   * Not sent. The client is away and nothing keeps the notification, or its server has not declared the capability, or it is a client
   * of MCP 2026-07-28 that cannot get this type.
   */
  readonly dropped: number;
}

/** A notification on its way: as a message, and the clients that it is for. */
export interface Notice {
  readonly message: JSONRPCNotification;
  readonly session?: string;
  readonly principal?: string;
}

/** Notifications that belong to one request: its handler sends them, on the stream of the request. */
const OF_A_REQUEST = ['notifications/cancelled', 'notifications/progress'];

const text: Check = (value) => (typeof value === 'string' && value !== '' ? undefined : 'a non-empty string');

const params: Check = (value) => (isObject(value) ? undefined : 'an object');

const PARTS = new Map<string, Check>([
  ['jsonrpc', (value) => (value === '2.0' ? undefined : "'2.0'")],
  ['method', text],
  ['params', params],
]);

const TARGETS = new Map<string, Check>([
  ['session', text],
  ['principal', (value) => (isObject(value) ? undefined : text(value))],
]);

/**
 * A copy of a notification, which the app may go on to change.
 *
 * @throws TypeError when it is none, or when JSON cannot have it.
 */
export function toMessage(notification: Omit<JSONRPCNotification, 'jsonrpc'>): JSONRPCNotification {
  checkOptions('notify', notification, PARTS);
  const { method } = notification;
  if (text(method) !== undefined)
    throw new TypeError(`notify: method must be a non-empty string; got ${shown(method)}`);
  if (OF_A_REQUEST.includes(method))
    throw new TypeError(`notify: ${method} belongs to a request: its handler sends it`);
  const message = JSON.parse(
    JSON.stringify({ jsonrpc: '2.0', method, params: notification.params }),
  ) as JSONRPCNotification;
  // An object may have another JSON form, as a Date has.
  for (const [name, value] of [
    ['params', message.params],
    ['params._meta', message.params?._meta],
  ] as const) {
    if (value !== undefined && params(value) !== undefined) {
      throw new TypeError(`notify: ${name} must be an object in JSON; got ${shown(value)}`);
    }
  }
  if (method === RESOURCE_UPDATED && text(message.params?.uri) !== undefined) {
    throw new TypeError(`notify: uri must be a non-empty string; got ${shown(message.params?.uri)}`);
  }
  if (method === LOG_MESSAGE && !isLogLevel(message.params?.level)) {
    throw new TypeError(`notify: level must be one of ${LOG_LEVELS.join(', ')}; got ${shown(message.params?.level)}`);
  }
  return message;
}

/**
 * The clients of a target, for a {@link Notice}.
 *
 * @param nameOf - Throws a TypeError for claims that name no principal.
 * @throws TypeError when the target is neither a session nor a principal.
 */
export function toRecipients(
  target: NotifyTarget | undefined,
  nameOf: (principal: PrincipalRef) => string,
): Omit<Notice, 'message'> {
  if (target === undefined) return {};
  checkOptions('notify', target, TARGETS);
  const { session, principal } = target as { session?: string; principal?: PrincipalRef };
  // A target without a value must not become all clients.
  if ((session === undefined) === (principal === undefined)) {
    throw new TypeError('notify: a target is { session } or { principal }, and no target stands for all clients');
  }
  return principal === undefined ? { session: session as string } : { principal: nameOf(principal) };
}
