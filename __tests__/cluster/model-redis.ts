import { DEAD, LEFT } from '../../src/cluster/membership/lease.js';
import type { Script } from '../../src/stores/redis-client.js';

/** A hash of a session's record, as `redisStore` has it. */
interface Hash {
  d: string;
  e: string;
  o: string;
}

/** Any hash that is no record, as that of the nodes is. */
type Fields = Map<string, string>;

interface Held {
  readonly value: Hash | Fields | StreamEntry[];
  /** By the clock of the model; Infinity for what stays. */
  readonly dueAt: number;
}

type StreamEntry = [id: string, fields: string[]];

type Run = (redis: ModelRedis, keys: string[], args: string[]) => unknown;

/** The scripts of `src/stores` and of the memberships, each found by a text that only it has, and their effects. */
const SCRIPTS: readonly [RegExp, Run][] = [
  [/XADD/, (redis, keys, args) => redis.append(keys, args)],
  [/ZRANDMEMBER/, () => ['0', [], []]],
  [/string.match\(held/, (redis, [key], [id, text, from, to]) => redis.renew(key!, id!, text!, from!, to!)],
  [/HVALS/, (redis, [key], [id]) => redis.removeLast(key!, id!)],
  [/'HDEL'/, (redis, [key], [id, text, by]) => redis.replace(key!, id!, text!, by!)],
  [/'HINCRBY'/, (redis, [key], [epoch, owner, next]) => redis.claim(key!, epoch!, owner!, next!)],
  [/'o', ''\)/, (redis, [key], [epoch, owner]) => redis.release(key!, epoch!, owner!)],
  [/'d', ARGV\[1\], 'e', '0'/, (redis, [key], [data, owner, ttl]) => redis.create(key!, data!, owner!, ttl!)],
  [/'d', ARGV\[2\]/, (redis, [key], [epoch, data, ttl, owner]) => redis.update(key!, epoch!, data, ttl!, owner!)],
  [/return redis.call\('DEL'/, (redis, [key], [owner, epoch]) => redis.destroy(key!, owner!, epoch!)],
  [
    /return redis.call\('PEXPIRE', KEYS\[1\], ARGV\[2\]\)/,
    (redis, [key], [epoch, ttl, owner]) => redis.update(key!, epoch!, undefined, ttl!, owner!),
  ],
];

/**
 * Redis as far as nodes of a cluster use it, in memory, on a clock that the test moves. A property holds it against the real one.
 */
export class ModelRedis {
  readonly #now: () => number;
  readonly #held = new Map<string, Held>();
  /** Sources of scripts, by their hashes. */
  readonly #sources = new Map<string, string>();

  constructor(now: () => number) {
    this.#now = now;
  }

  load(...scripts: readonly Script[]): void {
    for (const { hash, source } of scripts) this.#sources.set(hash, source);
  }

  /** One command, done at once. Throws where Redis answers with an error. */
  do(command: string, ...args: string[]): unknown {
    const [key = '', ...rest] = args;
    switch (command) {
      case 'HGETALL':
        return [...(this.#get<Fields>(key) ?? [])].flat();
      case 'HGET':
        return this.#get<Fields>(key)?.get(rest[0]!) ?? null;
      case 'HSET':
        return this.#hset(key, rest[0]!, rest[1]!);
      case 'HSETNX':
        return this.#get<Fields>(key)?.has(rest[0]!) === true ? 0 : this.#hset(key, rest[0]!, rest[1]!);
      case 'HDEL':
        return Number(this.#get<Fields>(key)?.delete(rest[0]!) ?? false);
      case 'DEL':
      case 'UNLINK':
        return Number(this.#get(key) !== undefined && this.#held.delete(key));
      case 'HMGET':
        return rest.map((field) => this.#get<Record<string, string>>(key)?.[field] ?? null);
      case 'XRANGE':
        return this.#get<StreamEntry[]>(key) ?? [];
      case 'EVAL':
        return this.#run(key, Number(rest[0]), rest.slice(1));
      case 'EVALSHA':
        return this.#run(this.#loaded(key), Number(rest[0]), rest.slice(1));
      default:
        throw new Error(`ERR unknown command '${command}'`);
    }
  }

  renew(key: string, id: string, text: string, from: string, to: string): number {
    const counter = Number(/^(\d+) /.exec(this.#get<Fields>(key)?.get(id) ?? '')?.[1] ?? NaN);
    if (!(counter >= Number(from) && counter <= Number(to))) return 0;
    this.#hset(key, id, text);
    return 1;
  }

  replace(key: string, id: string, text: string, by: string): number {
    const held = this.#get<Fields>(key)?.get(id);
    if (held === undefined || (text !== '' && held !== text)) return 0;
    if (by === '') this.#get<Fields>(key)?.delete(id);
    else this.#hset(key, id, by);
    return 1;
  }

  removeLast(key: string, id: string): number {
    const fields = this.#get<Fields>(key);
    const isInUse = [...(fields?.values() ?? [])].some((held) => held !== LEFT && held !== DEAD);
    return Number(!isInUse && fields?.delete(id) === true);
  }

  /** All that it has, to be put back by `restore`. */
  snapshot(): ReadonlyMap<string, Held> {
    return structuredClone(this.#held);
  }

  restore(snapshot: ReadonlyMap<string, Held>): void {
    this.#held.clear();
    for (const [key, held] of structuredClone(snapshot)) this.#held.set(key, held);
  }

  create(key: string, d: string, o: string, ttl: string): number {
    if (this.#get(key) !== undefined) return 0;
    return this.#put(key, { d, e: '0', o }, ttl);
  }

  update(key: string, epoch: string, data: string | undefined, ttl: string, owner: string): number {
    const hash = this.#get<Hash>(key);
    if (hash?.e !== epoch || (owner !== '' && hash.o !== owner)) return 0;
    return this.#put(key, { ...hash, d: data ?? hash.d }, ttl);
  }

  destroy(key: string, owner: string, epoch: string): number {
    const hash = this.#get<Hash>(key);
    return Number(hash?.e === epoch && (owner === '' || hash.o === owner) && this.#held.delete(key));
  }

  claim(key: string, epoch: string, owner: string, next: string): number {
    const hash = this.#get<Hash>(key);
    if (hash?.e !== epoch || hash.o !== owner) return 0;
    Object.assign(hash, { e: String(Number(epoch) + 1), o: next });
    return 1;
  }

  release(key: string, epoch: string, owner: string): number {
    const hash = this.#get<Hash>(key);
    if (hash?.e !== epoch || hash.o !== owner) return 0;
    hash.o = '';
    return 1;
  }

  /** Without the bounds of the real script, as the model tests only which node may append. */
  append([key, , record]: string[], args: string[]): [id: string, held: string, oldest: string] {
    const [, , first, rest, json, , , bytes, owner, epoch] = args;
    const hash = record === undefined ? undefined : this.#get<Hash>(record);
    if (record !== undefined && hash === undefined) throw new Error('NORECORD the session has no record here');
    if (hash !== undefined && (hash.o !== owner || hash.e !== epoch))
      throw new Error('FENCED the session is another’s');
    const entries = this.#get<StreamEntry[]>(key!) ?? [];
    const id = `${this.#now()}-${Number(first) + entries.length}`;
    this.#held.set(key!, { value: [...entries, [id, ['s', rest!, 'm', json!]]], dueAt: Infinity });
    return [id, bytes!, id];
  }

  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as who asks knows what a key holds
  #get<T>(key: string): T | undefined {
    const held = this.#held.get(key);
    if (held !== undefined && held.dueAt > this.#now()) return held.value as T;
    this.#held.delete(key);
    return undefined;
  }

  #put(key: string, value: Held['value'], ttl: string): number {
    this.#held.set(key, { value, dueAt: this.#now() + Number(ttl) });
    return 1;
  }

  #hset(key: string, field: string, text: string): number {
    const fields = this.#get<Fields>(key) ?? new Map<string, string>();
    const isNew = !fields.has(field);
    this.#held.set(key, { value: fields.set(field, text), dueAt: Infinity });
    return Number(isNew);
  }

  #loaded(hash: string): string {
    const source = this.#sources.get(hash);
    if (source === undefined) throw new Error('NOSCRIPT No matching script.');
    return source;
  }

  #run(source: string, keys: number, args: string[]): unknown {
    const run = SCRIPTS.find(([mark]) => mark.test(source))?.[1];
    if (run === undefined) throw new Error('a script that the model does not know');
    return run(this, args.slice(0, keys), args.slice(keys));
  }
}
