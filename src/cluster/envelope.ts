import { createHmac, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { ForwardedRequest } from '../sessions/ownership.js';

/** The header that holds the signature of a message between nodes. */
export const SIGNATURE = 'x-mcp-signature';

/** A client's request, handed over. */
export type RequestOrder = { readonly kind: 'request' } & Omit<ForwardedRequest, 'body' | 'requestIds' | 'forwarded'>;

/** What a node asks of another. */
export type Order =
  | RequestOrder
  | { readonly kind: 'list' }
  | { readonly kind: 'close'; readonly sessionId: string }
  /** For how long the session of the principal is idle that was orphaned for the longest; -1 when none is. */
  | { readonly kind: 'orphaned'; readonly principal: string }
  /** Ends that session. */
  | { readonly kind: 'evict'; readonly principal: string }
  /** Does nothing. A node that joins sends it to itself, at the address that it advertises. */
  | { readonly kind: 'probe' };

/** The kinds of orders that this version knows. In a rolling upgrade, newer nodes may send other kinds. */
const KINDS: Readonly<Record<Order['kind'], true>> = {
  request: true,
  list: true,
  close: true,
  orphaned: true,
  evict: true,
  probe: true,
};

export const isKnown = ({ kind }: Order): boolean => Object.hasOwn(KINDS, kind);

/** Identifies a message, against replays: a challenge of the receiving node, and a nonce. */
export interface MessageId {
  readonly challenge: string;
  readonly nonce: string;
}

/** What surrounds an order: the receiving node, and the identity of the message. */
export interface Envelope extends MessageId {
  readonly to: string;
  /** The first message with this order, when this message repeats it. The node begins at most one of them. */
  readonly repeats?: MessageId | undefined;
  readonly order: Order;
}

/** A message as it goes over the wire. */
export interface Sealed {
  readonly payload: Buffer;
  readonly signature: string;
  readonly id: MessageId;
}

/**
 * One message: the envelope as JSON without line breaks, a line break, the body as it came. What is signed is all of it: whom
 * it is for, method, path, every header that is handed on, who asks, and the body.
 */
export function seal(
  key: KeyObject,
  { to, challenge, repeats }: Omit<Envelope, 'nonce' | 'order'>,
  order: Order,
  body = '',
): Sealed {
  const nonce = randomBytes(16).toString('base64url');
  const envelope: Envelope = { to, challenge, nonce, repeats, order };
  const payload = Buffer.from(`${JSON.stringify(envelope)}\n${body}`);
  return { payload, signature: sign(key, payload), id: { challenge, nonce } };
}

/** Undefined for what was not sealed with that key. */
export function unseal(
  key: KeyObject,
  payload: Buffer,
  signature: unknown,
): { envelope: Envelope; body: Buffer } | undefined {
  const expected = Buffer.from(sign(key, payload));
  const given = Buffer.from(typeof signature === 'string' ? signature : '');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const end = payload.indexOf('\n');
  const envelope = JSON.parse(payload.toString('utf8', 0, end)) as Envelope;
  return { envelope, body: payload.subarray(end + 1) };
}

/** The SDK's `AuthInfo` from its JSON, in which its one URL is text; what was none before stays as it is. */
export function authOf(auth: AuthInfo | undefined): AuthInfo | undefined {
  const resource = String(auth?.resource);
  if (auth === undefined || !URL.canParse(resource)) return auth;
  return { ...auth, resource: new URL(resource) };
}

function sign(key: KeyObject, payload: Buffer): string {
  return createHmac('sha256', key).update(payload).digest('base64url');
}
