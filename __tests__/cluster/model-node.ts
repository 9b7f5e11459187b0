import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import type { Clock } from '../../src/runtime/clock.js';
import { OwnerRouting } from '../../src/cluster/forwarding/owner-routing.js';
import type { MessageId } from '../../src/cluster/membership/challenges.js';
import type { RequestHeaders, Sending, Sent } from '../../src/cluster/port/node-port.js';
import { watchNode } from '../../src/cluster/port/ask-node.js';
import type { Lease } from '../../src/cluster/membership/lease.js';
import { NodeMembership } from '../../src/cluster/membership/membership.js';
import { OwnerCache } from '../../src/cluster/forwarding/owner-cache.js';
import { Peers } from '../../src/cluster/membership/peers.js';
import { Refusal } from '../../src/errors.js';
import type { CoreEvents } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { accessRule, mayUseRecord } from '../../src/sessions/access.js';
import type { ForwardedRequest } from '../../src/endpoint/session/forwarding-port.js';
import { postOf } from '../support/posts.js';
import { NotOwner, type Membership } from '../../src/sessions/ownership.js';
import { RecordStore } from '../../src/sessions/records/record-store.js';
import { redisEventStore, type SendCommand } from '../../src/stores/redis.js';
import type { StoredRecord } from '../../src/stores/session-store.js';
import { recordKey, redisStoreWithSpare } from '../../src/stores/redis-store.js';
import { Fenced, type FencedEventStore, sessionHash } from '../../src/stores/session-event-store.js';

/** The shortest lease that is accepted for this `fenceAfter`. */
export const TIMING = { lease: 4_160, renewInterval: 1_500, fenceAfter: 3_300 };
/** As in `SessionPersistence`, in ms: between the touches that check a claim, and how long they do. */
export const TOUCH_INTERVAL = 5_000;
const CLAIM_CHECKED_FOR = 30_000;
const CLAIM_TIMEOUT = 10_000;
/** For sessions that end half an hour after they were last used. */
const LIFETIME = 1.25 * 1_800_000;
const SPARE_LIFETIME = 24 * 3_600_000;
const PREFIX = 'mcp:';

export type Answer = 'served' | 'gone' | 'refused';

/** What a node tells the world of the model, at the instant at which it does it. */
export interface Watcher {
  served(node: ModelNode, request: string, id: string, session: OwnedSession): void;
}

/** What a client wants of a session; each has a name of its own. */
export interface Wish {
  readonly id: string;
  readonly method: 'POST' | 'DELETE';
  readonly name: string;
}

export interface OwnedSession {
  readonly epoch: number;
  /** As the record names it. */
  readonly owner: string;
  readonly membership: Membership;
  said: number;
  /** All that was appended, as a handler keeps it in the session's state. */
  readonly list: string[];
  /** The writes of the record. One runs at a time. */
  writing: Promise<unknown>;
}

const begun = (epoch: number, owner: string, membership: Membership, list: string[]): OwnedSession => ({
  epoch,
  owner,
  membership,
  said: 0,
  list,
  writing: Promise.resolve(),
});

/** The world as one node has it: whatever comes to it from outside may be late, as long as it is stopped. */
export interface Surroundings extends Clock {
  readonly send: SendCommand;
  /** Hands a message to the node of that lease. `onTaken` stands for its 102, and `onBroken` tells that none can come. */
  readonly deliver: (lease: Lease, message: Message, onTaken: () => void, onBroken: () => void) => Promise<Sent>;
}

export interface Message extends MessageId {
  readonly kind: string;
  readonly headers: RequestHeaders;
  readonly repeats: MessageId | undefined;
}

const answered = (answer: Answer): Sent => {
  const statusCode = { served: 200, gone: 404, refused: 503 }[answer];
  return { outcome: 'answered', response: { answer, statusCode, resume: () => undefined } as never, with102: true };
};

/**
 * A node with the real code of membership, observation, routing and records. Of a session it has the owner and a list. What `Restorer`,
 * `RecordWriter` and `SessionPersistence` do with a session is repeated here in a short form, as they need a server and a transport.
 * `claims.test.ts` and `restore.test.ts` test the real ones.
 */
export class ModelNode {
  readonly name: string;
  readonly sessions = new Map<string, OwnedSession>();
  readonly node: NodeMembership;
  readonly #cluster: OwnerRouting;
  readonly #records: RecordStore;
  readonly #events: FencedEventStore;
  readonly #watcher: Watcher;
  readonly #clock: Clock;
  readonly #ended = new Set<string>();
  readonly #restoring = new Map<string, Promise<OwnedSession>>();

