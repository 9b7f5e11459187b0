import { randomInt } from 'node:crypto';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { count, timer } from '../checks.js';
import { notAReply, openRedis, type RedisOptions, type SendCommand } from './redis-client.js';
import { Fenced, type EventFence, type SessionEventStore } from './session-event-store.js';
import { sessionOf } from './stream-session.js';

/** Options of {@link redisEventStore}. `undefined` is the same as leaving the key out. */
export type RedisEventStoreOptions = RedisOptions & {
  /** Events kept of one session; past it, the session's oldest goes. Default: 1,000. */
  maxEvents?: number | undefined;
  /**
   * Milliseconds that an event is kept; older ones go with the session's next event, and all of them so long after its last.
   * Default: 300,000 (5 min).
   */
  maxAge?: number | undefined;
};

/** One entry of a session's Redis Stream. */
interface Entry {
  readonly id: string;
  /** What follows the session in the stream ID. */
  readonly rest: string;
  readonly json: string;
}

/** Where an event is, if it is held at all. */
interface Place {
  readonly key: string;
  readonly streamId: string;
  readonly rest: string;
  readonly entryId: string;
}

/**
 * Returns the ID of the entry, which in a stream that begins here has its count begin anywhere: entries of the same millisecond
 * from before a purge must not be taken for this one. Out go the oldest, past the number and the age by Redis' clock; exactly
 * those, as bounds are to mean what they say. The age counts from the new entry's ID: Redis 7.0 reads its clock anew for each command
 * of a script.
 *
 * With a second key, the record of the session, only who owns it by that record may append.
 */
const APPEND = `
if KEYS[2] then
  local held = redis.call('HMGET', KEYS[2], 'o', 'e')
  if not held[2] then return redis.error_reply('NORECORD the session has no record here') end
  if held[1] ~= ARGV[6] or held[2] ~= ARGV[7] then return redis.error_reply('FENCED the session is owned by another') end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id = redis.call('EXISTS', KEYS[1]) == 1 and '*' or string.format('%d-%d', now, ARGV[3])
id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], id, 's', ARGV[4], 'm', ARGV[5])
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d', string.match(id, '%d+') - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return id`;

/** Greedy, as a stream ID may hold any character. Redis refuses an entry ID of 2^64 or more; no real one has 16 digits. */
const EVENT_ID = /^(?<streamId>.*)_(?<entryId>(?:0|[1-9]\d{0,14})-(?:0|[1-9]\d{0,14}))$/s;

/** Entries read at a time, so that neither Redis nor this process holds all of a long stream at once. */
const PAGE = 500;

/**
 * Keeps the events of streams in Redis 6.2 or later, or Valkey, so that clients can resume on any node: one Redis Stream for
 * each session, bounded by number and age. What precedes the first `-` of a stream ID is its session, as the router makes them.
 *
 * A stream is replayed without a hole or not at all: an event that is no longer held is unknown.
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
    ['maxAge', timer],
  ]);
  return new RedisEventStore(send, prefix, options.maxEvents ?? 1_000, options.maxAge ?? 5 * 60_000);
}

class RedisEventStore implements Required<SessionEventStore> {
  readonly #send: SendCommand;
  readonly #prefix: string;
  readonly #bounds: readonly [maxEvents: string, maxAge: string];

  constructor(send: SendCommand, prefix: string, maxEvents: number, maxAge: number) {
    this.#send = send;
    this.#prefix = prefix;
    this.#bounds = [String(maxEvents), String(maxAge)];
  }

  /** Sent when the call returns, so that events have the order of the calls. */
  async storeEvent(streamId: string, message: JSONRPCMessage, fence?: EventFence): Promise<string> {
    const session = sessionOf(streamId);
    const first = String(randomInt(2 ** 30));
    const args = [...this.#bounds, first, streamId.slice(session.length), JSON.stringify(message)];
    // Not by the script's hash: where Redis has forgotten it and another process brings it back, the first of two appends
    // would be refused and the second not, and they would change places.
    const entryId = await (
      fence === undefined
        ? this.#send('EVAL', APPEND, '1', this.#key(session), ...args)
        : this.#send('EVAL', APPEND, '2', this.#key(session), fence.key, ...args, fence.owner, String(fence.epoch))
    ).catch((error: unknown) => {
      throw String(error).includes('FENCED')
        ? new Fenced('the session is owned by another node', { cause: error })
        : error;
    });
    if (typeof entryId !== 'string' || !EVENT_ID.test(`_${entryId}`)) throw notAReply(entryId);
    return `${streamId}_${entryId}`;
  }

  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    const place = this.#place(eventId);
    return place !== undefined && (await this.#holds(place)) ? place.streamId : undefined;
  }

  /**
   * Sends what came after the event, and what is stored meanwhile. Rejects when `send` does, and when events that are still
   * to be read are trimmed while `send` waits: the client might have a hole in its stream.
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
    await this.#send('UNLINK', this.#key(session));
  }

  #place(eventId: string): Place | undefined {
    const { streamId, entryId } = EVENT_ID.exec(eventId)?.groups ?? {};
    if (streamId === undefined || entryId === undefined) return undefined;
    const session = sessionOf(streamId);
    return { key: this.#key(session), streamId, rest: streamId.slice(session.length), entryId };
  }

  async #holds({ key, rest, entryId }: Place): Promise<boolean> {
    const [entry] = await this.#range(key, entryId, entryId, 1);
    return entry?.rest === rest;
  }

  /** The next entries of a session. The last one is read again: that it is still held shows that none after it is gone. */
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

  #key(session: string): string {
    return `${this.#prefix}{${session}}:events`;
  }
}
