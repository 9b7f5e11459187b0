import { createHash } from 'node:crypto';

/** What stands for a session wherever something of it is kept: its ID is a credential, and is not to be read there. */
export function sessionHash(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('hex').slice(0, 32);
}

/** The session of a stream: what its ID has before the first `-`; all of it, where there is none. */
export function sessionOf(streamId: string): string {
  const end = streamId.indexOf('-');
  return end === -1 ? streamId : streamId.slice(0, end);
}