  constructor(name: string, surroundings: Surroundings, watcher: Watcher) {
    const { send } = surroundings;
    const events = new Emitter<CoreEvents>(() => undefined);
    const lifecycle = new LifecyclePhase();
    this.name = name;
    this.#watcher = watcher;
    this.#clock = surroundings;
    this.node = new NodeMembership({
      send,
      prefix: PREFIX,
      clock: surroundings,
      lifecycle,
      events,
      timing: TIMING,
      proof: undefined,
      address: () => Promise.resolve({ host: name, port: 1 }),
      probe: () => Promise.resolve(true),
      onFenced: () => {
        peers.startAnew();
        this.sessions.clear();
      },
    });
    this.#records = new RecordStore({
      store: redisStoreWithSpare(send, PREFIX, SPARE_LIFETIME),
      clock: surroundings,
      node: () => this.node.membership.id,
      lifetime: LIFETIME,
      keepsExpired: true,
    });
    this.#events = redisEventStore({ sendCommand: send, clock: surroundings });
    const peers = new Peers({ send, prefix: PREFIX, clock: surroundings, timing: TIMING, proof: undefined });
    peers.start();
    this.#cluster = new OwnerRouting({
      node: this.node,
      peers,
      owners: new OwnerCache(),
      port: {
        request: (lease, kind, headers, _body, { repeats }) => {
          const message = { ...newId(lease), kind, headers: headers as RequestHeaders, repeats };
          return watchNode(peers, lease, this.#hand(lease, message, surroundings));
        },
        broadcast: () => Promise.reject(new Error('the model knows requests only')),
        handle: () => undefined,
      },
      others: () => Promise.resolve([]),
      relay: {
        relay: (response, res) => {
          Object.assign(res, { answer: (response as unknown as { answer: Answer }).answer });
          return Promise.resolve();
        },
      },
      records: this.#records,
      isMoving: () => false,
      clock: surroundings,
      lifecycle,
      events,
      claimTimeout: CLAIM_TIMEOUT,
      migration: undefined,
      mayUseRecord: (record, id, caller) => mayUseRecord(record, id, caller, accessRule(false)),
    });
    this.node.start();
  }

  /** Opens a session; false when it could not be. */
  async open(id: string): Promise<boolean> {
    try {
      await this.node.checkMember();
      const { membership } = this.node;
      const owner = this.#records.newOwner();
      if (!(await this.#records.create(id, '[]', owner)) || !membership.isValid) return false;
      this.sessions.set(id, begun(0, owner, membership, []));
      return true;
    } catch {
      return false;
    }
  }

  /** A client's request: to say something in the session, or to end it. Rejects with NotOwner if handed over, and not for it. */
  async ask({ id, method, name }: Wish, forwarded = false): Promise<Answer> {
    try {
      await this.node.checkMember();
      const here = this.sessions.get(id);
      if (here !== undefined) return await this.#act(here, { id, method, name });
      const reply: { answer: Answer; statusCode?: number } = { answer: 'refused' };
      const res = Object.assign(new EventEmitter(), reply, {
        writeHead: () => undefined,
        end: () => undefined,
      });
      const post = method === 'POST' ? postOf(1) : undefined;
      const sent = { method, path: name, headers: {}, sessionId: id, post, forwarded };
      const request = sent as unknown as ForwardedRequest;
      const found = await this.#cluster.forward(request, res as unknown as ServerResponse);
      // Its end was believed, and not relayed.
      if (found === undefined) return res.statusCode === 200 ? 'served' : res.answer;
      if (found.record === undefined) return 'gone';
      if (method === 'DELETE') {
        // As `Restorer.discard` does: another node may have claimed it since, and this one may be building it.
        if (!(await this.#records.destroy(id, found.record))) return 'refused';
        this.#ended.add(id);
        this.sessions.delete(id);
        return 'served';
      }
      const restored = this.sessions.get(id) ?? this.#restoring.get(id) ?? this.#restore(id, found.record);
      const session = await restored;
      return await this.#act(session, { id, method, name });
    } catch (error) {
      if (error instanceof Refusal) return 'refused';
      throw error;
    }
  }

  /** Takes a message of another node. */
  async take(to: string, { headers, ...ids }: Message, onTaken: () => void): Promise<Sent> {
    const verdict = this.node.check({ to, ...ids }, true);
    if (verdict === 'replayed') return { outcome: 'lost' };
    if (verdict !== 'fresh') return { outcome: 'untaken', why: verdict };
    onTaken();
    try {
      const wish = { id: headers.sessionId!, method: headers.method as Wish['method'], name: headers.path };
      return answered(await this.ask(wish, true));
    } catch (error) {
      if (error instanceof NotOwner) return { outcome: 'untaken', why: 'notHere' };
      throw error;
    }
  }

  async #act(session: OwnedSession, { id, method, name }: Wish): Promise<Answer> {
    if (!session.membership.isValid) return 'refused';
    if (method === 'DELETE') {
      // As `SessionPersistence` does: another node may own it by the time that this is carried out.
      const removed = await this.#records.destroy(id, session);
      this.sessions.delete(id);
      return removed ? 'served' : 'refused';
    }
    this.#watcher.served(this, name, id, session);
    const { epoch, owner, list } = session;
    list.push(name);
    const message = {
      jsonrpc: '2.0' as const,
      method: 'said',
      params: { epoch, owner, n: (session.said += 1) },
    };
    const fence = { key: recordKey(PREFIX, id), owner, epoch };
    try {
      await this.#events.storeEvent(`${sessionHash(id)}-get`, message, fence);
    } catch (error) {
      if (error instanceof Fenced) this.sessions.delete(id);
    }
    return (await this.#save(id, session)) ? 'served' : 'refused';
  }

  /** As `RecordWriter` does. False when the answer would be wrong. */
  async #save(id: string, session: OwnedSession): Promise<boolean> {
    const write = (): Promise<boolean> => this.#records.update(id, session, JSON.stringify(session.list));
    const writing = session.writing.then(write, write);
    session.writing = writing.catch(() => undefined);
    const written = await writing;
    if (!written && this.sessions.get(id) === session) this.sessions.delete(id);
    // The router checks that before each write of a reply.
    return written && session.membership.isValid;
  }

  #restore(id: string, record: StoredRecord): Promise<OwnedSession> {
    const restoring = this.#claim(id, record).finally(() => this.#restoring.delete(id));
    this.#restoring.set(id, restoring);
    return restoring;
  }

  async #claim(id: string, record: StoredRecord): Promise<OwnedSession> {
    const { membership } = this.node;
    const owner = this.#records.newOwner();
    const claimed = await this.#records.claim(id, record, owner);
    const current = claimed ? await this.#records.find(id) : undefined;
    if (!claimed || !membership.isValid || membership !== this.node.membership || this.#ended.has(id)) {
      throw new Refusal('restoreFailed');
    }
    const epoch = record.epoch + 1;
    if (current?.data !== record.data) {
      await this.#records.release(id, { owner, epoch });
      throw new Refusal('restoreFailed');
    }
    const session = begun(epoch, owner, membership, JSON.parse(record.data) as string[]);
    this.sessions.set(id, session);
    void this.#checkClaim(id, session);
    return session;
  }

  /** As `SessionPersistence` does. */
  async #checkClaim(id: string, session: OwnedSession): Promise<void> {
    const end = this.#clock.now() + CLAIM_CHECKED_FOR;
    while (this.sessions.get(id) === session) {
      const isOurs = await this.#records.touch(id, session, () => JSON.stringify(session.list)).catch(() => undefined);
      if (isOurs === false && this.sessions.get(id) === session) this.sessions.delete(id);
      if (isOurs !== undefined && this.#clock.now() > end) return;
      await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, TOUCH_INTERVAL));
    }
  }

  #hand(lease: Lease, message: Message, { deliver }: Surroundings): Sending {
    let taken = false;
    let broken = false;
    let abort = (): void => undefined;
    const aborted = new Promise<Sent>((resolve) => {
      // The silence of a node that is gone proves nothing on a connection that is not whole.
      const unheard: Sent = { outcome: 'untaken', why: 'unreachable' };
      abort = () => resolve(taken ? { outcome: 'lost' } : broken ? { outcome: 'unknown', mayAsk: true } : unheard);
    });
    const onTaken = (): void => void (taken = true);
    const onBroken = (): void => void (broken = true);
    const sent = Promise.race([deliver(lease, message, onTaken, onBroken), aborted]);
    return { id: message, sent, begun: sent.then(() => false), closed: sent.then(() => undefined), abort };
  }
}

let nonces = 0;
const newId = ({ challenge }: Lease): MessageId => ({ challenge, nonce: String((nonces += 1)) });
