import type { Logger } from 'pino';
import { createClient } from 'redis';

/** How often Redis is tried while it is away, and how long one try may take, so that it is found soon once it is back. */
const RETRY_MS = 500;
const CONNECT_MS = 1_000;

/** How often Redis is asked for a sign of life, and how long it may take for one. */
const PING_MS = 1_000;
const DEAD_MS = 5_000;

const ignore = (): void => undefined;

/**
 * A client that finds Redis again, whatever became of it, and rejects what is asked of it meanwhile.
 *
 * Resolves after the first try to connect: clients of the app find their sessions from the start, but it starts without Redis too.
 */
export async function connectRedis(url: string, logger: Logger) {
  const client = createClient({
    url,
    // A command for a Redis that is away fails at once, and its request gets 503. In a queue it would wait for its time-out,
    // and be carried out late, when its request was refused long ago.
    disableOfflineQueue: true,
    // The last one is for what is not connected yet: in traffic, a socket is never idle, though only our own words go out on it.
    socket: { reconnectStrategy: RETRY_MS, connectTimeout: CONNECT_MS, socketTimeout: DEAD_MS },
  });
  // An error would end the process if nobody listened; one line tells of it, however often Redis is tried.
  let away = false;
  client.on('error', (error: unknown) => {
    logger[away ? 'debug' : 'error']({ err: error }, 'Redis is away');
    away = true;
  });
  client.on('ready', () => {
    logger.info('Redis is there');
    away = false;
  });

  const tried = new Promise((resolve) => client.once('ready', resolve).once('error', resolve));
  // It tries until it is closed; then it rejects. What goes wrong with a try is an `error` event.
  const connect = (): void => void client.connect().catch(ignore);
  connect();

  // The death of a connection may go unnoticed for a quarter of an hour (Linux, tcp_retries2); a new one may find Redis.
  const watch = setInterval(() => {
    if (!client.isReady) return;
    const dead = setTimeout(() => {
      logger.error('Redis is silent; the connection is given up');
      client.destroy();
      connect();
    }, DEAD_MS);
    client
      .ping()
      .catch(ignore)
      .finally(() => clearTimeout(dead));
  }, PING_MS).unref();

  await tried;
  return {
    client,
    close: () => {
      clearInterval(watch);
      client.destroy();
    },
  };
}
