import { Agent, request as httpRequest, type ClientRequest } from 'node:http';
import type { KeyObject } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.js';
import type { MessageId } from '../membership/challenges.js';
import type { Lease } from '../membership/lease.js';
import { seal, SIGNATURE } from './envelope.js';
import type { HeadersOf, NodeKind, RequestOptions, Sending, Sent } from './node-port.js';

/** The header with the reason for which a node refused a message. The node has not begun the message, except with `replayed`. */
export const REFUSED = 'x-mcp-refused';

/** Header of an answer: the ID of the node that took the message. A proxy's own answer lacks it. */
export const BEGUN = 'x-mcp-node';

/** Header that a node sends once on each connection: the peer's address as the node sees it. It differs behind a proxy. */
export const PEER = 'x-mcp-peer';

/** The header with the name of the error in an answer, for the metrics and the log of the node that relays it. */
export const ERROR = 'x-mcp-error';

/** One end of a connection. An IPv4 address equals its IPv4-mapped IPv6 form (RFC 4291, 2.5.5.2). */
export const endOf = (address: string | undefined, port: number | undefined): string =>
  `${address?.replace('::ffff:', '')} ${port}`;

/** The value of {@link REFUSED} when the node has begun the same request before, or may have. */
const REPLAYED = 'replayed';

/** How long connecting to another node may take, in ms. */
const CONNECT_TIMEOUT = 1_000;

/** Bound on the number of entries in `#silent`. */
const MAX_SILENT = 1_000;

/** Sends messages to other nodes. */
export class NodeClient {
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #silentTimeout: number;
  readonly #maxPayload: number;
  readonly #agent = new Agent({ keepAlive: true });
  /** Functions that each abort one message in flight. */
  readonly #open = new Set<() => void>();
  /** Connections without a proxy: only the node itself can reset them. */
  readonly #direct = new WeakSet<Socket>();
  /** IDs of nodes whose answers came without a 102 Processing, because a proxy drops it. */
  readonly #silent = new Set<string>();
  #isClosed = false;

  /**
   * @param silentTimeout - How long a node may take to begin its answer, in ms. It bounds a message without 102.
   * @param maxPayload - Bytes of the largest message that another node accepts.
   */
  constructor(key: KeyObject, clock: Clock, silentTimeout: number, maxPayload: number) {
    this.#maxPayload = maxPayload;
    this.#silentTimeout = silentTimeout;
    this.#key = key;
    this.#clock = clock;
  }

