import type { ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import type { Clock } from '../clock.js';
import { errorResponse, Refusal } from '../errors.js';
import type { CoreEvents, Events, SessionInfo } from '../events.js';
import type { Records } from '../sessions/records.js';
import { NotHere, type HandedRequest } from '../sessions/elsewhere.js';
import type { Principals } from '../sessions/principals.js';
import type { Order } from './envelope.js';
import type { Forwarder, Sent } from './forwarder.js';
import type { Inbox } from './inbox.js';
import type { Lease } from './lease.js';
import type { ClusterNode } from './node.js';
import type { Owners } from './owners.js';
import type { Peers } from './peers.js';

/** The shortest and the longest wait before an owner is looked for anew, in ms. */
const WAITS = [10, 250] as const;

/** The orphaned sessions of this node. */
export interface LocalOrphans {
  /** For how long the principal's session is idle that was orphaned for the longest, in ms; -1 when none is. */
  longest(principal: string): number;
  /** Ends that session; false when there is none. */
  evict(principal: string): boolean;
}

export interface ClusterInit {
  readonly node: ClusterNode;
  readonly peers: Peers;
  readonly owners: Owners;
  readonly forwarder: Forwarder;
  readonly records: Records;
  readonly principals: Principals;
  /** Whether the session was closed for another node to own, and is still this one's by its record. */
  readonly isLeaving: (sessionId: string) => boolean;
  readonly clock: Clock;
  readonly events: Events<CoreEvents>;
  /** In ms. */
  readonly claimTimeout: number;
  /** Where other nodes are asked for sessions; undefined where requests are handed to them. */
  readonly inbox: Inbox | undefined;
}

/** What became of a try; any but `done` is followed by another. */
type Tried = 'done' | 'again' | 'unreachable';

/** `here`: for this node to restore. `leaving`: this node has not let go of it yet. */
type Owner = Lease | 'here' | 'leaving';

/**
 * Finds for a request the node that owns its session, and hands it over. Where that node cannot be reached the request is
 * held until it can be, or until its sessions are free for whoever asks. Never is a session served here "for now" that
 * another node may own.
 */
export class Cluster {
  readonly #init: ClusterInit;
  #draining = false;

  constructor(init: ClusterInit) {
    this.#init = init;
  }

  /** Nothing is claimed from now on: what is nobody's goes to another node. */
  drain(): void {
    this.#draining = true;
  }

  /** See `Elsewhere`. */
  async handOver(request: HandedRequest, res: ServerResponse): Promise<boolean> {
    const { sessionId, forwarded } = request;
    const asked = new Set<string>();
    return this.#withOwner(sessionId, async (owner) => {
      if (forwarded) throw new NotHere();
      if (this.#init.inbox !== undefined) return this.#askFor(owner, sessionId, asked);
      const tried = await this.#forward(owner, request, res);
      return res.destroyed ? 'done' : tried;
    });
  }

  async list(): Promise<SessionInfo[]> {
    const others = await this.#others();
    const lists = await Promise.all(others.map((other) => this.#ask<SessionInfo[]>(other, { kind: 'list' })));
    return lists.flat();
  }

  /**
   * Ends one session of a principal, which may have no more of them: one that no node holds, or else the one that was orphaned
   * for the longest, on whichever node. False when there is none.
   */
  async evict(principal: string, here: LocalOrphans): Promise<boolean> {
    for (const id of await this.#init.principals.sessionsOf(principal)) {
      if (await this.#evictUnowned(principal, id)) return true;
    }
    const order = { kind: 'orphaned', principal } as const;
    const others = await this.#others();
    const idle = await Promise.all(others.map((node) => this.#ask<number>(node, order)));
    const longest = Math.max(-1, ...idle);
    const holder = others[idle.indexOf(longest)];
    if (holder === undefined || longest <= here.longest(principal)) return here.evict(principal);
    return this.#ask<boolean>(holder, { kind: 'evict', principal });
  }

  async close(sessionId: string): Promise<boolean | undefined> {
    let closed: boolean | undefined;
    const asked = new Set<string>();
    await this.#withOwner(sessionId, async (owner) => {
      if (this.#init.inbox !== undefined) return this.#askFor(owner, sessionId, asked);
      const sent = await this.#send(owner, { kind: 'close', sessionId });
      if (sent.outcome !== 'answered') return this.#untaken(owner, sessionId, sent);
      closed = (await json(sent.response)) as boolean;
      return 'done';
    });
    return closed;
  }

  /** Tries with the node that owns the session until that is done; false when no other node owns it. */
  async #withOwner(sessionId: string | undefined, act: (owner: Lease) => Promise<Tried>): Promise<boolean> {
    const { clock, claimTimeout, events } = this.#init;
    const deadline = clock.now() + claimTimeout;
    for (let wait: number = WAITS[0]; ; wait = Math.min(wait * 2, WAITS[1])) {
      const owner = await this.#ownerOf(sessionId);
      if (owner === 'here') return false;
      const tried = owner === 'leaving' ? 'again' : await act(owner);
      if (tried === 'done') return true;
      const left = deadline - clock.now();
      if (left <= 0) {
        events.emit('forwarded', 'unreachable');
        throw new Refusal('ownerUnreachable');
      }
      const time = Math.min(left, wait);
      if (owner !== 'leaving' && tried === 'unreachable') await this.#untilGone(owner, time);
      else await new Promise<void>((resolve) => clock.setTimeout(resolve, time));
    }
  }

  async #ownerOf(sessionId: string | undefined): Promise<Owner> {
    const { node, owners, records, isLeaving } = this.#init;
    if (sessionId === undefined) return this.#anybody();
    const known = await this.#live(owners.get(sessionId));
    if (known !== undefined) return known;
    const record = await records.find(sessionId);
    if (record === undefined) return 'here';
    if (record.owner === node.tenure.id) {
      return this.#draining || isLeaving(sessionId) ? 'leaving' : 'here';
    }
    const owner = await this.#live(record.owner);
    if (owner === undefined) return this.#anybody();
    owners.set(sessionId, owner.id);
    return owner;
  }

  /** The node for what is nobody's: this one, unless it stops and there is another. */
  async #anybody(): Promise<Owner> {
    if (!this.#draining) return 'here';
    const others = await this.#others();
    return others[Math.floor(Math.random() * others.length)] ?? 'here';
  }

  /** The nodes that can be asked for anything. */
  async #others(): Promise<Lease[]> {
    const { node, peers, inbox } = this.#init;
    if (inbox !== undefined) return [];
    return (await this.#orUnavailable(peers.all())).filter(({ id }) => id !== node.tenure.id);
  }

  #live(id: string | undefined): Promise<Lease | undefined> {
    const { node, peers } = this.#init;
    if (id === undefined || id === node.tenure.id) return Promise.resolve(undefined);
    return this.#orUnavailable(peers.find(id));
  }

  async #evictUnowned(principal: string, sessionId: string): Promise<boolean> {
    const { node, records, principals } = this.#init;
    const record = await records.find(sessionId);
    if (record !== undefined) {
      if (record.owner === node.tenure.id || (await this.#live(record.owner)) !== undefined) return false;
      if (!(await records.destroy(sessionId, record.epoch))) return false;
    }
    await principals.leave(principal, sessionId);
    return true;
  }

  async #forward(owner: Lease, request: HandedRequest, res: ServerResponse): Promise<Tried> {
    const { forwarder, events } = this.#init;
    const { body, requestIds, method, path, headers, principal, auth, sessionId } = request;
    const order = { kind: 'request', method, path, headers, principal, auth, sessionId } as const;
    const sent = await this.#send(owner, order, body, res);
    if (sent.outcome === 'untaken' || (sent.outcome === 'lost' && method !== 'POST')) {
      return this.#untaken(owner, sessionId, sent);
    }
    events.emit('forwarded', sent.outcome);
    if (sent.outcome === 'lost') replyLost(res, requestIds, body);
    else {
      const relayed = forwarder.relay(sent.response, res, method === 'GET').catch(() => undefined);
      if (method !== 'GET') await relayed;
    }
    return 'done';
  }

  /** Has the owner let go of the session as soon as it can; each is asked once. */
  async #askFor(owner: Lease, sessionId: string | undefined, asked: Set<string>): Promise<Tried> {
    const { inbox, owners, claimTimeout } = this.#init;
    if (sessionId === undefined) throw new Refusal('draining');
    owners.delete(sessionId);
    if (!asked.has(owner.id)) await this.#orUnavailable(inbox?.ask(owner.id, sessionId, claimTimeout));
    asked.add(owner.id);
    return 'unreachable';
  }

  /** What is sent is given up when its node is gone, or when nobody waits for the answer. */
  async #send(owner: Lease, order: Order, body?: string, res?: ServerResponse): Promise<Sent> {
    const { peers, forwarder } = this.#init;
    const exchange = forwarder.send(owner, order, body);
    const unwatch = peers.watch(owner, exchange.abort);
    res?.once('close', exchange.abort);
    void exchange.closed.then(() => {
      unwatch();
      res?.off('close', exchange.abort);
    });
    return exchange.sent;
  }

  /** Nothing was done: what was believed of the owner is forgotten. */
  #untaken(owner: Lease, sessionId: string | undefined, sent: Sent): Tried {
    const { peers, owners } = this.#init;
    if (sessionId !== undefined) owners.delete(sessionId);
    peers.forget(owner.id);
    const why = sent.outcome === 'untaken' ? sent.why : undefined;
    if (why === 'unsigned') throw new Refusal('ownerUnreachable', { cause: new Error(UNSIGNED) });
    return why === 'unreachable' ? 'unreachable' : 'again';
  }

  async #ask<T>(node: Lease, order: Order): Promise<T> {
    const sent = await this.#send(node, order);
    if (sent.outcome !== 'answered') throw new Error('a node of the cluster does not answer');
    return (await json(sent.response)) as T;
  }

  async #untilGone(owner: Lease, time: number): Promise<void> {
    const { clock, peers } = this.#init;
    await new Promise<void>((resolve) => {
      const over = (): void => {
        clock.clearTimeout(timer);
        unwatch();
        resolve();
      };
      const timer = clock.setTimeout(over, time);
      const unwatch = peers.watch(owner, over);
    });
  }

  async #orUnavailable<T>(asked: T | Promise<T>): Promise<T> {
    try {
      return await asked;
    } catch (cause) {
      throw new Refusal('storeUnavailable', { cause });
    }
  }
}

const UNSIGNED = 'the node that owns the session does not know this one: is option cluster.secret the same on both?';

/** What a client is told whose request was taken by a node that has died: it may have been carried out, or not. */
function replyLost(res: ServerResponse, requestIds: HandedRequest['requestIds'], body: string | undefined): void {
  if (res.destroyed || res.headersSent) return;
  const answers = requestIds.map((id) => errorResponse('outcomeUnknown', id));
  if (answers.length === 0) {
    res.statusCode = 202;
    res.end();
    return;
  }
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(body?.startsWith('[') === true ? answers : answers[0]));
}
