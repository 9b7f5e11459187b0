import { callable, checkOptions, having, shown, type Check } from '../runtime/checks.js';
import { EntryStore, type Change, type Entry } from './entry-store.js';
import type { SessionStore } from './session-store.js';

/** What {@link keyvStore} needs of a Keyv: that of the `keyv` package will do, from version 4 on. */
export interface KeyvLike {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown, ttl?: number): Promise<unknown>;
  delete(key: string): Promise<unknown>;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  /** An option of Keyv 5, where it must be true. */
  readonly throwOnErrors?: boolean | undefined;
}

/** Options of {@link keyvStore}. `undefined` is the same as leaving the key out. */
export interface KeyvStoreOptions {
  /** Milliseconds since 1970, as records outlive the process. Default: `Date.now`. For tests. */
  wallClock?: (() => number) | undefined;
}

const CHECKS = new Map<string, Check>([['wallClock', callable]]);
const aKeyv = having('a Keyv: an object with get, set, delete and on', 'get', 'set', 'delete', 'on');

/** Keyv 5 takes `<namespace>:x` for the key `x`, so an ID that a client sends must not begin its key. */
const PREFIX = 'mcp-session:';

/**
 * Keeps session records in whatever Keyv has an adapter for, each as one value under `mcp-session:<ID>`.
 *
 * For one process at a time: Keyv has no compare-and-set, so what makes operations atomic is that this store does those on
 * the same ID one after the other. Where several processes share the records, use a store that is made for it.
 *
 * Give it a Keyv of its own: while that reports an error, every operation under way rejects, whichever it was meant for.
 *
 * @throws TypeError for what is no Keyv, for a Keyv 5 that is not told to throw on errors, for an unknown option or a wrong
 * value.
 *
 * @example
 * ```ts
 * mcpRouter({ serverFactory, store: keyvStore(new Keyv({ store: adapter, throwOnErrors: true })) });
 * ```
 */
export function keyvStore(keyv: KeyvLike, options: KeyvStoreOptions = {}): Required<SessionStore> {
  checkOptions('keyvStore', options, CHECKS);
  const wanted = aKeyv(keyv);
  if (wanted !== undefined) throw new TypeError(`keyvStore: keyv must be ${wanted}; got ${shown(keyv)}`);
  if (keyv.throwOnErrors === false) {
    throw new TypeError(
      'keyvStore: keyv must be made with throwOnErrors: true; without it, a failing back end reads as one without records',
    );
  }
  const now = options.wallClock ?? (() => Date.now());
  return new EntryStore(oneByOne(entriesIn(keyv, now)), now);
}

/** Has the changes of an ID wait for one another, whether they succeed or not. */
function oneByOne(change: Change): Change {
  /** By ID, the end of the last change asked for. */
  const ends = new Map<string, Promise<void>>();
  return (id, step) => {
    const changed = (ends.get(id) ?? Promise.resolve()).then(() => change(id, step));
    const forget = () => {
      if (ends.get(id) === end) ends.delete(id);
    };
    const end: Promise<void> = changed.then(forget, forget);
    ends.set(id, end);
    return changed;
  };
}

function entriesIn(keyv: KeyvLike, now: () => number): Change {
  const asked = rejecting(keyv);
  return async (id, step) => {
    const key = `${PREFIX}${id}`;
    const entry = (await asked(() => keyv.get(key))) as Entry | undefined;
    const next = step(entry);
    if (next === entry) return entry;
    if (next === undefined) {
      await asked(() => keyv.delete(key));
      return undefined;
    }
    // At least 1: to Keyv, 0 is for ever.
    const written = await asked(() => keyv.set(key, next, Math.max(1, next.dueAt - now())));
    if (written === false) throw new Error('keyvStore: Keyv did not write the record');
    return next;
  };
}

/**
 * Rejects what the back end failed to do. Keyv 6, where anyone listens, and adapters that catch their own errors (that of
 * Redis, by default) only report them, and go on as if there were no record.
 */
function rejecting(keyv: KeyvLike): <T>(ask: () => Promise<T>) => Promise<T> {
  let failures = 0;
  let failure: unknown;
  keyv.on('error', (error) => {
    failures += 1;
    failure = error;
  });
  return async (ask) => {
    const before = failures;
    const answer = await ask();
    // It may have been another's: that one is told of a failure that was none of its own is what it costs to be sure.
    if (failures !== before) throw new Error('keyvStore: the back end failed', { cause: failure });
    return answer;
  };
}
