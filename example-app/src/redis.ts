import type { Logger } from 'pino';
import { createClient } from 'redis';

/** The pause between attempts to connect, and the time-out of one attempt. Both are short, to find a returned Redis soon. */
const RETRY_MS = 500;
const CONNECT_MS = 1_000;

/** The interval of PINGs, and the time after which a connection without an answer counts as dead. */
const PING_MS = 1_000;
const DEAD_MS = 5_000;

const ignore = (): void => undefined;

/**
 * Creates a client that reconnects after any failure, and rejects commands until it is connected.
 *
 * Resolves after the first attempt to connect, even a failed one. So sessions are there from the start, and the app also starts
 * without Redis.
 */
export async function connectRedis(url: string, logger: Logger) {
  const client = createClient({
    url,
    // Without a connection a command fails at once, and its request gets 503. A queued command would run later, after its
    // request had timed out.
    disableOfflineQueue: true,
    // `socketTimeout` covers only the handshake: later, outgoing commands alone keep the socket from being idle.
    socket: { reconnectStrategy: RETRY_MS, connectTimeout: CONNECT_MS, socketTimeout: DEAD_MS },
  });
  // An `error` event without a listener would end the process. Only the first failed attempt is logged as an error.
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
  // `connect` retries until the client is destroyed, then rejects. Failed attempts are `error` events.
  const connect = (): void => void client.connect().catch(ignore);
  connect();

  // Linux may report a dead connection only after 15 minutes (tcp_retries2), while a new connection would work.
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
