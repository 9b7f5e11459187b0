import { randomInt } from 'node:crypto';
import type { JSONRPCMessage } from '../protocol/messages.js';
import { clock, count, timer } from '../runtime/checks.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { RedisEventIndex, type KeysOfSession } from './redis-event-index.js';
import { notAReply, openRedis, type RedisOptions, type SendCommand } from './redis-client.js';
import { EVENTS_FULL_AT, WHEN_FULL } from './redis-memory.js';
import { Fenced, type EventFence, type SessionEventStore, sessionOf } from './session-event-store.js';

/** Options of {@link redisEventStore}. `undefined` is the same as leaving the key out. */
export type RedisEventStoreOptions = RedisOptions & {
  /** Events kept of one session. Beyond it, the session's oldest event is dropped. Default: 1,000. */
  maxEvents?: number | undefined;
  /**
   * Bytes kept of one session: the JSON text of the messages, and 200 bytes of overhead for each event. Beyond it, the
   * session's oldest event is dropped. A larger event is not stored. Default: 8,388,608 (8 MiB).
   */
  maxBytesPerSession?: number | undefined;
  /**
   * Bytes kept in all under this prefix, counted in the same way. Beyond it, the oldest events are dropped. The bound is
   * approximate: events that the nodes stored within the last second may exceed it. Default: 268,435,456 (256 MiB).
   */
  maxBytes?: number | undefined;
  /**
   * Milliseconds that an event is kept. Older events are dropped when the session stores its next event. All of them are dropped
   * `maxAge` after the session's last event. Default: 300,000 (5 min).
   */
  maxAge?: number | undefined;
  /** Time and timers, for tests. Default: Node's. */
  clock?: Clock | undefined;
};

/** One entry of a session's Redis Stream. */
interface Entry {
  readonly id: string;
  /** The part of the stream ID after the session. */
  readonly rest: string;
  readonly json: string;
}

/** Where an event is stored, if it is stored. */
interface Place {
  readonly key: string;
  readonly streamId: string;
  readonly rest: string;
  readonly entryId: string;
}

/** Bytes of an event in addition to its text: its entry, the name of its stream, and its place in the list of sizes. */
const EVENT_OVERHEAD = 200;

/** The share of Redis' `maxmemory` down to which events are dropped when it is full. */
const RELIEVED_AT = 0.7;

/** Bytes of events between two checks of Redis' used memory. A check takes about as long as storing an event. */
const MEMORY_CHECK_AFTER = 256 * 1024;

/** How long storing events is paused after Redis was full, in ms. */
const FULL_PAUSE = 1_000;

/**
 * Returns the ID of the entry, the session's size with it, and the ID of the oldest entry. In a new Redis Stream the entry's ID
 * has a random count: entries of the same millisecond from before a purge must not be taken for this one.
 *
 * Drops the oldest entries beyond number, bytes and age. The trim is exact, so that the bounds hold as documented. A list beside
 * the Redis Stream has each entry's ID and its begin and end among all bytes ever stored. Without it, the size of an entry would
 * be known only by reading the entry. The age counts from the new entry's ID, because Redis 7.0 reads its clock again for each
 * command of a script.
 *
 * With a third key, the record of the session, only the owner that the record names may append.
 */
const APPEND = `${WHEN_FULL}
if KEYS[3] then
  local held = redis.call('HMGET', KEYS[3], 'o', 'e')
  if not held[2] then return redis.error_reply('NORECORD the session has no record here') end
  if held[1] ~= ARGV[9] or held[2] ~= ARGV[10] then return redis.error_reply('FENCED the session is owned by another') end
end
if ARGV[7] ~= '0' then
  local full = whenFull(ARGV[7], ARGV[8])
  if full then return full end
end
local last = redis.call('LINDEX', KEYS[2], -1)
local id = '*'
if not last and redis.call('EXISTS', KEYS[1]) == 0 then
  local time = redis.call('TIME')
  id = string.format('%d-%d', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[3])
end
id = redis.call('XADD', KEYS[1], id, 's', ARGV[4], 'm', ARGV[5])
local start = last and tonumber(string.match(last, '%d+$')) or 0
local stop = start + ARGV[8]
local count = redis.call('RPUSH', KEYS[2], string.format('%s %.0f %.0f', id, start, stop))
local young = string.match(id, '%d+') - ARGV[2]
local trimmed = false
local oldest, from
while true do
  local ms
  oldest, ms, from = string.match(redis.call('LINDEX', KEYS[2], 0), '^((%d+)%S+) (%d+)')
  if count <= tonumber(ARGV[1]) and stop - from <= tonumber(ARGV[6]) and tonumber(ms) >= young then break end
  redis.call('LPOP', KEYS[2])
  count = count - 1
  trimmed = true
end
if trimmed then redis.call('XTRIM', KEYS[1], 'MINID', oldest) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return { id, string.format('%.0f', stop - from), oldest }`;

