const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Spec 2025-11-25, basic/transports, "Session Management": visible ASCII only. */
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

/** The store is asked only for IDs of at most this many characters, as an attacker may send any ID. */
const MAX_STORED_ID = 128;

export function isVisibleAscii(id: string): boolean {
  return VISIBLE_ASCII.test(id);
}

const STATE = 'principal-state.';

/** Under which the store has the state of a principal. No session has such an ID, so no client can name the record. */
export function principalStateId(digest: string): string {
  return `${STATE}${digest}`;
}

/**
 * Makes a check whether this router could have issued an ID, also before a restart.
 *
 * @param generated - Whether the app generates the IDs. Otherwise they are UUIDs.
 */
export function sessionIdCheck(generated: boolean): (id: string) => boolean {
  if (generated) return (id) => id.length <= MAX_STORED_ID && isVisibleAscii(id) && !id.startsWith(STATE);
  return (id) => UUID.test(id);
}

const SHOWN = 8;

/**
 * The only form of a session ID that logs may show: a caller that has the whole ID may act in that session.
 *
 * The first 8 characters, but never more than half of the ID, as the app's own generator may make short IDs.
 */
export function shortId(id: string): string {
  return id.slice(0, Math.min(SHOWN, Math.floor(id.length / 2)));
}
