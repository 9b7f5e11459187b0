import type { ServerResponse } from 'node:http';
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../runtime/clock.js';
import type { Lifecycle } from '../../runtime/lifecycle-phase.js';
import type { Lease } from '../membership/lease.js';
import type { Peers } from '../membership/peers.js';
import { notReached } from '../membership/unreachable.js';
import { askNode, watchNode } from './ask-node.js';
import type { Envelope } from './envelope.js';
import { NodeClient } from './node-client.js';
import { maxPayload, NodeServer } from './node-server.js';
import type {
  Answered,
  HeadersOf,
  NodeHandler,
  NodeKind,
  NodePort,
  NodeRequest,
  RequestOptions,
  Sending,
} from './node-port.js';

/** How long this node may take to answer its own probe, in ms. The event loop may be busy when an app starts. */
const PROBE_TIMEOUT = 5_000;

export interface SignedHttpPortInit {
  /** The shared secret that signs each message. */
  readonly key: KeyObject;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  /** The address on which this node listens. */
  readonly host: string;
  readonly port: number;
  /** Bytes that the body of a request may have. */
  readonly maxBodySize: number;
  /** Bytes that incomplete messages of other nodes may take together. */
  readonly maxBodyMemory: number;
  /** How long a node may work on a request before its answer begins, in ms. */
  readonly requestTimeout: number;
  /** How long a node may take to begin a broadcast request, in ms. */
  readonly claimTimeout: number;
  readonly peers: Pick<Peers, 'watchEndOfMessages' | 'forget'>;
  /** The other nodes. None with `routing: 'migrate'`, as this node cannot reach them. */
  readonly others: () => Promise<Lease[]>;
  /** Returns `fresh` for a new message to the current membership of this node, else the reason to refuse it. */
  readonly check: (envelope: Envelope, isKnown: boolean) => string;
}

/** The port between nodes over HTTP: each request is one POST, signed with the shared secret. */
export class SignedHttpPort implements NodePort {
  readonly #init: SignedHttpPortInit;
  readonly #client: NodeClient;
  readonly #server: NodeServer;
  readonly #handlers = new Map<string, NodeHandler<NodeKind>>();
  #abortProbe: () => void = () => undefined;
  #listensOn: number | undefined;

  constructor(init: SignedHttpPortInit) {
    const { key, clock, maxBodySize, requestTimeout, check } = init;
    this.#init = init;
    this.#client = new NodeClient(key, clock, requestTimeout, maxPayload(maxBodySize));
    this.#server = new NodeServer({
      ...init,
      check: (envelope) => check(envelope, this.#handlers.has(envelope.kind)),
      carryOut: ({ kind, headers }, body, req, reply) => this.#carryOut(kind, { headers, body, req, reply }),
    });
    this.handle('probe', () => true);
  }

  handle<K extends NodeKind>(kind: K, handler: NodeHandler<K>): void {
    this.#handlers.set(kind, handler as unknown as NodeHandler<NodeKind>);
  }

  request<K extends NodeKind>(
    node: Lease,
    kind: K,
    headers: HeadersOf<K>,
    body: string | Buffer | undefined,
    options: RequestOptions,
  ): Sending {
    return watchNode(this.#init.peers, node, this.#client.request(node, kind, headers, body, options));
  }

  async broadcast<K extends NodeKind>(kind: K, headers: HeadersOf<K>): Promise<Answered<K>[]> {
    const nodes = await this.#init.others();
    return Promise.all(
      nodes.map(async (node) => {
        const [result] = await Promise.allSettled([askNode(this, node, kind, headers, this.#init.claimTimeout)]);
        return { node, result };
      }),
    );
  }

  /** Resolves to the port. Rejects with `Unreachable` when the port cannot be bound. It may then be called again. */
  async listen(): Promise<number> {
    this.#listensOn ??= await this.#server.listen();
    return this.#listensOn;
  }

  /**
   * Sends this node a request at the address in the lease. Resolves to whether its 102 Processing arrived.
   *
   * @throws Unreachable when the request does not reach this process.
   */
  async probe(lease: Lease): Promise<boolean> {
    const { sent, closed, abort } = this.#client.request(lease, 'probe', {}, undefined, { time: PROBE_TIMEOUT });
    this.#abortProbe = abort;
    const result = await sent;
    if (result.outcome !== 'answered') {
      const isRefused = result.outcome === 'untaken' && result.why !== 'unreachable';
      throw notReached(lease, isRefused ? result.why : undefined);
    }
    result.response.resume();
    await closed;
    return result.with102;
  }

  /** Aborts the probe, whose answer may never arrive. */
  abortProbe(): void {
    this.#abortProbe();
  }

  async close(): Promise<void> {
    this.#client.close();
    await this.#server.close();
  }

  async #carryOut(kind: string, request: NodeRequest<NodeKind>): Promise<void> {
    const answer = await this.#handlers.get(kind)?.(request);
    if (answer !== undefined) replyJson(request.reply, answer);
  }
}

function replyJson(reply: ServerResponse, value: unknown): void {
  reply.writeHead(200, { 'Content-Type': 'application/json' });
  reply.end(JSON.stringify(value));
}
