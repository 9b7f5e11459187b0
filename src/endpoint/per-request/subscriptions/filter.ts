import type { JSONRPCNotification, JSONRPCRequest } from '../../../protocol/messages.js';
import {
  isDeclared,
  PROMPTS_CHANGED,
  RESOURCE_UPDATED,
  RESOURCES_CHANGED,
  TOOLS_CHANGED,
} from '../../../protocol/notifications.js';
import { isWithin, Subscriptions } from '../../../sessions/records/subscriptions.js';
import { isObject } from '../../../runtime/checks.js';
import { without, type Fields } from '../../../transport/jsonrpc.js';

/** The changes that a client subscribes to (MCP 2026-07-28, basic/patterns/subscriptions, "Notification Filter"). */
export interface Filter {
  readonly toolsListChanged?: true;
  readonly promptsListChanged?: true;
  readonly resourcesListChanged?: true;
  readonly resourceSubscriptions?: readonly string[];
}

/** Each list that changes: its notification, and the field of the filter. */
const LISTS = [
  [TOOLS_CHANGED, 'toolsListChanged'],
  [PROMPTS_CHANGED, 'promptsListChanged'],
  [RESOURCES_CHANGED, 'resourcesListChanged'],
] as const;

const FIELD_OF = new Map<string, keyof Filter>(LISTS);

/** URIs of one filter. Its server is asked to subscribe to each, as it is for the session of an earlier version. */
const MAX_URIS = 1_000;

/** Whether a notification announces a change that clients subscribe to. */
export function isAnnouncement({ method }: JSONRPCNotification): boolean {
  return method === RESOURCE_UPDATED || FIELD_OF.has(method);
}

/**
 * Whether the answer to a method is a list. An announcement during such a request reaches no stream: if each request for a list
 * changed the list, its clients would ask for ever.
 */
export function asksForList(method: string): boolean {
  return method.endsWith('/list');
}

/** The filter that a request asks for; undefined when it is missing or malformed. Fields of extensions are ignored. */
export function filterOf({ params }: JSONRPCRequest): Fields | undefined {
  const filter: unknown = params?.notifications;
  if (!isObject(filter)) return undefined;
  const { resourceSubscriptions = [] } = filter;
  const isWell =
    LISTS.every(([, field]) => ['undefined', 'boolean'].includes(typeof filter[field])) &&
    Array.isArray(resourceSubscriptions) &&
    resourceSubscriptions.every((uri) => typeof uri === 'string');
  return isWell ? filter : undefined;
}

/** The part of a filter that the capabilities of a server allow, with as many URIs as one session may be subscribed to. */
export function agreedFilter(requested: Fields, capabilities: Fields): Filter {
  const lists = LISTS.filter(([method, field]) => requested[field] === true && isDeclared(method, capabilities));
  const uris = new Subscriptions([], MAX_URIS);
  if (isDeclared(RESOURCE_UPDATED, capabilities)) {
    for (const uri of (requested.resourceSubscriptions ?? []) as string[]) uris.add(uri);
  }
  return withUris(Object.fromEntries(lists.map(([, field]) => [field, true])), uris.all());
}

/** The filter with other URIs. */
export function withUris(filter: Filter, uris: readonly string[]): Filter {
  const lists = without({ ...filter }, 'resourceSubscriptions');
  return uris.length === 0 ? lists : { ...lists, resourceSubscriptions: uris };
}

/** Whether a client that agreed to the filter gets the notification. */
export function accepts(filter: Filter, { method, params }: JSONRPCNotification): boolean {
  const field = FIELD_OF.get(method);
  if (field !== undefined) return filter[field] === true;
  const uri: unknown = params?.uri;
  if (method !== RESOURCE_UPDATED || typeof uri !== 'string') return false;
  return filter.resourceSubscriptions?.some((subscribed) => isWithin(uri, subscribed)) === true;
}
