import type { Clock } from '../../runtime/clock.js';
import { Deadline, DeadlineQueue } from '../../runtime/deadline-queue.js';
import type { InFlight } from '../../runtime/in-flight.js';
import { LinkedList, type Linked } from '../../runtime/linked-list.js';

/** A server that requests can share. */
export interface PooledServer {
  /** Closes the server, or gives up its opening for that reason. */
  close(reason?: Error): void;
}

/** A request's use of a server. Until its release the server is not closed for being idle. */
export interface ServerLease<Server> {
  readonly server: Server;
  /** Only the first call counts. */
  release(): void;
}

/**
 * Begins to open a server.
 *
 * @param onEnd - The server calls it when it takes no more requests: its opening has failed, or it is closed. That is never before
 * `open` has returned.
 */
export type OpenServer<Server> = (onEnd: () => void) => Server;

/** The requests that may share a server. */
export interface ShareKey {
  readonly principal: string;
  /** The key of the shared server. It has the principal, and what all its clients have in common. */
  readonly key: string;
}

/** Bounds of the servers that are shared. */
export interface PoolLimits {
  readonly maxServers: number;
  readonly maxServersPerPrincipal: number;
  /** How long one lives on without a lease, in ms. */
  readonly serverIdle: number;
}

/**
 * The servers of an endpoint. Requests with the same key share one, from the moment that its opening begins. A request without a
 * key has a server of its own, which is closed at the release. A request with a new key gets such a server when
 * `maxServers`, or all servers of its principal, are in use.
 */
export class ServerPool<Server extends PooledServer> {
  readonly #maxServers: number;
  readonly #maxServersPerPrincipal: number;
  readonly #idle: DeadlineQueue<Entry<Server>>;
  readonly #shared = new Map<string, Entry<Server>>();
  /** The shared servers of each principal. Those that are idle are in the order in which they became so. */
  readonly #byPrincipal = new Map<string, Set<Entry<Server>>>();
  readonly #all = new LinkedList<Entry<Server>>();
  #size = 0;

  constructor({ maxServers, maxServersPerPrincipal, serverIdle }: PoolLimits, clock: Clock) {
    this.#maxServers = maxServers;
    this.#maxServersPerPrincipal = maxServersPerPrincipal;
    this.#idle = new DeadlineQueue(clock, serverIdle, (entry) => this.#close(entry));
  }

  /** All servers, and those of them that have no lease. */
  stats(): { readonly open: number; readonly idle: number } {
    let idle = 0;
    for (const { leases } of this.#shared.values()) if (leases === 0) idle += 1;
    return { open: this.#size, idle };
  }

  /**
   * @param share - Undefined for a server of the request's own.
   * @param counter - Counts the lease until its release.
   */
  acquire(share: ShareKey | undefined, open: OpenServer<Server>, counter?: InFlight): ServerLease<Server> {
    const entry = (share === undefined ? undefined : this.#shared.get(share.key)) ?? this.#open(share, open);
    entry.leases += 1;
    entry.due.cancel();
    return new Lease(entry, this.#unused, counter);
  }

  /** Closes every server. */
  close(reason?: Error): void {
    for (let { first } = this.#all; first !== undefined; { first } = this.#all) this.#close(first, reason);
  }

  #open(wanted: ShareKey | undefined, open: OpenServer<Server>): Entry<Server> {
    const share = wanted !== undefined && this.#hasRoom(wanted.principal) ? wanted : undefined;
    const server = open(() => this.#drop(entry));
    const entry = new Entry(share, server);
    this.#all.append(entry);
    this.#size += 1;
    if (share !== undefined) {
      this.#shared.set(share.key, entry);
      this.#append(share.principal, entry);
    }
    return entry;
  }

  /** Makes room by closing the server that has been idle for longest: one of the principal's own, if it has all that it may have. */
  #hasRoom(principal: string): boolean {
    const own = this.#byPrincipal.get(principal);
    if (own !== undefined && own.size >= this.#maxServersPerPrincipal) {
      return this.#makeRoom([...own].find(({ leases }) => leases === 0));
    }
    return this.#shared.size < this.#maxServers || this.#makeRoom(this.#idle.oldest());
  }

  #makeRoom(idle: Entry<Server> | undefined): boolean {
    if (idle !== undefined) this.#close(idle);
    return idle !== undefined;
  }

  readonly #unused = (entry: Entry<Server>): void => {
    if (entry.list === undefined) return;
    if (entry.share === undefined) return this.#close(entry);
    this.#idle.add(entry.due);
    this.#append(entry.share.principal, entry);
  };

  #append(principal: string, entry: Entry<Server>): void {
    const own = this.#byPrincipal.get(principal) ?? new Set();
    this.#byPrincipal.set(principal, own);
    own.delete(entry);
    own.add(entry);
  }

  #close(entry: Entry<Server>, reason?: Error): void {
    this.#drop(entry);
    entry.server.close(reason);
  }

  /** No request gets the server from now on. */
  #drop(entry: Entry<Server>): void {
    if (entry.list === undefined) return;
    this.#all.delete(entry);
    this.#size -= 1;
    entry.due.cancel();
    if (entry.share === undefined) return;
    const { principal, key } = entry.share;
    if (this.#shared.get(key) === entry) this.#shared.delete(key);
    const own = this.#byPrincipal.get(principal);
    if (own?.delete(entry) === true && own.size === 0) this.#byPrincipal.delete(principal);
  }
}

/** A server, in the list of its pool until no request gets the server any more. */
class Entry<Server> implements Linked<Entry<Server>> {
  readonly due = new Deadline<Entry<Server>>(this);
  list: LinkedList<Entry<Server>> | undefined;
  before: Entry<Server> | undefined;
  after: Entry<Server> | undefined;
  leases = 0;

  /** @param share - Undefined for a server that is not shared. */
  constructor(
    readonly share: ShareKey | undefined,
    readonly server: Server,
  ) {}
}

/** It refers to nothing of the request, as a closure would. */
class Lease<Server> implements ServerLease<Server> {
  readonly server: Server;
  readonly #unused: (entry: Entry<Server>) => void;
  readonly #counter: InFlight | undefined;
  #entry: Entry<Server> | undefined;

  constructor(entry: Entry<Server>, unused: (entry: Entry<Server>) => void, counter: InFlight | undefined) {
    this.server = entry.server;
    this.#entry = entry;
    this.#unused = unused;
    this.#counter = counter;
    counter?.begin();
  }

  release(): void {
    const entry = this.#entry;
    if (entry === undefined) return;
    this.#entry = undefined;
    entry.leases -= 1;
    if (entry.leases === 0) this.#unused(entry);
    this.#counter?.end();
  }
}
