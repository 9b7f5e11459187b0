import type { Clock } from '../runtime/clock.js';
import { notAReply, type SendCommand } from './redis-client.js';

/** Changes are written to the index after this time in ms, or this number of bytes of events, whichever comes first. */
const UPDATE_AFTER = { ms: 1_000, bytes: 256 * 1024 };

/** The number of sessions in a round, and the bytes that are dropped of each session at most. */
const ROUND = { sessions: 20, bytes: 1024 * 1024 };

/** Rounds in a sweep. With the sizes above, they free more than any sensible bound needs. */
const MAX_ROUNDS = 1_000;

/** A sweep drops events down to this share of `maxBytes`, so that the next event does not start another sweep. */
const SWEEP_TARGET = 0.9;

/**
 * Writes the sizes of changed sessions.
 *
 * Keys: a hash of sizes, a sorted set by age, and the sum. Arguments: the number of sessions to return, then the name, size, age
 * and record key of each changed session. Returns the total, the sessions with the oldest events, and some at random: of each
 * its name, and its size and record key.
 */
const UPDATE = `
local total = tonumber(redis.call('GET', KEYS[3]) or 0)
for i = 2, #ARGV, 4 do
  local session, bytes = ARGV[i], tonumber(ARGV[i + 1])
  total = total + bytes - tonumber(string.match(redis.call('HGET', KEYS[1], session) or '0', '%d+'))
  if bytes > 0 then
    redis.call('HSET', KEYS[1], session, ARGV[i + 1] .. ' ' .. ARGV[i + 3])
    redis.call('ZADD', KEYS[2], ARGV[i + 2], session)
  else
    redis.call('HDEL', KEYS[1], session)
    redis.call('ZREM', KEYS[2], session)
  end
end
if #ARGV > 1 then redis.call('SET', KEYS[3], string.format('%.0f', total)) end
local reply = { string.format('%.0f', total) }
local function add(sessions)
  local list = {}
  for _, session in ipairs(sessions) do
    list[#list + 1] = session
    list[#list + 1] = redis.call('HGET', KEYS[1], session) or '0 '
  end
  reply[#reply + 1] = list
end
add(redis.call('ZRANGE', KEYS[2], 0, ARGV[1] - 1))
add(redis.call('ZRANDMEMBER', KEYS[2], ARGV[1]))
return reply`;

/**
 * Drops a session's oldest events: the wanted number of bytes, all events that are too old, and all events if its record is gone.
 * Returns the bytes that remain, the time of the oldest event, and the bytes that were dropped.
 */
const TRIM = `
local ended = KEYS[3] and redis.call('EXISTS', KEYS[3]) == 0
local last = redis.call('LINDEX', KEYS[2], -1)
local finish = last and tonumber(string.match(last, '%d+$')) or 0
local time = redis.call('TIME')
local young = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
local dropped = 0
while true do
  local first = redis.call('LINDEX', KEYS[2], 0)
  if not first then
    redis.call('UNLINK', KEYS[1])
    return { '0', '0', string.format('%.0f', dropped) }
  end
  local id, ms, start, stop = string.match(first, '^((%d+)%S+) (%d+) (%d+)$')
  if not ended and dropped >= tonumber(ARGV[1]) and tonumber(ms) >= young then
    if dropped > 0 then redis.call('XTRIM', KEYS[1], 'MINID', id) end
    return { string.format('%.0f', finish - start), ms, string.format('%.0f', dropped) }
  end
  redis.call('LPOP', KEYS[2])
  dropped = dropped + stop - start
end`;

/** The size and age of one session's events. */
export interface Held {
  readonly bytes: number;
  /** When its oldest event was stored, in ms since 1970 by Redis' clock. */
  readonly since: number;
  /** The key of the session's record; empty if it is not known. */
  readonly record: string;
}

interface Candidate {
  readonly session: string;
  readonly bytes: number;
  readonly record: string;
}

/** The keys of a session's events, all in one slot of a Redis Cluster. */
export type KeysOfSession = readonly [events: string, sizes: string];

interface IndexInit {
  readonly maxBytes: number;
  readonly maxAge: number;
  readonly clock: Clock;
}

const GONE: Held = { bytes: 0, since: 0, record: '' };

/**
 * The sizes of all sessions' events, for all nodes that share a prefix. It keeps their sum within a bound by dropping the oldest
 * events. Changes are written to it late, so the bound is approximate. It also drops events that remain of ended sessions.
 */