  /** See {@link NodePort.request}. This method alone does not abort the request when the node dies. */
  request<K extends NodeKind>(
    lease: Lease,
    kind: K,
    headers: HeadersOf<K>,
    body: string | Buffer | undefined,
    { time, repeats }: RequestOptions,
  ): Sending {
    const { id: to, challenge } = lease;
    const { payload, signature, id } = seal(this.#key, { to, challenge, repeats, kind, headers }, body);
    if (payload.length > this.#maxPayload) return unsent(id, 'tooLarge');
    if (this.#isClosed) return unsent(id, 'unreachable');
    const request = httpRequest({
      agent: this.#agent,
      host: lease.host,
      port: lease.port,
      method: 'POST',
      headers: { [SIGNATURE]: signature, 'Content-Length': payload.length },
    });
    const expects102 = lease.receives102 !== false && !this.#silent.has(to);
    const { sent, begun, giveUp } = follow(request, to, lease.receives102 === true && expects102, this.#direct);
    this.#open.add(giveUp);
    this.#limitConnecting(request);
    // If no 102 arrives, only the answer shows that the node took the message.
    this.#limitTaking(request, giveUp, expects102 ? time : Math.max(time, this.#silentTimeout));
    void sent.then((result) => {
      if (result.outcome === 'answered' && !result.with102) this.#rememberSilent(to);
    });
    const closed = new Promise<void>((resolve) => request.once('close', resolve)).then(
      () => void this.#open.delete(giveUp),
    );
    request.end(payload);
    return { id, sent, begun, closed, abort: giveUp };
  }

  /** Aborts every request. A later one is not sent. */
  close(): void {
    this.#isClosed = true;
    for (const giveUp of this.#open) giveUp();
    this.#agent.destroy();
  }

  #rememberSilent(id: string): void {
    if (this.#silent.size >= MAX_SILENT) this.#silent.clear();
    this.#silent.add(id);
  }

  #limitTaking(request: ClientRequest, giveUp: () => void, time: number): void {
    const timer = this.#clock.setTimeout(() => giveUp(), time);
    const over = (): void => this.#clock.clearTimeout(timer);
    request.once('information', over).once('response', over).once('close', over);
  }

  #limitConnecting(sent: ClientRequest): void {
    sent.once('socket', (socket) => {
      if (!socket.connecting) return;
      const timer = this.#clock.setTimeout(() => sent.destroy(), CONNECT_TIMEOUT);
      const made = (): void => this.#clock.clearTimeout(timer);
      socket.once('connect', made).once('close', made);
    });
  }
}

function unsent(id: MessageId, why: string): Sending {
  const sent = Promise.resolve({ outcome: 'untaken', why } as const);
  return { id, sent, begun: Promise.resolve(false), closed: Promise.resolve(), abort: () => undefined };
}

/**
 * Follows a request until its outcome is known.
 *
 * @param isSureOf102 - Whether a 102 Processing of the node is sure to arrive: no proxy drops it.
 * @param direct - The connections without a proxy.
 */
function follow(
  request: ClientRequest,
  to: string,
  isSureOf102: boolean,
  direct: WeakSet<Socket>,
): Pick<Sending, 'sent' | 'begun'> & { giveUp: Sending['abort'] } {
  let givenUp: 'gone' | 'late' | undefined;
  const giveUp = (why?: 'gone'): void => {
    givenUp ??= why ?? 'late';
    // After a blocked event loop, a 102 may have arrived unread. It is read before the callbacks of `setImmediate` run.
    if (why === 'gone') setImmediate(() => request.destroy());
    else request.destroy();
  };
  const sent = new Promise<Sent>((resolve) => {
    let with102 = false;
    let taken = false;
    /** Undefined before a connection is made. The node cannot have begun the message then. */
    let connection: Socket | undefined;
    // The node sends 102 before it begins. On a direct connection, 102 arrives before the reset that the node's kernel sends.
    const provesNothingBegun = (error: NodeJS.ErrnoException | undefined): boolean => {
      if (connection === undefined) return true;
      if (!isSureOf102 || givenUp === 'late') return false;
      return (
        givenUp === 'gone' || (direct.has(connection) && (error?.code === 'ECONNRESET' || error?.code === 'EPIPE'))
      );
    };
    const failed = (error?: NodeJS.ErrnoException): void => {
      if (taken) resolve({ outcome: 'lost' });
      else if (provesNothingBegun(error)) resolve({ outcome: 'untaken', why: 'unreachable' });
      else resolve({ outcome: 'unknown', mayAsk: true });
    };
    request.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => (connection = socket));
      else connection = socket;
    });
    // 102 Processing: from here on, the node may have begun the message.
    request.once('information', () => (with102 = taken = true));
    request.once('response', (response) => {
      const { [REFUSED]: refused, [BEGUN]: begun, [PEER]: peer } = response.headers;
      if (with102 && peer === endOf(response.socket.localAddress, response.socket.localPort))
        direct.add(response.socket);
      taken ||= begun === to || refused === REPLAYED;
      // A head without a body is no answer yet, as the node may die before the body.
      if (refused === undefined && taken) {
        response.once('readable', () => resolve({ outcome: 'answered', response, with102 })).once('close', failed);
        return;
      }
      response.resume();
      if (refused === REPLAYED) resolve({ outcome: 'lost' });
      else if (refused === undefined) resolve({ outcome: 'unknown', mayAsk: false });
      else resolve({ outcome: 'untaken', why: String(refused) });
    });
    request.on('error', failed).once('close', failed);
  });
  const begun = new Promise<boolean>((resolve) => {
    request.once('information', () => resolve(true));
    void sent.then(() => resolve(false));
  });
  return { sent, begun, giveUp };
}
