import { notAReply, openRedis, Script, type RedisOptions, type SendCommand } from './redis-client.js';
import { RECORDS_FULL_AT, WHEN_FULL } from './redis-memory.js';
import type { SessionStore, StoredRecord } from './session-store.js';
import { sessionHash } from './session-event-store.js';

/** Options of {@link redisStore}. `undefined` is the same as leaving the key out. */
export type RedisStoreOptions = RedisOptions;

// A record is a Redis hash with the fields d(ata), e(poch), o(wner) and s(pare). The owner is empty when no node owns the session.
// The spare time is the part of the time to live, in ms, that begins when the record has expired. A record of an earlier version
// has neither the field nor a spare time.

const CREATE = new Script(`${WHEN_FULL}
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local full = whenFull(${RECORDS_FULL_AT}, #ARGV[1])
if full then return full end
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'e', '0', 'o', ARGV[2], 's', ARGV[4])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])`);

const UPDATE = new Script(`
local held = redis.call('HMGET', KEYS[1], 'e', 'o')
if held[1] ~= ARGV[1] or (ARGV[4] ~= '' and held[2] ~= ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], 'd', ARGV[2], 's', ARGV[5])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])`);

const TOUCH = new Script(`
local held = redis.call('HMGET', KEYS[1], 'e', 'o')
if held[1] ~= ARGV[1] or (ARGV[3] ~= '' and held[2] ~= ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 's', ARGV[4])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);

const REMAINING = new Script(`
local left = redis.call('PTTL', KEYS[1])
if left < 0 then return nil end
return left - (redis.call('HGET', KEYS[1], 's') or 0)`);

const DESTROY = new Script(`
local held = redis.call('HMGET', KEYS[1], 'e', 'o')
if held[1] ~= ARGV[2] or (ARGV[1] ~= '' and held[2] ~= ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])`);

const CLAIM = new Script(`
local held = redis.call('HMGET', KEYS[1], 'e', 'o')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end
redis.call('HINCRBY', KEYS[1], 'e', 1)
redis.call('HSET', KEYS[1], 'o', ARGV[3])
return 1`);

const RELEASE = new Script(`
local held = redis.call('HMGET', KEYS[1], 'e', 'o')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'o', '')
return 1`);

/**
 * Keeps session records in Redis 6.2 or later, or Valkey, which expires them. Keys contain the hash of the session ID, as the ID
 * is a credential. The hash is also the hash tag, so that Redis Cluster keeps all keys of a session on one node.
 *
 * Set `maxmemory-policy noeviction` in Redis. With another policy it drops sessions when it runs out of memory. A fail-over to a
 * replica loses the writes that the replica had not received, and no store can notice that.
 *
 * If Redis has a `maxmemory`, `create` rejects above 90 % of it, so that the records of open sessions have room.
 *
 * @throws TypeError for an unknown option or a wrong value, naming the option, and for both or neither of `client` and
 * `sendCommand`.
 *
 * @example
 * ```ts
 * const client = await createClient({ url }).connect();
 * mcpRouter({ serverFactory, store: redisStore({ client }) });
 * // ioredis, iovalkey
 * redisStore({ sendCommand: (command, ...args) => redis.call(command, ...args) });
 * ```
 */
export function redisStore(options: RedisStoreOptions): Required<SessionStore> {
  const { send, prefix } = openRedis('redisStore', options);
  return new RedisStore(send, prefix, 0);
}

/**
 * A {@link redisStore} that still has expired records for a while. `remaining` resolves to 0 or less for them.
 *
 * @param spare - How much longer Redis keeps a record, in ms.
 */
export function redisStoreWithSpare(send: SendCommand, prefix: string, spare: number): Required<SessionStore> {
  return new RedisStore(send, prefix, spare);
}

class RedisStore implements Required<SessionStore> {
  readonly #send: SendCommand;
  readonly #prefix: string;
  readonly #spare: number;

  constructor(send: SendCommand, prefix: string, spare: number) {
    this.#send = send;
    this.#prefix = prefix;
    this.#spare = spare;
  }

  create(id: string, data: string, owner: string | undefined, ttl: number): Promise<boolean> {
    return this.#run(CREATE, id, data, owner ?? '', ttl + this.#spare, this.#spare);
  }

  async get(id: string): Promise<StoredRecord | undefined> {
    const reply = await this.#send('HMGET', this.#key(id), 'd', 'e', 'o');
    if (!Array.isArray(reply) || reply.length !== 3) throw notAReply(reply);
    const [data, epoch, owner] = reply as unknown[];
    if (data === null && epoch === null) return undefined;
    if (typeof data !== 'string' || typeof epoch !== 'string' || typeof owner !== 'string') throw notAReply(reply);
    return { data, epoch: Number(epoch), owner: owner === '' ? undefined : owner };
  }

  update(id: string, epoch: number, data: string, ttl: number, owner = ''): Promise<boolean> {
    return this.#run(UPDATE, id, epoch, data, ttl + this.#spare, owner, this.#spare);
  }

  async destroy(id: string, epoch?: number, owner = ''): Promise<boolean> {
    if (epoch !== undefined) return this.#run(DESTROY, id, owner, epoch);
    return isDone(await this.#send('DEL', this.#key(id)));
  }

  claim(id: string, expected: Pick<StoredRecord, 'owner' | 'epoch'>, owner: string): Promise<boolean> {
    return this.#run(CLAIM, id, expected.epoch, expected.owner ?? '', owner);
  }

  touch(id: string, epoch: number, ttl: number, owner = ''): Promise<boolean> {
    return this.#run(TOUCH, id, epoch, ttl + this.#spare, owner, this.#spare);
  }

  async remaining(id: string): Promise<number | undefined> {
    const reply = await REMAINING.run(this.#send, this.#key(id));
    if (reply === null) return undefined;
    const ms = typeof reply === 'string' ? Number(reply) : reply;
    if (typeof ms !== 'number' || !Number.isInteger(ms)) throw notAReply(reply);
    return ms;
  }

  release(id: string, owner: string, epoch: number): Promise<boolean> {
    return this.#run(RELEASE, id, epoch, owner);
  }

  async #run(script: Script, id: string, ...args: (string | number)[]): Promise<boolean> {
    return isDone(await script.run(this.#send, this.#key(id), ...args.map(String)));
  }

  #key(id: string): string {
    return recordKey(this.#prefix, id);
  }
}

/**
 * The key of a session's record. The router's stream IDs begin with the same hash, so that Redis Cluster keeps the session's
 * events and its record on one node.
 */
export function recordKey(prefix: string, id: string): string {
  return `${prefix}{${sessionHash(id)}}:session`;
}

/** Whether the script changed something. A reply other than 0 or 1 is an error: as `false` it would mean "no record". */
function isDone(reply: unknown): boolean {
  // Some clients can be configured to return numbers as text.
  const text = String(reply);
  if (text !== '1' && text !== '0') throw notAReply(reply);
  return text === '1';
}
