import { notAReply, Script, type SendCommand } from '../../stores/redis-client.js';
import type { ProcessProof } from './process-proof.js';

/** The data that a node publishes about itself in Redis. */
export interface Lease {
  readonly id: string;
  /** The address of its private listener. */
  readonly host: string;
  readonly port: number;
  readonly proof: ProcessProof | undefined;
  /** Each message to the node must contain it. It changes with each renewal, so that the age of a message needs no clock. */
  readonly challenge: string;
  /** Whether the node is draining. A draining node claims no session, so no unowned session may be forwarded to it. */
  readonly leaving: boolean;
  /**
   * Option `lease` of the node, in ms. Another node waits for that long before it claims, or for its own `lease`, if that is more.
   * Undefined for a lease that another program wrote.
   */
  readonly duration?: number | undefined;
  /**
   * Whether this node got its own 102 Processing when it joined. False when a proxy drops 1xx responses. Undefined for a node of
   * an earlier version, which does not know messages that repeat others.
   */
  readonly receives102?: boolean | undefined;
}

/**
 * The hash of all nodes: one field for each membership, under its node ID. The field is a lease, or one of {@link LEFT} and
 * {@link DEAD}.
 */
export const nodesKey = (prefix: string): string => `${prefix}nodes`;

/** The field of a membership that its own node has ended. */
export const LEFT = 'left';

/** The field of a membership whose process is proved to be gone. */
export const DEAD = 'dead';

/** Renews a lease, if the counter in the field is within the range that the node expects. */
export const RENEW = new Script(`
local held = redis.call('HGET', KEYS[1], ARGV[1])
local counter = held and tonumber(string.match(held, '^(%d+) '))
if not counter or counter < tonumber(ARGV[3]) or counter > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1`);

/** Replaces a field by another text, or removes it for an empty text, if the field is as it was read, or was not read (empty). */
export const REPLACE_FIELD = new Script(`
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or (ARGV[2] ~= '' and held ~= ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1`);

/** Removes the field of a membership that has ended, if no node of the hash has a lease. */
export const REMOVE_LAST = new Script(`
for _, held in ipairs(redis.call('HVALS', KEYS[1])) do
  if held ~= '${LEFT}' and held ~= '${DEAD}' then return 0 end
end
return redis.call('HDEL', KEYS[1], ARGV[1])`);

/** No other node is there to remove the field later. Never rejects: otherwise a node that starts later removes it. */
export async function removeIfLast(send: SendCommand, prefix: string, id: string): Promise<void> {
  await REMOVE_LAST.run(send, nodesKey(prefix), id).catch(() => undefined);
}

/** @param counter - Grows by one with each try to write the lease. */
export function encodeLease(counter: number, lease: Lease): string {
  return `${counter} ${JSON.stringify(lease)}`;
}

/** NaN for a field that is no lease. */
export function counterOf(text: string): number {
  return parseInt(text, 10);
}

/** @throws Error when the text is not a lease. The node may be alive even then. */
export function decodeLease(text: string): Lease {
  const lease = JSON.parse(text.slice(text.indexOf(' ') + 1)) as Lease;
  if (typeof lease.host !== 'string' || typeof lease.port !== 'number' || typeof lease.challenge !== 'string') {
    throw new Error('what Redis holds is no lease of a node');
  }
  // Another program may have written anything to Redis.
  const { proof, duration } = lease as { proof?: { pid?: unknown } | null; duration?: unknown };
  if (duration !== undefined && !Number.isSafeInteger(duration))
    throw new Error('what Redis holds is no lease of a node');
  if (proof === undefined || Number.isSafeInteger(proof?.pid)) return lease;
  throw new Error('what Redis holds is no proof of a process');
}

/** The fields of the hash of nodes. Clients give the reply of `HGETALL` as a list, as an object or as a Map. */
export function fieldsOf(reply: unknown): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [id, text] of pairsOf(reply)) {
    if (typeof id !== 'string' || typeof text !== 'string') throw notAReply(reply);
    fields.set(id, text);
  }
  return fields;
}

function pairsOf(reply: unknown): Iterable<[unknown, unknown]> {
  if (reply instanceof Map) return reply;
  if (Array.isArray(reply)) {
    const words: readonly unknown[] = reply;
    return words.flatMap((word, n): [unknown, unknown][] => (n % 2 === 0 ? [[word, words[n + 1]]] : []));
  }
  if (typeof reply !== 'object' || reply === null) throw notAReply(reply);
  return Object.entries(reply);
}
