import {
  Agent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { KeyObject } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.js';
import { SSE_TYPE } from '../../transport/reply-form.js';
import { seal, SIGNATURE, type MessageId, type Order } from '../envelope.js';
import type { Lease } from '../membership/lease.js';

/** The header by which a node says that it did nothing with a message, and why. */
export const REFUSED = 'x-mcp-refused';

/** Header of an answer: the ID of the node that took the message. It tells the node's answer from that of a proxy. */
export const BEGUN = 'x-mcp-node';

/** Header that a node sends once on each connection: the peer's address as the node sees it. A mismatch reveals a proxy. */
export const PEER = 'x-mcp-peer';

/** One end of a connection. An IPv4 address equals its IPv4-mapped IPv6 form (RFC 4291, 2.5.5.2). */
export const endOf = (address: string | undefined, port: number | undefined): string =>
  `${address?.replace('::ffff:', '')} ${port}`;

/** The value of {@link REFUSED} when the node has begun this order before, or cannot tell. */
const REPLAYED = 'replayed';

/** How long a connection to another node may take to be made, in ms. */
const CONNECT_TIMEOUT = 1_000;

/**
 * Headers that are not passed on. RFC 9110, 7.6.1 names those of one connection. Node sets `Date` itself, and the client must
 * not learn which node answers.
 */
const HOP_BY_HOP = new Set([
  BEGUN,
  PEER,
  'connection',
  'date',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * The outcome of a message:
 * - `answered`: the answer has begun. `informed`: 102 Processing arrived before it.
 * - `untaken`: the node did nothing. `why`: the node's own reason, or that it could not be reached.
 * - `lost`: the node took the message, and its connection broke before the answer.
 * - `unknown`: the message may have reached the node. `mayAsk`: a repeat of the message makes the node tell. If false,
 *   something else answered in the node's place, and the message must not be sent again.
 */
export type Sent =
  | { readonly outcome: 'answered'; readonly response: IncomingMessage; readonly informed: boolean }
  | { readonly outcome: 'untaken'; readonly why: string }
  | { readonly outcome: 'lost' }
  | { readonly outcome: 'unknown'; readonly mayAsk: boolean };

/** A message on its way. */
export interface Sending {
  readonly id: MessageId;
  readonly sent: Promise<Sent>;
  /** Resolves when nothing of it is open any more, the answer included. */
  readonly closed: Promise<void>;
  /** Abandons the message. `gone`: its node is known to be dead, and begins nothing any more. */
  readonly abort: (why?: 'gone') => void;
}

/** What the end of an event looks like (HTML, 9.2.5). */
const EVENT_END = Buffer.from('\n\n');

/** Nothing but comments (HTML, 9.2.6). */
const COMMENTS = /^(?::[^\n]*\n\n)*$/;

/** Bound on the number of remembered nodes whose 102 responses do not arrive. */
const MOST_SILENT = 1_000;

/** Sends messages to other nodes. */
export class NodeClient {
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #stalled: number;
  readonly #silence: number;
  readonly #maxPayload: number;
  readonly #agent = new Agent({ keepAlive: true });
  /** Each abandons one message that is under way. */
  readonly #open = new Set<() => void>();
  /** Connections without a proxy: the node itself has the other end, and nothing else can reset them. */
  readonly #direct = new WeakSet<Socket>();
  /** IDs of nodes whose answers came without a 102 Processing before: a proxy drops it. */
  readonly #silent = new Set<string>();
  /** Ends a standalone stream, whose client then finds another node to open it on. */
  readonly #streams = new Set<(last: string) => void>();

  /**
   * @param stalled - How long a client may read nothing of an answer, in ms.
   * @param silent - How long a node may work on a message before its answer begins, in ms. It bounds a message without 102.
   * @param maxPayload - Bytes of a message that another node takes.
   */
  constructor(key: KeyObject, clock: Clock, stalled: number, silent: number, maxPayload: number) {
    this.#maxPayload = maxPayload;
    this.#silence = silent;
    this.#key = key;
    this.#clock = clock;
    this.#stalled = stalled;
  }

  /**
   * Sends an order to a node.
   *
   * @param time - How long the node may leave it untaken, in ms.
   * @param repeats - The first message with this order, when its outcome is unknown.
   */
  send(lease: Lease, order: Order, body: string | undefined, time: number, repeats?: MessageId): Sending {
    const { id: to, challenge } = lease;
    const { payload, signature, id } = seal(this.#key, { to, challenge, repeats }, order, body);
    if (payload.length > this.#maxPayload) return tooLarge(id);
    const request = httpRequest({
      agent: this.#agent,
      host: lease.host,
      port: lease.port,
      method: 'POST',
      headers: { [SIGNATURE]: signature, 'Content-Length': payload.length },
    });
    const informs = lease.informs !== false && !this.#silent.has(to);
    const { sent, giveUp } = follow(request, to, lease.informs === true && informs, this.#direct);
    this.#open.add(giveUp);
    this.#limitConnecting(request);
    // Where no 102 arrives, only the answer shows that the node took the message.
    this.#limitTaking(request, giveUp, informs ? time : Math.max(time, this.#silence));
    void sent.then((result) => {
      if (result.outcome === 'answered' && !result.informed) this.#rememberSilent(to);
    });
    const closed = new Promise<void>((resolve) => request.once('close', resolve)).then(
      () => void this.#open.delete(giveUp),
    );
    request.end(payload);
    return { id, sent, closed, abort: giveUp };
  }

  /**
   * Gives the client what another node answered; where that breaks off, so does the client's reply. Never rejects.
   *
   * @param isStream - Whether it is a standalone stream.
   * @param lost - The last events of a stream that breaks off before it had any; undefined where it only breaks off.
   */
  async relay(response: IncomingMessage, res: ServerResponse, isStream: boolean, lost?: string): Promise<void> {
    if (res.destroyed || res.headersSent) {
      response.destroy();
      return;
    }
    const headers: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(response.headers)) if (!HOP_BY_HOP.has(name)) headers[name] = value;
    // The head goes out with the first of the body: a client that has nothing but that, and so no event to resume from, when this
    // process dies, would wait for the rest.
    // The app's middleware may have wrapped the response. An error that it throws ends this reply only.
    const say = (write: () => void): void => {
      try {
        write();
      } catch {
        res.destroy();
      }
    };
    say(() => res.writeHead(Number(response.statusCode), headers));
    let betweenEvents = true;
    let hasEvents = !isOpenStream(response);
    const pass = (chunk: Buffer): void =>
      say(() => {
        hasEvents ||= !COMMENTS.test(chunk.toString('latin1'));
        betweenEvents = chunk.subarray(-EVENT_END.length).equals(EVENT_END);
        if (!res.write(chunk)) response.pause();
      });
    const finish = (): void => say(() => res.end());
    const end = (last: string): void => {
      response.off('data', pass);
      // Within an event it would become a part of that.
      say(() => res.end(betweenEvents ? last : undefined));
      response.destroy();
    };
    if (isStream) this.#streams.add(end);
    // The owner ends its reply to a reader that has stalled; with the answer held back, that end is never read here.
    const stop = (): void => void res.destroy();
    res.setTimeout(this.#stalled, stop);
    // Not `pipeline`, which makes an `AbortError`, with its stack, of each that ends well.
    const broken = (): void => {
      if (response.readableEnded || res.writableEnded) return;
      if (hasEvents || lost === undefined) res.destroy();
      else say(() => res.end(lost));
    };
    response.once('close', broken);
    // Not `pipe`, which lets an error out that a wrapped `write` throws.
    if (response.readableEnded) finish();
    else response.on('error', broken).once('end', finish).on('data', pass).resume();
    res.on('drain', () => response.resume()).on('error', stop);
    await new Promise<void>((resolve) => res.once('close', resolve));
    response.destroy();
    this.#streams.delete(end);
    // Node adds the listener, and leaves it.
    res.setTimeout(0).off('timeout', stop);
  }

  /** @param last - Said before the end where that is between two events. */
  endStreams(last: string): void {
    for (const end of this.#streams) end(last);
  }

  close(): void {
    for (const giveUp of this.#open) giveUp();
    this.#agent.destroy();
  }

  #rememberSilent(id: string): void {
    if (this.#silent.size >= MOST_SILENT) this.#silent.clear();
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

/** Whether it is a stream of events whose length is not known. */
function isOpenStream({ headers }: IncomingMessage): boolean {
  return headers['content-type'] === SSE_TYPE && headers['content-length'] === undefined;
}

function tooLarge(id: MessageId): Sending {
  const sent = Promise.resolve({ outcome: 'untaken', why: 'tooLarge' } as const);
  return { id, sent, closed: Promise.resolve(), abort: () => undefined };
}

/**
 * Follows a request until its outcome is known.
 *
 * @param informs - Whether the node's 102 Processing is known to arrive.
 * @param direct - The connections without a proxy.
 */
function follow(
  request: ClientRequest,
  to: string,
  informs: boolean,
  direct: WeakSet<Socket>,
): { sent: Promise<Sent>; giveUp: (why?: 'gone') => void } {
  let givenUp: 'gone' | 'late' | undefined;
  const giveUp = (why?: 'gone'): void => {
    givenUp ??= why ?? 'late';
    request.destroy();
  };
  const sent = new Promise<Sent>((resolve) => {
    let informed = false;
    let taken = false;
    /** Undefined until a connection is made: until that, the node cannot have begun anything. */
    let connection: Socket | undefined;
    // The node sends 102 before it begins. On a direct connection, 102 arrives before the reset that the node's kernel sends.
    const provesNothingBegun = (error: NodeJS.ErrnoException | undefined): boolean => {
      if (connection === undefined) return true;
      if (!informs || givenUp === 'late') return false;
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
    // 102 Processing: from here on it may have been carried out.
    request.once('information', () => (informed = taken = true));
    request.once('response', (response) => {
      const { [REFUSED]: refused, [BEGUN]: begun, [PEER]: peer } = response.headers;
      if (informed && peer === endOf(response.socket.localAddress, response.socket.localPort))
        direct.add(response.socket);
      taken ||= begun === to || refused === REPLAYED;
      // By the head alone nothing is answered, and its node may be gone by now.
      if (refused === undefined && taken) {
        response.once('readable', () => resolve({ outcome: 'answered', response, informed })).once('close', failed);
        return;
      }
      response.resume();
      if (refused === REPLAYED) resolve({ outcome: 'lost' });
      else if (refused === undefined) resolve({ outcome: 'unknown', mayAsk: false });
      else resolve({ outcome: 'untaken', why: String(refused) });
    });
    request.on('error', failed).once('close', failed);
  });
  return { sent, giveUp };
}
