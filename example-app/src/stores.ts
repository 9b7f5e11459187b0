import { memoryEventStore, type McpRouterOptions } from 'express-mcp-router';
import { redisEventStore, redisStore } from 'express-mcp-router/redis';
import { memoryStore } from 'express-mcp-router/stores';
import type { Logger } from 'pino';
import { ConfigError, type Config, type Place } from './config.js';
import { fileStore } from './file-store.js';
import { connectRedis } from './redis.js';

/** The open stores, which outlive the servers of sessions. */
export interface Stores extends Pick<McpRouterOptions, 'store' | 'eventStore' | 'cluster'> {
  /** Closes the stores. Call it after the router is closed. */
  close(): Promise<void>;
}

/**
 * Opens the configured stores. Without Redis it succeeds too: the app answers 503 until Redis is there.
 *
 * @throws ConfigError when the file store cannot be opened.
 */
export async function openStores({ place, resumable }: Config, logger: Logger): Promise<Stores> {
  if (place?.kind === 'redis' || place?.kind === 'cluster') return openRedis(place, resumable, logger);
  const eventStore = resumable ? memoryEventStore() : undefined;
  if (place?.kind === 'file') return { ...(await openFile(place.path)), eventStore };
  const store = place && memoryStore();
  return { store, eventStore, close: () => Promise.resolve() };
}

async function openFile(path: string): Promise<Pick<Stores, 'store' | 'close'>> {
  try {
    return await fileStore(path);
  } catch (error) {
    throw new ConfigError(`MCP_SESSION_FILE: ${(error as Error).message}`, { cause: error });
  }
}

async function openRedis(
  place: Extract<Place, { kind: 'redis' | 'cluster' }>,
  resumable: boolean,
  logger: Logger,
): Promise<Stores> {
  const { client, close } = await connectRedis(place.url, logger);
  return {
    // The option `cluster` includes the session store.
    ...(place.kind === 'cluster'
      ? { cluster: { ...place.options, redis: { client } } }
      : { store: redisStore({ client }) }),
    eventStore: resumable ? redisEventStore({ client }) : undefined,
    close: () => Promise.resolve(close()),
  };
}
