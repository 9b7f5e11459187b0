const SHOWN = 8;

/**
 * The only form of a session ID that logs may show: whoever holds the whole of one may act in that session.
 *
 * The first 8 characters, and never more than half: an ID generator of the app's own may make short ones.
 */
export function shortId(id: string): string {
  return id.slice(0, Math.min(SHOWN, Math.floor(id.length / 2)));
}
