import { checkOptions, clock, type Check } from '../runtime/checks.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { EntryStore, type Entry } from './entry-store.js';
import type { SessionStore } from './session-store.js';

/** Options of {@link memoryStore}. `undefined` is the same as leaving the key out. */
export interface MemoryStoreOptions {
  /** Time. Default: Node's. For tests. */
  clock?: Clock | undefined;
}

const CHECKS = new Map<string, Check>([['clock', clock]]);

/** The number of added records after which expired ones are removed, so that many additions share the cost of a sweep. */
const SWEEP_STEP = 1_000;

/**
 * Keeps session records in memory, for tests. They do not outlive the process.
 *
 * @throws TypeError for an unknown option or a wrong value, naming the option, its value and the values that it takes.
 *
 * @example
 * ```ts
 * mcpRouter({ serverFactory, store: memoryStore() });
 * ```
 */
export function memoryStore(options: MemoryStoreOptions = {}): Required<SessionStore> {
  checkOptions('memoryStore', options, CHECKS);
  const storeClock = options.clock ?? systemClock;
  const now = () => storeClock.now();
  const entries = new Map<string, Entry>();
  let sweepAt = SWEEP_STEP;

  const sweep = () => {
    const time = now();
    for (const [id, { dueAt }] of entries) if (dueAt <= time) entries.delete(id);
    sweepAt = entries.size + SWEEP_STEP;
  };

  return new EntryStore((id, step) => {
    const next = step(entries.get(id));
    if (next === undefined) entries.delete(id);
    else entries.set(id, next);
    if (entries.size > sweepAt) sweep();
    return Promise.resolve(next);
  }, now);
}
