import { getHeapStatistics } from 'node:v8';

export const MIB = 1024 * 1024;

/** The default of `maxSessions` if the heap has Node's usual size. */
export const MOST_SESSIONS = 10_000;

/** The default of `maxSessions` in a very small heap. */
const FEWEST_SESSIONS = 100;

/** Bytes of heap that the default reserves for the app. */
const HEAP_OF_APP = 16 * MIB;

/**
 * Bytes of V8's young generation, which does not store sessions. `heap_size_limit` includes it, and V8 does not report its size.
 * It is three semi-spaces of 16 MiB up to Node 22, and 192 MiB in Node 24 (measured with `--max-old-space-size`).
 */
const YOUNG_GENERATION = Number.parseInt(process.versions.node, 10) > 22 ? 192 * MIB : 48 * MIB;

/** Bytes of heap for each session in the default. A session with 20 tools takes two thirds of it (docs/operations.md). */
const HEAP_PER_SESSION = MIB / 8;

/** Sessions for which the heap has room. */
export function sessionsThatFit(): number {
  const heap = getHeapStatistics().heap_size_limit - YOUNG_GENERATION - HEAP_OF_APP;
  const fit = Math.floor(heap / HEAP_PER_SESSION);
  return Math.min(MOST_SESSIONS, Math.max(FEWEST_SESSIONS, fit));
}

/**
 * Bytes that the bodies, or the replies, of all clients may take. The bytes are outside of V8's heap, but the parsed values are
 * in it. The heap limit also shows how large the process may become.
 */
export function shareOfMemory(atLeast = 0): number {
  const quarter = Math.floor(getHeapStatistics().heap_size_limit / 4);
  return Math.max(atLeast, Math.min(quarter, 256 * MIB));
}
