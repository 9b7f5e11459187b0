import { createHash } from 'node:crypto';
import { callable, checkOptions, type Check } from '../runtime/checks.js';
import { asPromise } from '../runtime/user-code.js';

/**
 * Sends one command and resolves with Redis' reply as it came, strings and numbers; rejects where Redis answers with an
 * error, and where there is no answer.
 */
export type SendCommand = (...args: string[]) => Promise<unknown>;

/** What is needed of a client of node-redis. */
export interface NodeRedisClient {
  sendCommand(args: string[]): Promise<unknown>;
}

/** What is needed of a client of node-redis that finds its master by Sentinel. */
export interface NodeRedisSentinel {
  getSentinelNode(): unknown;
  sendCommand(isReadonly: boolean | undefined, args: string[]): Promise<unknown>;
}

/** How to reach Redis, exactly one of: a client of node-redis, or a function that sends by any other client. */
export type RedisAccess =
  | {
      /**
       * A client of node-redis 5 or 6 (the package `redis`): of `createClient`, or of `createSentinel` with its default
       * `masterPoolSize` of 1. A pool (`createClientPool`) is refused, as its connections overtake one another. To connect
       * and to close it stays the app's affair. With `disableOfflineQueue: true` it rejects at once what is asked while Redis
       * is away, instead of doing it late.
       */
      client: NodeRedisClient | NodeRedisSentinel;
      sendCommand?: undefined;
    }
  | {
      client?: undefined;
      /**
       * Of ioredis and iovalkey: `(command, ...args) => redis.call(command, ...args)`, on an instance with
       * `maxRetriesPerRequest: 0`, so that what a lost connection leaves unanswered rejects. By default they send it again, and
       * what had been done the first time then finds its own doing in its way.
       *
       * Of a cluster of node-redis: `(...args) => cluster.sendCommand(args[args[0]?.startsWith('EVAL') ? 3 : 1], false, args)`,
       * as the key is the fourth word of `EVAL` and `EVALSHA`, and the second of any other command.
       */
      sendCommand: SendCommand;
    };

/** Options of everything that is kept in Redis. */
export type RedisOptions = RedisAccess & {
  /** What all keys begin with; without braces, which would split a session's keys over the nodes of a cluster. Default: `mcp:`. */
  prefix?: string | undefined;
};

/** What may be given by JavaScript, where no type says that it must be one of the two. */
type Given = { [key in keyof RedisOptions]?: RedisOptions[key] };

/** A client of another kind has a `sendCommand` that takes something else, and would fail at the first command only. */
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

/** Replicas may lag behind: everything is asked of the master. */
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

/** Checks the options, those that are all stores' and the function's own. */
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

/** A Lua script, which Redis runs as one atomic step; sent by its hash, and whole when Redis does not know it (any more). */
export class Script {
  readonly #source: string;
  readonly #hash: string;

  constructor(source: string) {
    this.#source = source;
    this.#hash = createHash('sha1').update(source).digest('hex');
  }

  async run(send: SendCommand, key: string, ...args: string[]): Promise<unknown> {
    try {
      return await send('EVALSHA', this.#hash, '1', key, ...args);
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error;
      return send('EVAL', this.#source, '1', key, ...args);
    }
  }
}

/** What nothing may be concluded from: a reply lost by `sendCommand`, or `QUEUED` by a client within a transaction. */
export function notAReply(reply: unknown): Error {
  const got = Array.isArray(reply) ? 'an array' : reply === null ? 'null' : typeof reply;
  return new Error(`Redis cannot have answered that (${got}); sendCommand must resolve with the reply as it came`);
}
