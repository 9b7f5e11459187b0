import { ClassicLevel } from 'classic-level';
import { keyvStore, type SessionStore } from 'express-mcp-router/stores';
import { Keyv } from 'keyv';

const SWEEP_INTERVAL_MS = 60 * 60_000;

/**
 * Opens a session store that outlives the process: a LevelDB database, which is a directory, made if there is none.
 *
 * What it was asked to write is with the operating system before it says so, and so survives a process that is killed at any
 * moment; it need not survive a loss of power. LevelDB lets one process at a time open it.
 *
 * @throws Error when it cannot be opened, saying why.
 */
export async function fileStore(path: string): Promise<{ store: SessionStore; close: () => Promise<void> }> {
  const db = new ClassicLevel(path);
  await db.open().catch((error: unknown) => {
    // Level says only that it failed, and has the reason as its cause.
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

  /** A read removes a record whose time is over; nobody else would read that of a client which never came back. */
  async function sweep(): Promise<void> {
    for await (const key of db.keys()) await store.get(key.slice(key.indexOf(':') + 1));
  }
  await sweep();
  // A sweep that fails leaves what it has not seen to the next one; if the database is broken, all that use it are told so.
  const timer = setInterval(() => void sweep().catch(() => undefined), SWEEP_INTERVAL_MS).unref();
  return {
    store,
    close() {
      clearInterval(timer);
      return db.close();
    },
  };
}
