import { ClassicLevel } from 'classic-level';
import { keyvStore, type SessionStore } from 'express-mcp-router/stores';
import { Keyv } from 'keyv';

const SWEEP_INTERVAL_MS = 60 * 60_000;

/**
 * Opens a session store in a LevelDB database, a directory that is created if it is missing.
 *
 * A write resolves once the operating system has the data. So it survives a killed process, but perhaps not a loss of power.
 * Only one process at a time can open the database.
 *
 * @throws Error when the database cannot be opened; the message has the reason.
 */
export async function fileStore(path: string): Promise<{ store: SessionStore; close: () => Promise<void> }> {
  const db = new ClassicLevel(path);
  await db.open().catch((error: unknown) => {
    // Level's own message has no reason; its cause has.
    const { message } = (error as Error).cause as Error;
    throw new Error(`cannot open ${path}: ${message}`, { cause: error });
  });
  const adapter = {
    get: (key: string) => db.get(key),
    set: (key: string, value: string) => db.put(key, value),
    delete: (key: string) => db.del(key),
    clear: () => db.clear(),
  };
  const store = keyvStore(new Keyv({ store: adapter, useKeyPrefix: false, throwOnErrors: true }));

  /** Reads every record, because a read removes an expired one. Records of clients that never return get no other read. */
  async function sweep(): Promise<void> {
    for await (const key of db.keys()) await store.get(key.slice(key.indexOf(':') + 1));
  }
  await sweep();
  // The next sweep repeats a failed one. If the database is broken, each read and write of the router rejects and is logged.
  const timer = setInterval(() => void sweep().catch(() => undefined), SWEEP_INTERVAL_MS).unref();
  return {
    store,
    close() {
      clearInterval(timer);
      return db.close();
    },
  };
}
