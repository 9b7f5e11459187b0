import { createHash } from 'node:crypto';
import { orStoreUnavailable, Refusal } from '../errors.js';
import type { PrincipalCounts } from '../sessions/limits/principal-counts.js';
import { notAReply, Script, type SendCommand } from '../stores/redis-client.js';

/** How often a session is ended for a new one. Another node may take the place each time. */
const ATTEMPTS = 3;

// The sessions of a principal are a sorted set of their IDs, by when each is over by Redis' clock.

/** Whether the session is one of the principal's now: with a number given, only if there is room for it. */
const ENTER = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known and ARGV[3] ~= '' and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[2]), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1`);

/** The sessions that were not renewed for so long. */
const UNUSED = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now + ARGV[1] - ARGV[2]))`);

export interface PrincipalCountsInit {
  readonly send: SendCommand;
  readonly prefix: string;
  /** How long a session counts that is not renewed, in ms. */
  readonly lifetime: number;
  /** After how long, in ms, one that was not renewed cannot be in use. */
  readonly unused: number;
  /** How many sessions a principal may have; undefined for any number. */
  readonly most: number | undefined;
  /** Ends the session that was orphaned for the longest; false when none is. */
  readonly evict: (principal: string) => Promise<boolean>;
}

/** The sessions of each principal on all nodes. */
export class ClusterPrincipalCounts implements PrincipalCounts {
  readonly #init: PrincipalCountsInit;

  constructor(init: PrincipalCountsInit) {
    this.#init = init;
  }

  async enter(principal: string, sessionId: string, evicts: boolean): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (await this.#enter(principal, sessionId, this.#init.most)) return;
      if (!evicts || !(await this.#init.evict(principal))) break;
    }
    throw new Refusal('principalAtCapacity');
  }

  async renew(principal: string, sessionId: string): Promise<void> {
    await this.#enter(principal, sessionId);
  }

  async leave(principal: string, sessionId: string): Promise<void> {
    await orStoreUnavailable(this.#init.send('ZREM', this.#key(principal), sessionId));
  }

  async sessionsOf(principal: string): Promise<string[]> {
    const ids = await orStoreUnavailable(this.#init.send('ZRANGE', this.#key(principal), '0', '-1'));
    if (!Array.isArray(ids)) throw new Refusal('storeUnavailable', { cause: notAReply(ids) });
    return ids.map(String);
  }

  async longUnused(principal: string): Promise<string[]> {
    const { send, lifetime, unused } = this.#init;
    const ids = await orStoreUnavailable(UNUSED.run(send, this.#key(principal), String(lifetime), String(unused)));
    if (!Array.isArray(ids)) throw new Refusal('storeUnavailable', { cause: notAReply(ids) });
    return ids.map(String);
  }

  async #enter(principal: string, sessionId: string, most?: number): Promise<boolean> {
    const { send, lifetime } = this.#init;
    const bounds = [String(lifetime), most === undefined ? '' : String(most)];
    const said = String(await orStoreUnavailable(ENTER.run(send, this.#key(principal), sessionId, ...bounds)));
    if (said !== '0' && said !== '1') throw new Refusal('storeUnavailable', { cause: notAReply(said) });
    return said === '1';
  }

  /** Keys hold a hash of the principal's name, which may be personal data. */
  #key(principal: string): string {
    return `${this.#init.prefix}{${createHash('sha256').update(principal).digest('hex').slice(0, 32)}}:principal`;
  }
}