/** Greedy, as a stream ID may contain any character. 15 digits at most: Redis refuses 2^64 or more, and real IDs have fewer. */
const EVENT_ID = /^(?<streamId>.*)_(?<entryId>(?:0|[1-9]\d{0,14})-(?:0|[1-9]\d{0,14}))$/s;

/** Entries that are read at a time, so that a reply of Redis never contains a whole long stream. */
const PAGE = 500;

const MIB = 1024 * 1024;

const isText = (value: unknown): value is string => typeof value === 'string';

/**
 * Keeps the events of streams in Redis 6.2 or later, or Valkey, so that clients can resume on any node: one Redis Stream for
 * each session, bounded by number, bytes and age, and by the bytes of all. The router makes stream IDs whose part before the
 * first `-` is the session.
 *
 * A stream is replayed without a gap or not at all. An event that was dropped is unknown.
 *
 * If Redis has a `maxmemory`, no event is stored above 80 % of it, and the oldest events are dropped down to 70 %. During that
 * time `storeEvent` rejects. Leases and records share that memory and must have room.
 *
 * @throws TypeError for an unknown option or a wrong value, naming the option, and for both or neither of `client` and
 * `sendCommand`.
 *
 * @example
 * ```ts
 * const client = await createClient({ url }).connect();
 * mcpRouter({ serverFactory, store: redisStore({ client }), eventStore: redisEventStore({ client }) });
 * ```
 */
export function redisEventStore(options: RedisEventStoreOptions): Required<SessionEventStore> {
  const { send, prefix } = openRedis('redisEventStore', options, [
    ['maxEvents', count],
    ['maxBytesPerSession', count],
    ['maxBytes', count],
    ['maxAge', timer],
    ['clock', clock],
  ]);
  return new RedisEventStore(send, prefix, options);
}

class RedisEventStore implements Required<SessionEventStore> {
  readonly #send: SendCommand;
  readonly #prefix: string;
  readonly #maxEvents: number;
  readonly #maxBytesPerSession: number;
  readonly #maxAge: number;
  readonly #clock: Clock;
  readonly #index: RedisEventIndex;
  #bytesSinceCheck = MEMORY_CHECK_AFTER;
  #relieving: Promise<void> | undefined;

  constructor(send: SendCommand, prefix: string, options: RedisEventStoreOptions) {
    const { maxEvents = 1_000, maxBytesPerSession = 8 * MIB, maxBytes = 256 * MIB, maxAge = 5 * 60_000 } = options;
    this.#send = send;
    this.#prefix = prefix;
    this.#maxEvents = maxEvents;
    this.#maxBytesPerSession = maxBytesPerSession;
    this.#maxAge = maxAge;
    this.#clock = options.clock ?? systemClock;
    const keysOf = (session: string): KeysOfSession => this.#keys(session);
    this.#index = new RedisEventIndex(send, prefix, keysOf, { maxBytes, maxAge, clock: this.#clock });
  }

