import {
  Agent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../clock.js';
import { seal, SIGNATURE, type Order } from './envelope.js';
import type { Lease } from './lease.js';

/** The header by which a node says that it did nothing with a message, and why. */
export const REFUSED = 'x-mcp-refused';

/** How long a connection to another node may take to be made, in ms. */
const CONNECT_TIMEOUT = 1_000;

/** RFC 9110, 7.6.1: what is said of one connection is not said of the next. `Date` is Node's own to give. */
const HOP_BY_HOP = new Set([
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
 * What came of a message: `answered`, its answer has begun; `untaken`, nothing was done with it (`why`: the node said so, or
 * could not be reached); `lost`, the node took it and was not heard of again.
 */
export type Sent =
  | { readonly outcome: 'answered'; readonly response: IncomingMessage }
  | { readonly outcome: 'untaken'; readonly why: string }
  | { readonly outcome: 'lost' };

/** A message on its way. */
export interface Sending {
  readonly sent: Promise<Sent>;
  /** Resolves when nothing of it is open any more, the answer included. */
  readonly closed: Promise<void>;
  readonly abort: () => void;
}

const TOO_LARGE: Sending = {
  sent: Promise.resolve({ outcome: 'untaken', why: 'tooLarge' }),
  closed: Promise.resolve(),
  abort: () => undefined,
};

/** Sends messages to other nodes. */
export class Forwarder {
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #stalled: number;
  readonly #maxPayload: number;
  readonly #agent = new Agent({ keepAlive: true });
  /** What is open to other nodes. */
  readonly #open = new Set<ClientRequest>();
  /** Ends a standalone stream, whose client then finds another node to open it on. */
  readonly #streams = new Set<() => void>();

  /**
   * @param stalled - How long a client may read nothing of an answer, in ms.
   * @param maxPayload - Bytes of a message that another node takes.
   */
  constructor(key: KeyObject, clock: Clock, stalled: number, maxPayload: number) {
    this.#maxPayload = maxPayload;
    this.#key = key;
    this.#clock = clock;
    this.#stalled = stalled;
  }

  /**
   * Sends an order to a node.
   *
   * @param time - How long the node may leave it untaken, in ms.
   */
  send(lease: Lease, order: Order, body: string | undefined, time: number): Sending {
    const { payload, signature } = seal(this.#key, { to: lease.id, challenge: lease.challenge }, order, body);
    if (payload.length > this.#maxPayload) return TOO_LARGE;
    const request = httpRequest({
      agent: this.#agent,
      host: lease.host,
      port: lease.port,
      method: 'POST',
      headers: { [SIGNATURE]: signature, 'Content-Length': payload.length },
    });
    this.#open.add(request);
    this.#limitConnecting(request);
    this.#limitTaking(request, time);
    const sent = outcomeOf(request);
    const closed = new Promise<void>((resolve) => request.once('close', resolve)).then(
      () => void this.#open.delete(request),
    );
    request.end(payload);
    return { sent, closed, abort: () => request.destroy() };
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
    for (const sent of this.#open) sent.destroy();
    this.#agent.destroy();
  }

  #limitTaking(request: ClientRequest, time: number): void {
    const timer = this.#clock.setTimeout(() => request.destroy(), time);
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

function outcomeOf(request: ClientRequest): Promise<Sent> {
  return new Promise((resolve) => {
    let taken = false;
    const failed = (): void => resolve(taken ? { outcome: 'lost' } : { outcome: 'untaken', why: 'unreachable' });
    // 102 Processing: from here on it may have been carried out.
    request.once('information', () => (taken = true));
    request.once('response', (response) => {
      const refused = response.headers[REFUSED];
      // By the head alone nothing is answered, and its node may be gone by now.
      if (refused === undefined && taken) {
        response.once('readable', () => resolve({ outcome: 'answered', response })).once('close', failed);
        return;
      }
      response.resume();
      // A node says that it takes a message before it answers: what answers so is another server, on the port of one that is gone.
      resolve({ outcome: 'untaken', why: String(refused ?? 'unreachable') });
    });
    request.on('error', failed).once('close', failed);
  });
}
