import { createHmac, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { AuthInfo } from '../../protocol/wire-transport.js';
import type { MessageId } from '../membership/challenges.js';

/** The header with the signature of a message between nodes. */
export const SIGNATURE = 'x-mcp-signature';

/** A message without its body: the receiving node, the identity of the message, and the request. */
export interface Envelope extends MessageId {
  readonly to: string;
  /** The first message with this request, when this message repeats it. The node begins at most one of them. */
  readonly repeats?: MessageId | undefined;
  /** A {@link NodeKind}, or a kind of a newer version. */
  readonly kind: string;
  readonly headers: object;
}

/** A signed message. */
export interface Sealed {
  readonly payload: Buffer;
  readonly signature: string;
  readonly id: MessageId;
}

/**
 * Encodes and signs a message: the envelope as JSON without line breaks, a line break, and the unchanged body. The signature
 * covers all of it: the receiving node, the client's method, path, headers and principal, and the body.
 */
export function seal(key: KeyObject, content: Omit<Envelope, 'nonce'>, body: string | Buffer = ''): Sealed {
  const { challenge } = content;
  const nonce = randomBytes(16).toString('base64url');
  const envelope: Envelope = { ...content, nonce };
  const payload = Buffer.concat([Buffer.from(`${JSON.stringify(envelope)}\n`), Buffer.from(body)]);
  return { payload, signature: sign(key, payload), id: { challenge, nonce } };
}

/** Checks the signature of a message and decodes it. Undefined when it was not signed with that key. */
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

/** The SDK's `AuthInfo` from its JSON, in which `resource` is text. It becomes a URL again, if it is valid. */
export function authOf(auth: AuthInfo | undefined): AuthInfo | undefined {
  const resource = String(auth?.resource);
  if (auth === undefined || !URL.canParse(resource)) return auth;
  return { ...auth, resource: new URL(resource) };
}

function sign(key: KeyObject, payload: Buffer): string {
  return createHmac('sha256', key).update(payload).digest('base64url');
}