export class RedisEventIndex {
  readonly #send: SendCommand;
  readonly #keys: readonly [sizes: string, ages: string, sum: string];
  readonly #keysOf: (session: string) => KeysOfSession;
  readonly #maxBytes: number;
  readonly #maxAge: number;
  readonly #clock: Clock;
  readonly #changed = new Map<string, Held>();
  #bytesChanged = 0;
  #timer: unknown;
  #sweeping: Promise<void> | undefined;

  constructor(
    send: SendCommand,
    prefix: string,
    keysOf: (session: string) => KeysOfSession,
    { maxBytes, maxAge, clock }: IndexInit,
  ) {
    this.#send = send;
    // These keys differ from every session's keys, which have a hash of fixed length.
    this.#keys = [`${prefix}{events}:held`, `${prefix}{events}:since`, `${prefix}{events}:sum`];
    this.#keysOf = keysOf;
    this.#maxBytes = maxBytes;
    this.#maxAge = maxAge;
    this.#clock = clock;
  }

  /** @param added - Bytes that were stored just now. */
  note(session: string, held: Held, added: number): void {
    this.#changed.set(session, held);
    this.#bytesChanged += added;
    if (this.#bytesChanged >= UPDATE_AFTER.bytes) void this.#begin(0);
    else this.#later();
  }

  forget(session: string): void {
    this.#changed.set(session, GONE);
    this.#later();
  }

  /** Frees that many bytes, or all bytes. Never rejects. */
  async relieve(bytes: number): Promise<void> {
    while (this.#sweeping !== undefined) await this.#sweeping;
    await this.#begin(bytes);
  }

  /** Never rejects. A sweep that fails is repeated with the next event. */
  #begin(bytes: number): Promise<void> {
    this.#sweeping ??= this.#sweep(bytes)
      .catch(() => undefined)
      .finally(() => {
        this.#sweeping = undefined;
        if (this.#changed.size > 0) this.#later();
      });
    return this.#sweeping;
  }

  #later(): void {
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      void this.#begin(0);
    }, UPDATE_AFTER.ms);
  }

  async #sweep(wanted: number): Promise<void> {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const { total, oldest, some } = await this.#update();
      const excess = Math.max(wanted, total > this.#maxBytes ? total - SWEEP_TARGET * this.#maxBytes : 0);
      if (excess <= 0 && round > 0) return;
      const progress = await this.#trim(excess > 0 ? oldest : some, excess);
      if (progress === 0) return;
      wanted -= progress;
    }
  }

  /** @throws Error when Redis fails. The changes are then written the next time. */
  async #update(): Promise<{ total: number; oldest: Candidate[]; some: Candidate[] }> {
    const changed = [...this.#changed];
    this.#changed.clear();
    this.#bytesChanged = 0;
    const words = changed.flatMap(([session, { bytes, since, record }]) => [
      session,
      String(bytes),
      String(since),
      record,
    ]);
    try {
      const reply = await this.#send('EVAL', UPDATE, '3', ...this.#keys, String(ROUND.sessions), ...words);
      if (!Array.isArray(reply) || reply.length !== 3) throw notAReply(reply);
      const [total, oldest, some] = reply as [string, string[], string[]];
      return { total: Number(total), oldest: candidates(oldest), some: candidates(some) };
    } catch (error) {
      for (const [session, held] of changed) if (!this.#changed.has(session)) this.#changed.set(session, held);
      throw error;
    }
  }

  /** Resolves to the bytes that were freed. */
  async #trim(sessions: readonly Candidate[], excess: number): Promise<number> {
    let progress = 0;
    for (const { session, bytes, record } of sessions) {
      if (excess > 0 && progress >= excess) break;
      const wanted = Math.min(Math.max(0, excess - progress), ROUND.bytes);
      const keys = record === '' ? this.#keysOf(session) : [...this.#keysOf(session), record];
      const words = [String(keys.length), ...keys, String(Math.ceil(wanted)), String(this.#maxAge)];
      const reply = await this.#send('EVAL', TRIM, ...words);
      if (!Array.isArray(reply) || reply.length !== 3) throw notAReply(reply);
      const [held, since] = (reply as string[]).map(Number) as [number, number];
      if (held === bytes) continue;
      progress += Math.max(0, bytes - held);
      if (!this.#changed.has(session)) this.#changed.set(session, { bytes: held, since, record });
    }
    return progress;
  }
}

/** @param words - Alternately a session's name, and its size and record key with a space between them. */
function candidates(words: readonly string[]): Candidate[] {
  const found: Candidate[] = [];
  for (let at = 0; at + 1 < words.length; at += 2) {
    const held = words[at + 1] ?? '';
    const space = held.indexOf(' ');
    found.push({ session: words[at] ?? '', bytes: Number(held.slice(0, space)), record: held.slice(space + 1) });
  }
  return found;
}
