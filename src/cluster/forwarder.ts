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
import type { Clock } from '../clock.js';
import { seal, SIGNATURE, type MessageId, type Order } from './envelope.js';
import type { Lease } from './lease.js';

/** The header by which a node says that it did nothing with a message, and why. */
export const REFUSED = 'x-mcp-refused';

/** The header of an answer by which a node says that it is its own: it took the message. */
export const BEGUN = 'x-mcp-node';

/** The header by which a node says, once on each connection, what the other end of it is: who has that end is not behind a proxy. */
export const PEER = 'x-mcp-peer';

/** One end of a connection; an IPv4 address is the same in its IPv6 form (RFC 4291, 2.5.5.2). */
export const endOf = (address: string | undefined, port: number | undefined): string =>
  `${address?.replace('::ffff:', '')} ${port}`;

/** The reason by which a node says that it began what it is sent before, or cannot tell. */
const REPLAYED = 'replayed';

/** How long a connection to another node may take to be made, in ms. */
const CONNECT_TIMEOUT = 1_000;

/**
 * RFC 9110, 7.6.1: what is said of one connection is not said of the next. `Date` is Node's own to give, and which node answers is
 * no client's affair.
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
 * What came of a message:
 * - `answered`: its answer has begun. `informed`: the node said before that it takes it.
 * - `untaken`: nothing was done with it. `why`: the node said so, or could not be reached.
 * - `lost`: the node took it and was not heard of again.
 * - `unknown`: it may have reached the node. `mayAsk`: the node itself can tell, when it is sent again as a repeat. Else
 *   something answered in the node's place, which must not make it be sent again.
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
  /** Gives it up. `gone`: its node is known to live no more, and begins nothing from now on. */
  readonly abort: (why?: 'gone') => void;
}

/** Of so many nodes at most it is remembered that what they say before their answers does not arrive. */
const MOST_SILENT = 1_000;

/** Sends messages to other nodes. */
export class Forwarder {
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #stalled: number;
  readonly #silence: number;
  readonly #maxPayload: number;
  readonly #agent = new Agent({ keepAlive: true });
  /** Gives up what is open to other nodes. */
  readonly #open = new Set<() => void>();
  /** The connections of which another node has the other end, and nothing between that could break them off by itself. */
  readonly #direct = new WeakSet<Socket>();
  /** The nodes of which answers came without what they say before: something between drops it. */
  readonly #silent = new Set<string>();
  /** Ends a standalone stream, whose client then finds another node to open it on. */
  readonly #streams = new Set<() => void>();

  /**
   * @param stalled - How long a client may read nothing of an answer, in ms.
   * @param silent - How long a node may work on a message before its answer begins, in ms.
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
   * @param repeats - The first message with this order, of which nothing is known.
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
    // Where it is not heard of when it is taken, only its answer ends this.
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

  /** Gives the client what another node answered; where that breaks off, so does the client's reply. Never rejects. */
  async relay(response: IncomingMessage, res: ServerResponse, isStream: boolean): Promise<void> {
    if (res.destroyed || res.headersSent) {
      response.destroy();
      return;
    }
    const headers: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(response.headers)) if (!HOP_BY_HOP.has(name)) headers[name] = value;
    // It goes out with the first of the body: a client that has nothing but the head, and so no event to resume from, when this
    // process dies, would wait for the rest.
    // The app's middleware may have wrapped the response: what it throws breaks this reply off, and nothing else.
    const say = (write: () => void): void => {
      try {
        write();
      } catch {
        res.destroy();
      }
    };
    say(() => res.writeHead(response.statusCode ?? 502, headers));
    const pass = (chunk: Buffer): void =>
      say(() => {
        if (!res.write(chunk)) response.pause();
      });
    const finish = (): void => say(() => res.end());
    const end = (): void => {
      response.off('data', pass);
      finish();
      response.destroy();
    };
    if (isStream) this.#streams.add(end);
    // The owner ends its reply to a reader that has stalled; with the answer held back, that end is never read here.
    const stop = (): void => void res.destroy();
    res.setTimeout(this.#stalled, stop);
    // Not `pipeline`, which makes an `AbortError`, with its stack, of each that ends well.
    response.once('close', () => {
      if (!response.readableEnded && !res.writableEnded) res.destroy();
    });
    // Nor `pipe`, out of which comes what a wrapped `write` throws.
    if (response.readableEnded) finish();
    else response.on('error', stop).once('end', finish).on('data', pass).resume();
    res.on('drain', () => response.resume()).on('error', stop);
    await new Promise<void>((resolve) => {
      if (res.closed) resolve();
      else res.once('close', resolve);
    });
    response.destroy();
    this.#streams.delete(end);
    // Node adds the listener, and leaves it.
    res.setTimeout(0).off('timeout', stop);
  }

  endStreams(): void {
    for (const end of this.#streams) end();
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

function tooLarge(id: MessageId): Sending {
  const sent = Promise.resolve({ outcome: 'untaken', why: 'tooLarge' } as const);
  return { id, sent, closed: Promise.resolve(), abort: () => undefined };
}

/**
 * Tells what becomes of a request.
 *
 * @param informs - Whether it is heard of when the node takes it.
 * @param direct - The connections of which the node itself has the other end.
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
    /** The connection that it was given to: no node begins what none was made for. */
    let connection: Socket | undefined;
    // The node says 102 before it begins. On a direct connection that comes before the end that its own kernel makes of it.
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