  /** Sends the event before it returns, so that events have the order of the calls. */
  async storeEvent(streamId: string, message: JSONRPCMessage, fence?: EventFence): Promise<string> {
    const session = sessionOf(streamId);
    const json = JSON.stringify(message);
    const bytes = Buffer.byteLength(json) + EVENT_OVERHEAD;
    if (bytes > this.#maxBytesPerSession)
      throw new Error(`redisEventStore: ${bytes} bytes are more than a session may hold`);
    if (this.#relieving !== undefined)
      throw new Error('redisEventStore: Redis is full, and no event is stored for a while');
    const keys = fence === undefined ? this.#keys(session) : [...this.#keys(session), fence.key];
    const args = [
      ...[String(this.#maxEvents), String(this.#maxAge), String(randomInt(2 ** 30))],
      ...[streamId.slice(session.length), json, String(this.#maxBytesPerSession)],
      ...[this.#mustCheckMemory(bytes) ? String(EVENTS_FULL_AT) : '0', String(bytes)],
      ...(fence === undefined ? [] : [fence.owner, String(fence.epoch)]),
    ];
    // The script is sent in full, not by its hash. Otherwise two appends may change their order: Redis may not know the hash at
    // the first one, and know it at the second because another process has loaded the script between them.
    const reply = await this.#send('EVAL', APPEND, String(keys.length), ...keys, ...args).catch((error: unknown) =>
      this.#refused(error),
    );
    if (!Array.isArray(reply) || !reply.every(isText)) throw notAReply(reply);
    const [entryId = '', held = '', oldest = ''] = reply;
    if (!EVENT_ID.test(`_${entryId}`)) throw notAReply(reply);
    this.#index.note(session, { bytes: Number(held), since: parseInt(oldest, 10), record: fence?.key ?? '' }, bytes);
    return `${streamId}_${entryId}`;
  }

  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    const place = this.#place(eventId);
    return place !== undefined && (await this.#holds(place)) ? place.streamId : undefined;
  }

  /**
   * Sends the events after the given one, and those that are stored during the replay. Rejects when `send` rejects. Rejects when
   * events are dropped before they were read, as the client might have a gap in its stream.
   */
  async replayEventsAfter(
    lastEventId: string,
    { send }: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const place = this.#place(lastEventId);
    if (place === undefined || !(await this.#holds(place))) return '';
    const { key, streamId, rest } = place;
    let last: string | undefined = place.entryId;
    while (last !== undefined) {
      const page: Entry[] = await this.#after(key, last);
      for (const entry of page) {
        if (entry.rest === rest) await send(`${streamId}_${entry.id}`, JSON.parse(entry.json) as JSONRPCMessage);
      }
      last = page.at(-1)?.id;
    }
    return streamId;
  }

  async purge(session: string): Promise<void> {
    await this.#send('UNLINK', ...this.#keys(session));
    this.#index.forget(session);
  }

  #mustCheckMemory(bytes: number): boolean {
    this.#bytesSinceCheck += bytes;
    if (this.#bytesSinceCheck < MEMORY_CHECK_AFTER) return false;
    this.#bytesSinceCheck = 0;
    return true;
  }

  /**
   * Starts to free memory when Redis is full.
   *
   * @throws Fenced when another node owns the session, else the error itself.
   */
  #refused(error: unknown): never {
    const text = String(error);
    if (text.includes('FENCED')) throw new Fenced('the session is owned by another node', { cause: error });
    const [, used, most] = /FULL (\d+) of (\d+)/.exec(text) ?? [];
    if (used !== undefined || text.includes('OOM')) {
      this.#bytesSinceCheck = MEMORY_CHECK_AFTER;
      this.#relieving ??= this.#relieve(Number(used) - RELIEVED_AT * Number(most)).finally(
        () => (this.#relieving = undefined),
      );
    }
    throw error;
  }

  /** @param bytes - Bytes to free. NaN when Redis has not reported its memory. */
  async #relieve(bytes: number): Promise<void> {
    await this.#index.relieve(Number.isNaN(bytes) ? this.#maxBytesPerSession : bytes);
    await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, FULL_PAUSE));
  }

  #place(eventId: string): Place | undefined {
    const { streamId, entryId } = EVENT_ID.exec(eventId)?.groups ?? {};
    if (streamId === undefined || entryId === undefined) return undefined;
    const session = sessionOf(streamId);
    return { key: this.#keys(session)[0], streamId, rest: streamId.slice(session.length), entryId };
  }

  async #holds({ key, rest, entryId }: Place): Promise<boolean> {
    const [entry] = await this.#range(key, entryId, entryId, 1);
    return entry?.rest === rest;
  }

  /** The next entries of a session. The last one is read again: if it is still stored, no later entry was dropped. */
  async #after(key: string, last: string): Promise<Entry[]> {
    const [again, ...page] = await this.#range(key, last, '+', 1 + PAGE);
    if (again?.id === last) return page;
    throw new Error('redisEventStore: an event was trimmed before it could be replayed');
  }

  async #range(key: string, from: string, to: string, limit: number): Promise<Entry[]> {
    const reply = await this.#send('XRANGE', key, from, to, 'COUNT', String(limit));
    if (!Array.isArray(reply)) throw notAReply(reply);
    return reply.map(([id, [, rest, , json]]: [string, [string, string, string, string]]) => ({ id, rest, json }));
  }

  #keys(session: string): KeysOfSession {
    const events = `${this.#prefix}{${session}}:events`;
    return [events, `${events}:sizes`];
  }
}
