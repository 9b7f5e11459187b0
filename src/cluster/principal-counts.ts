import { createHash } from 'node:crypto';
import { orStoreUnavailable, Refusal } from '../errors.js';
import type { PrincipalCounts } from '../sessions/limits/principal-counts.js';
import { notAReply, Script, type SendCommand } from '../stores/redis-client.js';

/** Attempts to evict a session for a new one. Another node may take the free place each time. */
const ATTEMPTS = 3;

// The sessions of a principal are a sorted set of session IDs. The score is the time at which the entry expires by Redis' clock.

// An expired entry does not count, and is kept for a spare time. The session may live, if the clock was set forward.

/**
 * Adds or renews a session of the principal for ARGV[2] ms, and a spare time of ARGV[4] ms. Returns 0 when it is new and the
 * principal has reached the limit ARGV[3].
 */
const ENTER = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = tonumber(ARGV[2]) + tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now - ARGV[4]))
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
local alive = string.format('(%d', now)
if not known and ARGV[3] ~= '' and redis.call('ZCOUNT', KEYS[1], alive, '+inf') >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[2]), ARGV[1])
if redis.call('PTTL', KEYS[1]) < kept then redis.call('PEXPIRE', KEYS[1], kept) end
return 1`);

/** Returns the sessions that were not renewed for ARGV[2] ms. */
const UNUSED = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now + ARGV[1] - ARGV[2]))`);

export interface PrincipalCountsInit {
  readonly send: SendCommand;
  readonly prefix: string;
  /** How long a session counts without a renewal, in ms. */
  readonly lifetime: number;
  /** How much longer `sessionsOf` names it, in ms. A step of Redis' clock that is no longer hides no session that lives. */
  readonly spare: number;
  /** A session that was not renewed for this long, in ms, cannot be in use. */
  readonly unused: number;
  /** The number of sessions that a principal may have. Undefined for any number. */
  readonly most: number | undefined;
  /** Ends the session that has been orphaned longest. False when none is orphaned. */
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
    const { send, lifetime, spare } = this.#init;
    const bounds = [String(lifetime), most === undefined ? '' : String(most), String(spare)];
    const result = String(await orStoreUnavailable(ENTER.run(send, this.#key(principal), sessionId, ...bounds)));
    if (result !== '0' && result !== '1') throw new Refusal('storeUnavailable', { cause: notAReply(result) });
    return result === '1';
  }

  /** The key contains only a hash of the principal's name, as the name may be personal data. */
  #key(principal: string): string {
    return `${this.#init.prefix}{${createHash('sha256').update(principal).digest('hex').slice(0, 32)}}:principal`;
  }
}
