import { callable, checkOptions, having, shown, type Check } from '../runtime/checks.js';
import { EntryStore, type Change, type Entry } from './entry-store.js';
import type { SessionStore } from './session-store.js';

/** The part of a Keyv that {@link keyvStore} needs. The `keyv` package has it from version 4 on. */
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
  /** Returns milliseconds since 1970, as records outlive the process. For tests. Default: `Date.now`. */
  wallClock?: (() => number) | undefined;
}

const CHECKS = new Map<string, Check>([['wallClock', callable]]);
const aKeyv = having('a Keyv: an object with get, set, delete and on', 'get', 'set', 'delete', 'on');

/** Keyv 5 takes `<namespace>:x` for the key `x`, so an ID that a client sends must not begin its key. */
const PREFIX = 'mcp-session:';

/**
 * Keeps session records in any back end that has an adapter for Keyv, each as one value under `mcp-session:<ID>`.
 *
 * Only one process at a time may use the records. Keyv has no compare-and-set, so this store makes operations atomic by running
 * those on the same ID one after the other. For several processes use `redisStore`.
 *
 * Give it a Keyv of its own. When that Keyv reports an error, every operation in progress rejects.
 *
 * @throws TypeError when `keyv` is not a Keyv, for a Keyv 5 without `throwOnErrors`, and for an unknown option or a wrong value.
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

/** Runs the changes of one ID one after the other, whether they succeed or not. */
function oneByOne(change: Change): Change {
  /** By ID: settles with the last change. */
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
    // To Keyv, a ttl of 0 means that the value never expires.
    const written = await asked(() => keyv.set(key, next, Math.max(1, next.dueAt - now())));
    if (written === false) throw new Error('keyvStore: Keyv did not write the record');
    return next;
  };
}

/**
 * Turns a reported error into a rejection. Keyv 6 with an `error` listener, and adapters that catch their own errors (the one
 * for Redis does by default), only report an error and continue as if there were no record.
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
    // The error may belong to another operation. This one rejects as well, as Keyv does not report which operation failed.
    if (failures !== before) throw new Error('keyvStore: the back end failed', { cause: failure });
    return answer;
  };
}
