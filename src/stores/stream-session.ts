import { createHash } from 'node:crypto';

/** The name of a session in keys and stream IDs. The session ID is a credential, so it must not stand there. */
export function sessionHash(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('hex').slice(0, 32);
}

/** The session of a stream: the part of its ID before the first `-`, or the whole ID. */
export function sessionOf(streamId: string): string {
  const end = streamId.indexOf('-');
  return end === -1 ? streamId : streamId.slice(0, end);
}
