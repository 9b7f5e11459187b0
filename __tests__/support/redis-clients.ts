import { Redis as IoRedis } from 'ioredis';
import { Redis as IoValkey } from 'iovalkey';
import { createClient, createCluster } from 'redis';
import { createClient as createClient5 } from 'redis5';
import type { RedisAccess, SendCommand } from '../../src/stores/redis.js';

export interface ConnectedRedis {
  /** As an app would give it to a store. */
  readonly access: RedisAccess;
  /** For the test's own questions. */
  readonly ask: SendCommand;
  /** Ends the connection at once, and for good. */
  readonly close: () => unknown;
}

export type Connect = (url: string) => Promise<ConnectedRedis>;

interface NodeRedis {
  on(event: 'error', listener: () => void): unknown;
  connect(): Promise<unknown>;
  sendCommand(args: string[]): Promise<unknown>;
  destroy(): unknown;
}

/** An `error` event without a listener would end the process. */
const ignore = (): void => undefined;

/** A second call does nothing, where node-redis would throw. */
function once(close: () => unknown): () => unknown {
  let closing: unknown;
  let closed = false;
  return () => {
    if (!closed) closing = close();
    closed = true;
    return closing;
  };
}

async function nodeRedis(client: NodeRedis): Promise<ConnectedRedis> {
  client.on('error', ignore);
  await client.connect();
  return { access: { client }, ask: (...args) => client.sendCommand(args), close: once(() => client.destroy()) };
}

/** ioredis, and iovalkey, which began as a copy of it. */
async function ioRedis(redis: IoRedis | IoValkey): Promise<ConnectedRedis> {
  redis.on('error', ignore);
  await redis.connect();
  const sendCommand: SendCommand = (command, ...args) => redis.call(command, ...args);
  return { access: { sendCommand }, ask: sendCommand, close: once(() => redis.disconnect()) };
}

const IO_OPTIONS = { lazyConnect: true, maxRetriesPerRequest: 0 } as const;

/** Every client that the documentation names, in each of the protocols that it speaks. */
export const REDIS_CLIENTS: readonly (readonly [name: string, connect: Connect])[] = [
  ['redis 6', (url) => nodeRedis(createClient({ url }))],
  ['redis 6, RESP2', (url) => nodeRedis(createClient({ url, RESP: 2 }))],
  ['redis 5', (url) => nodeRedis(createClient5({ url }))],
  ['redis 5, RESP3', (url) => nodeRedis(createClient5({ url, RESP: 3 }))],
  ['ioredis', (url) => ioRedis(new IoRedis(url, { ...IO_OPTIONS, protocol: 2 }))],
  ['ioredis, RESP3', (url) => ioRedis(new IoRedis(url, { ...IO_OPTIONS, protocol: 3 }))],
  ['iovalkey', (url) => ioRedis(new IoValkey(url, IO_OPTIONS))],
];

export const connectRedis: Connect = REDIS_CLIENTS[0]![1];

/** A cluster client needs the key of a command to find its node (documentation of `sendCommand`). */
export const connectCluster: Connect = async (url) => {
  const cluster = createCluster({ rootNodes: [{ url }] });
  cluster.on('error', ignore);
  await cluster.connect();
  const sendCommand: SendCommand = (...args) =>
    cluster.sendCommand(args[args[0]?.startsWith('EVAL') ? 3 : 1], false, args);
  return {
    access: { sendCommand },
    ask: (...args) => cluster.sendCommand(undefined, false, args),
    close: once(() => cluster.destroy()),
  };
};
