import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Eviction } from '../../src/cluster/eviction.js';
import { NO_SESSIONS, type LocalSessions } from '../../src/cluster/local-sessions.js';
import type { MessageId } from '../../src/cluster/membership/challenges.js';
import { askNode, watchNode } from '../../src/cluster/port/ask-node.js';
import type { NodeKind, NodePort, Sent } from '../../src/cluster/port/node-port.js';
import { OwnerCache } from '../../src/cluster/forwarding/owner-cache.js';
import { OwnerRouting } from '../../src/cluster/forwarding/owner-routing.js';
import { DEAD, encodeLease, nodesKey } from '../../src/cluster/membership/lease.js';
import { NodeMembership } from '../../src/cluster/membership/membership.js';
import { Peers } from '../../src/cluster/membership/peers.js';
import type { CoreEvents } from '../../src/events.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { Emitter } from '../../src/runtime/emitter.js';
import type { ForwardedRequest } from '../../src/endpoint/session/forwarding-port.js';
import { RecordStore } from '../../src/sessions/records/record-store.js';
import { redisStore, type SendCommand } from '../../src/stores/redis.js';
import type { SessionStore } from '../../src/stores/index.js';
import { FakeClock } from '../support/fake-clock.js';
import { postOf } from '../support/posts.js';
import { settled } from './in-process-fake-redis.js';
import { ModelRedis } from './model-redis.js';

const PREFIX = 'mcp:';
const TTL = 1_800_000;
const TIMING = { lease: 5_000, renewInterval: 1_500, fenceAfter: 3_300 };
export const CLAIM_TIMEOUT = 2_000;
export const NOT_REACHED: Sent = { outcome: 'untaken', why: 'unreachable' };

/** A request that another node got. */
export interface Received {
  readonly node: string;
  readonly kind: NodeKind;
  readonly repeats: MessageId | undefined;
  readonly body: string | Buffer | undefined;
}

/** The routing of one node, in memory. The test answers for all other nodes. */
export class OwnerRoutingWorld {
  readonly clock = new FakeClock();
  readonly phase = new LifecyclePhase();
  readonly redis = new ModelRedis(() => this.clock.now());
  readonly events = new Emitter<CoreEvents>(() => undefined);
  readonly forwarded: string[] = [];
  readonly received: Received[] = [];
  readonly node: NodeMembership;
  readonly store: Required<SessionStore>;
  readonly records: RecordStore;
  readonly routing: OwnerRouting;
  readonly eviction: Eviction;
  local: LocalSessions = NO_SESSIONS;
  /** IDs of the sessions that this node is closing so that another node can own them. */
  readonly leaving = new Set<string>();
  /** Sessions of each principal that are not in use, and those that a principal has no more. */
  readonly unused = new Map<string, string[]>();
  readonly removed: string[] = [];
  answer: (received: Received) => Sent | Promise<Sent> = () => NOT_REACHED;

