/** A hash of a session's record, as `redisStore` has it. */
interface Hash {
  d: string;
  e: string;
  o: string;
}

interface Held {
  readonly value: string | Hash | Set<string> | StreamEntry[];
  /** By the clock of the model; Infinity for what stays. */
  readonly dueAt: number;
}

type StreamEntry = [id: string, fields: string[]];

type Run = (redis: ModelRedis, keys: string[], args: string[]) => unknown;

/** The scripts of `src/stores`, each found by a text that only it has, and their effects. */
const SCRIPTS: readonly [RegExp, Run][] = [
  [/XADD/, (redis, keys, args) => redis.append(keys, args)],
  [/ZRANDMEMBER/, () => ['0', [], []]],
  [/'HINCRBY'/, (redis, [key], [epoch, owner, next]) => redis.claim(key!, epoch!, owner!, next!)],
  [/'o', ''\)/, (redis, [key], [epoch, owner]) => redis.release(key!, epoch!, owner!)],
  [/'d', ARGV\[1\], 'e', '0'/, (redis, [key], [data, owner, ttl]) => redis.create(key!, data!, owner!, ttl!)],
  [/'d', ARGV\[2\]/, (redis, [key], [epoch, data, ttl, owner]) => redis.update(key!, epoch!, data, ttl!, owner!)],
  [/return redis.call\('DEL'/, (redis, [key], [epoch]) => redis.destroy(key!, epoch!)],
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

  constructor(now: () => number) {
    this.#now = now;
  }

  /** One command, done at once. Throws where Redis answers with an error. */
  do(command: string, ...args: string[]): unknown {
    const [key = '', ...rest] = args;
    switch (command) {
      case 'GET':
        return this.#get<string>(key) ?? null;
      case 'SET':
        return this.#set(key, rest);
      case 'DEL':
      case 'UNLINK':
        return Number(this.#get(key) !== undefined && this.#held.delete(key));
      case 'SADD':
        return this.#add(key, rest[0]!);
      case 'SREM':
        return Number(this.#get<Set<string>>(key)?.delete(rest[0]!) ?? false);
      case 'SMEMBERS':
        return [...(this.#get<Set<string>>(key) ?? [])];
      case 'HMGET':
        return rest.map((field) => this.#get<Record<string, string>>(key)?.[field] ?? null);
      case 'XRANGE':
        return this.#get<StreamEntry[]>(key) ?? [];
      case 'EVAL':
        return this.#run(key, Number(rest[0]), rest.slice(1));
      case 'EVALSHA':
        throw new Error('NOSCRIPT No matching script.');
      default:
        throw new Error(`ERR unknown command '${command}'`);
    }
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

  destroy(key: string, epoch: string): number {
    return Number(this.#get<Hash>(key)?.e === epoch && this.#held.delete(key));
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

  #set(key: string, [value, ...options]: string[]): 'OK' | null {
    const there = this.#get(key) !== undefined;
    if ((options.includes('NX') && there) || (options.includes('XX') && !there)) return null;
    const ttl = options.indexOf('PX');
    this.#held.set(key, { value: value!, dueAt: ttl < 0 ? Infinity : this.#now() + Number(options[ttl + 1]) });
    return 'OK';
  }

  #add(key: string, member: string): number {
    const set = this.#get<Set<string>>(key) ?? new Set();
    const there = set.has(member);
    this.#held.set(key, { value: set.add(member), dueAt: Infinity });
    return Number(!there);
  }

  #run(source: string, keys: number, args: string[]): unknown {
    const run = SCRIPTS.find(([mark]) => mark.test(source))?.[1];
    if (run === undefined) throw new Error('a script that the model does not know');
    return run(this, args.slice(0, keys), args.slice(keys));
  }
}
