const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Spec 2025-11-25, basic/transports, "Session Management": visible ASCII only. */
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

/** Characters of an ID that a store is asked for at most: an attacker chooses it. */
const MAX_STORED_ID = 128;

export function isVisibleAscii(id: string): boolean {
  return VISIBLE_ASCII.test(id);
}

/**
 * Whether it may be an ID that this router made, now or before a restart.
 *
 * @param generated - Whether IDs are the app's own; else they are UUIDs.
 */
export function sessionIdCheck(generated: boolean): (id: string) => boolean {
  if (generated) return (id) => id.length <= MAX_STORED_ID && isVisibleAscii(id);
  return (id) => UUID.test(id);
}

const SHOWN = 8;

/**
 * The only form of a session ID that logs may show: a caller that has the whole ID may act in that session.
 *
 * The first 8 characters, and never more than half: an ID generator of the app's own may make short ones.
 */
export function shortId(id: string): string {
  return id.slice(0, Math.min(SHOWN, Math.floor(id.length / 2)));
}