  constructor() {
    const send: SendCommand = (...command) =>
      Promise.resolve().then(() => this.redis.do(...(command as [string, ...string[]])));
    this.events.on('forwarded', (outcome) => this.forwarded.push(outcome));
    this.node = new NodeMembership({
      send,
      prefix: PREFIX,
      clock: this.clock,
      lifecycle: this.phase,
      events: this.events,
      timing: TIMING,
      proof: undefined,
      address: () => Promise.resolve({ host: 'this', port: 1 }),
      probe: () => Promise.resolve(true),
      onFenced: () => undefined,
    });
    this.store = redisStore({ sendCommand: send });
    this.records = new RecordStore({
      store: this.store,
      clock: this.clock,
      node: () => this.node.membership.id,
      lifetime: TTL,
    });
    const peers = new Peers({ send, prefix: PREFIX, clock: this.clock, timing: TIMING, proof: undefined });
    const others = () => peers.all().then((leases) => leases.filter(({ id }) => id !== this.node.membership.id));
    const port: NodePort = {
      handle: () => undefined,
      request: (node, kind, _headers, body, { repeats }) => {
        const received = { node: node.id, kind, repeats, body };
        this.received.push(received);
        const sent = Promise.resolve(this.answer(received));
        const id = { challenge: 'challenge', nonce: String(this.received.length) };
        const begun = sent.then(() => false);
        const closed = sent.then(() => undefined);
        return watchNode(peers, node, { id, sent, begun, closed, abort: () => undefined });
      },
      broadcast: async (kind, headers) => {
        const nodes = await others();
        const asked = nodes.map((node) => askNode(port, node, kind, headers, CLAIM_TIMEOUT));
        const results = await Promise.allSettled(asked);
        return results.map((result, n) => ({ node: nodes[n]!, result }));
      },
    };
    this.eviction = new Eviction({
      membership: () => this.node.membership,
      peers,
      port,
      records: this.records,
      principals: () => ({
        longUnused: (principal) => Promise.resolve(this.unused.get(principal) ?? []),
        leave: (_principal, sessionId) => Promise.resolve(void this.removed.push(sessionId)),
      }),
      local: () => this.local,
      claimTimeout: CLAIM_TIMEOUT,
    });
    this.routing = new OwnerRouting({
      node: this.node,
      peers,
      owners: new OwnerCache(),
      port,
      others,
      relay: { relay: () => Promise.resolve() },
      records: this.records,
      mayUseRecord: () => true,
      isMoving: (sessionId) => this.leaving.has(sessionId),
      clock: this.clock,
      lifecycle: this.phase,
      events: this.events,
      claimTimeout: CLAIM_TIMEOUT,
      migration: undefined,
    });
  }

  static async start(): Promise<OwnerRoutingWorld> {
    const world = new OwnerRoutingWorld();
    world.node.start();
    await settled();
    return world;
  }

  /** Another node with a lease that lasts through the test. */
  addNode(id: string): void {
    const lease = {
      id,
      host: id,
      port: 1,
      proof: undefined,
      challenge: 'challenge',
      leaving: false,
      receives102: true,
    };
    let counter = 0;
    const renew = (): void => {
      counter += 1;
      this.redis.do('HSET', nodesKey(PREFIX), id, encodeLease(counter, lease));
      this.clock.setTimeout(renew, TIMING.renewInterval);
    };
    renew();
  }

  /** The field of a node whose process is proved to be gone. */
  addDeadNode(id: string): void {
    this.redis.do('HSET', nodesKey(PREFIX), id, DEAD);
  }

  /** A session whose record names that owner. */
  async addSession(id: string, owner: string): Promise<void> {
    await this.store.create(id, '{}', owner, TTL);
  }

  /** Lets time pass until the promise settles. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    const state = { isSettled: false };
    const mark = (): void => void (state.isSettled = true);
    promise.then(mark, mark);
    for (let spent = 0; !state.isSettled && spent < 10 * CLAIM_TIMEOUT; spent += 50) {
      await settled();
      this.clock.advance(50);
    }
    return promise;
  }

  forward(
    request: Partial<ForwardedRequest>,
    reply: ServerResponse = createReply(),
  ): ReturnType<OwnerRouting['forward']> {
    const whole = { method: 'POST', path: '/mcp', headers: {}, post: postOf(1), forwarded: false, ...request };
    return this.settle(this.routing.forward(whole as ForwardedRequest, reply));
  }
}

/** A reply to a client that keeps only its body. */
export function createReply(): ServerResponse & { body: string } {
  const reply = Object.assign(new EventEmitter(), {
    body: '',
    destroyed: false,
    headersSent: false,
    writeHead: () => undefined,
    end: (text: string) => void (reply.body += text),
  });
  return reply as unknown as ServerResponse & { body: string };
}

/** An answer of another node, with a JSON body. */
export function answered(value: unknown, statusCode = 200): Sent {
  const response = Object.assign(
    (async function* () {
      yield await Promise.resolve(Buffer.from(JSON.stringify(value)));
    })(),
    { statusCode, resume: () => undefined },
  );
  return { outcome: 'answered', response: response as never, with102: true };
}
