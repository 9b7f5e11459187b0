import { createHash } from 'node:crypto';
import { callable, checkOptions, type Check } from '../runtime/checks.js';
import { asPromise } from '../runtime/user-code.js';

/**
 * Sends one command, and resolves with Redis' reply unchanged, as strings and numbers. Rejects when Redis answers with an error,
 * or does not answer.
 */
export type SendCommand = (...args: string[]) => Promise<unknown>;

/** The part of a node-redis client that the router needs. */
export interface NodeRedisClient {
  sendCommand(args: string[]): Promise<unknown>;
}

/** The part of a node-redis Sentinel client that the router needs. */
export interface NodeRedisSentinel {
  getSentinelNode(): unknown;
  sendCommand(isReadonly: boolean | undefined, args: string[]): Promise<unknown>;
}

/** Access to Redis: either a client of node-redis, or a function that sends a command through any other client. */
export type RedisAccess =
  | {
      /**
       * A client of node-redis 5 or 6 (the package `redis`), made by `createClient`, or by `createSentinel` with its default
       * `masterPoolSize` of 1. A pool (`createClientPool`) is refused, as its connections overtake one another. The app connects
       * and closes the client. Set `disableOfflineQueue: true`, so that a command rejects at once while Redis is away. By default
       * the client would send it late.
       */
      client: NodeRedisClient | NodeRedisSentinel;
      sendCommand?: undefined;
    }
  | {
      client?: undefined;
      /**
       * For ioredis and iovalkey: `(command, ...args) => redis.call(command, ...args)`, on an instance with
       * `maxRetriesPerRequest: 0`. By default they send a command again when its connection breaks. If the first one had reached
       * Redis, the second one then fails, as for a record that exists already.
       *
       * For a cluster of node-redis: `(...args) => cluster.sendCommand(args[args[0]?.startsWith('EVAL') ? 3 : 1], false, args)`.
       * The key is the fourth word of `EVAL` and `EVALSHA`, and the second word of any other command.
       */
      sendCommand: SendCommand;
    };

/** Options of every store in Redis. */
export type RedisOptions = RedisAccess & {
  /** The prefix of all keys. It must have no braces, which would split a session's keys over the nodes of a cluster. Default: `mcp:`. */
  prefix?: string | undefined;
};

/** The options without the type check that exactly one of `client` and `sendCommand` is set. JavaScript may pass any. */
type Given = { [key in keyof RedisOptions]?: RedisOptions[key] };

/** Refuses clients whose `sendCommand` takes other arguments. They would fail only at the first command. */
const nodeRedis: Check = (value) => {
  const methods = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  if ('totalClients' in methods) {
    return 'a client of createClient or createSentinel, and no pool of createClientPool, whose connections overtake one another';
  }
  const foreign = 'call' in methods || 'getSlotRandomNode' in methods;
  return typeof methods.sendCommand === 'function' && !foreign
    ? undefined
    : 'a client of node-redis (for a cluster, ioredis or iovalkey: option sendCommand)';
};

/** Sends every command to the master, as replicas may lag behind. */
function sendBy(client: NodeRedisClient | NodeRedisSentinel): SendCommand {
  return 'getSentinelNode' in client
    ? (...args) => client.sendCommand(false, args)
    : (...args) => client.sendCommand(args);
}

const prefix: Check = (value) =>
  typeof value === 'string' && !/[{}]/.test(value) ? undefined : 'a string without braces';

const CHECKS: readonly [string, Check][] = [
  ['client', nodeRedis],
  ['sendCommand', callable],
  ['prefix', prefix],
];

/** Checks the options of a function that uses Redis: the common options, and those in `checks`. */
export function openRedis(
  name: string,
  options: RedisOptions,
  checks: Iterable<[string, Check]> = [],
): { send: SendCommand; prefix: string } {
  checkOptions(name, options, new Map([...CHECKS, ...checks]));
  const { client, sendCommand, prefix = 'mcp:' }: Given = options;
  if (sendCommand === undefined && client !== undefined) {
    const sendByClient = sendBy(client);
    return { send: (...args) => asPromise(() => sendByClient(...args)), prefix };
  }
  if (sendCommand !== undefined && client === undefined) {
    return { send: (...args) => asPromise(() => sendCommand(...args)), prefix };
  }
  const got = client === undefined ? 'neither' : 'both';
  throw new TypeError(`${name}: exactly one of the options client and sendCommand is needed; got ${got}`);
}

/** A Lua script, which Redis runs as one atomic step. It is sent by its hash, and in full when Redis does not know the hash. */
export class Script {
  readonly source: string;
  readonly hash: string;

  constructor(source: string) {
    this.source = source;
    this.hash = createHash('sha1').update(source).digest('hex');
  }

  async run(send: SendCommand, key: string, ...args: string[]): Promise<unknown> {
    try {
      return await send('EVALSHA', this.hash, '1', key, ...args);
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error;
      return send('EVAL', this.source, '1', key, ...args);
    }
  }
}

/** The error for a reply that Redis does not give: `sendCommand` lost it, or a client within a transaction got `QUEUED`. */
export function notAReply(reply: unknown): Error {
  const got = Array.isArray(reply) ? 'an array' : reply === null ? 'null' : typeof reply;
  return new Error(`Redis cannot have answered that (${got}); sendCommand must resolve with the reply as it came`);
}
