import type { Clock } from '../../runtime/clock.js';
import { Deadline, DeadlineQueue } from '../../runtime/deadline-queue.js';

/** A server that requests can share. */
export interface PooledServer {
  /** Closes the server, or gives up its opening for that reason. */
  close(reason?: Error): void;
}

/** A request's use of a server. Until its release the server is not closed for being idle. */
export interface ServerLease<Server> {
  readonly server: Server;
  /** To release it again does nothing. */
  release(): void;
}

/**
 * Begins to open a server.
 *
 * @param onEnd - The server calls it when it takes no more requests: its opening has failed, or it is closed. That is never before
 * `open` has returned.
 */
export type OpenServer<Server> = (onEnd: () => void) => Server;

/** Bounds of the servers that are shared. */
export interface PoolLimits {
  readonly maxServers: number;
  /** How long one lives on without a lease, in ms. */
  readonly serverIdle: number;
}

/**
 * The servers of an endpoint. Requests with the same key share one, from the moment that its opening begins. A request without a
 * key has a server of its own, which is closed at the release. So has a request of a new key when `maxServers` are in use.
 */
export class ServerPool<Server extends PooledServer> {
  readonly #maxServers: number;
  readonly #idle: DeadlineQueue<Entry<Server>>;
  readonly #shared = new Map<string, Entry<Server>>();
  readonly #all = new Set<Entry<Server>>();

  constructor({ maxServers, serverIdle }: PoolLimits, clock: Clock) {
    this.#maxServers = maxServers;
    this.#idle = new DeadlineQueue(clock, serverIdle, (entry) => this.#close(entry));
  }

  /** All servers, and those of them that have no lease. */
  stats(): { readonly open: number; readonly idle: number } {
    let idle = 0;
    for (const { leases } of this.#shared.values()) if (leases === 0) idle += 1;
    return { open: this.#all.size, idle };
  }

  /** @param key - Names those who may share a server; undefined for a server of the request's own. */
  acquire(key: string | undefined, open: OpenServer<Server>): ServerLease<Server> {
    const entry = (key === undefined ? undefined : this.#shared.get(key)) ?? this.#open(key, open);
    entry.leases += 1;
    entry.due.cancel();
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      entry.leases -= 1;
      if (entry.leases === 0) this.#unused(entry);
    };
    return { server: entry.server, release };
  }

  /** Closes every server. */
  close(reason?: Error): void {
    for (const entry of this.#all) this.#close(entry, reason);
  }

  #open(key: string | undefined, open: OpenServer<Server>): Entry<Server> {
    const shares = key !== undefined && this.#hasRoom();
    const server = open(() => this.#drop(entry));
    const entry = new Entry(shares ? key : undefined, server);
    this.#all.add(entry);
    if (shares) this.#shared.set(key, entry);
    return entry;
  }

  /** Makes room by closing the server that has been idle for longest. */
  #hasRoom(): boolean {
    if (this.#shared.size < this.#maxServers) return true;
    const oldest = this.#idle.oldest();
    if (oldest === undefined) return false;
    this.#close(oldest);
    return true;
  }

  #unused(entry: Entry<Server>): void {
    if (entry.hasEnded) return;
    if (entry.key === undefined) this.#close(entry);
    else this.#idle.add(entry.due);
  }

  #close(entry: Entry<Server>, reason?: Error): void {
    this.#drop(entry);
    entry.server.close(reason);
  }

  /** No request gets the server from now on. */
  #drop(entry: Entry<Server>): void {
    entry.hasEnded = true;
    entry.due.cancel();
    this.#all.delete(entry);
    if (entry.key !== undefined && this.#shared.get(entry.key) === entry) this.#shared.delete(entry.key);
  }
}

class Entry<Server> {
  readonly due = new Deadline<Entry<Server>>(this);
  leases = 0;
  hasEnded = false;

  /** @param key - Undefined for a server that is not shared. */
  constructor(
    readonly key: string | undefined,
    readonly server: Server,
  ) {}
}
