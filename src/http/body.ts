import type { IncomingMessage } from 'node:http';
import type { Clock } from '../clock.js';
import { Refusal } from '../errors.js';

/** A request whose body other middleware may have parsed already. */
type ParsedRequest = IncomingMessage & { body?: unknown };

/** How long a body may take that comes when the router is closed already, in ms. */
const LATE = 1_000;

/** The bodies that are being read: one that never comes would keep its socket, and so its HTTP server, open. */
export class ArrivingBodies {
  readonly #clock: Clock;
  readonly #refusals = new Set<(reason: Refusal) => void>();
  #closed = false;
  #lateTimer: unknown;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param refuse - Called when the router closes before the body is whole. */
  add(refuse: (reason: Refusal) => void): void {
    this.#refusals.add(refuse);
    // A body that is here at once is read, as its ID stands in the refusal.
    if (this.#closed) this.#lateTimer ??= this.#clock.setTimeout(() => this.#refuseAll(), LATE);
  }

  delete(refuse: (reason: Refusal) => void): void {
    this.#refusals.delete(refuse);
    if (this.#lateTimer === undefined || this.#refusals.size > 0) return;
    this.#clock.clearTimeout(this.#lateTimer);
    this.#lateTimer = undefined;
  }

  /** Refuses every body that is not whole. */
  close(): void {
    this.#closed = true;
    this.#refuseAll();
  }

  #refuseAll(): void {
    for (const refuse of this.#refusals) refuse(new Refusal('draining'));
  }
}

/**
 * The parsed JSON body of a POST: what `express.json()` left, or else read here.
 *
 * @throws Refusal: `unsupportedMediaType`, `bodyTooLarge` (before it is read where its length is declared), `parseError`;
 * `draining` when the router closes before the body is whole.
 */
export async function readBody(req: ParsedRequest, maxBytes: number, arriving: ArrivingBodies): Promise<unknown> {
  checkMediaType(req);
  // Whether somebody read the stream is what counts: express.json() 1.x leaves `{}` also where it read nothing. An empty
  // body is read to its end without any data.
  if (req.readableDidRead || req.readableEnded) return parsedElsewhere(req.body);
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) throw new Refusal('bodyTooLarge');
  return parse(await readText(req, maxBytes, arriving));
}

function checkMediaType({ headers }: IncomingMessage): void {
  const contentType = headers['content-type'];
  if (contentType !== 'application/json') {
    const [type, ...parameters] = (contentType ?? '').toLowerCase().split(';');
    const charset = /charset\s*=\s*"?([^"\s]*)/.exec(parameters.join(';'))?.[1] ?? 'utf-8';
    // JSON between systems is UTF-8 (RFC 8259, 8.1).
    if (type?.trim() !== 'application/json' || !/^(utf-?8|us-ascii)$/.test(charset)) {
      throw new Refusal('unsupportedMediaType');
    }
  }
}

function parsedElsewhere(body: unknown): unknown {
  if (typeof body === 'string') return parse(body);
  if (Buffer.isBuffer(body)) return parse(body.toString());
  if (body === undefined) {
    throw new Refusal('parseError', { cause: new Error('other middleware read the body and left no req.body') });
  }
  return body;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Refusal('parseError');
  }
}

function readText(req: IncomingMessage, maxBytes: number, arriving: ArrivingBodies): Promise<string> {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    return Promise.reject(new Refusal('unsupportedMediaType'));
  }
  // Its client left while other middleware ran; there will be no event any more.
  if (req.destroyed) return Promise.reject(new Refusal('parseError'));
  return new Promise((resolve, reject) => {
    const body = new GrowingBuffer();
    const refuse = (reason: Refusal): void => {
      arriving.delete(refuse);
      // What still comes is read and dropped: to close on a client that is writing would cost it our answer.
      req.off('data', onData).resume();
      body.clear();
      reject(reason);
    };
    const onData = (chunk: Buffer): void => {
      if (body.length + chunk.length <= maxBytes) body.add(chunk);
      else refuse(new Refusal('bodyTooLarge'));
    };
    req.on('data', onData);
    req.once('end', () => {
      arriving.delete(refuse);
      resolve(body.toString());
    });
    // A body that stops half-way: nobody is left to read the answer.
    const onStop = (): void => {
      arriving.delete(refuse);
      if (!req.readableEnded) reject(new Refusal('parseError'));
    };
    req.once('error', onStop);
    req.once('close', onStop);
    arriving.add(refuse);
  });
}

/**
 * Bytes that come in pieces, in one buffer that doubles. To keep the pieces would cost their number, not their size: a body
 * of 4 MiB in chunks of one byte makes four million buffers.
 */
class GrowingBuffer {
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (this.#length === 0) {
      // Most bodies come in one piece, which need not be copied.
      this.#bytes = chunk;
    } else {
      if (length > this.#bytes.length) this.#grow(length);
      chunk.copy(this.#bytes, this.#length);
    }
    this.#length = length;
  }

  clear(): void {
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
  }

  toString(): string {
    return this.#bytes.toString('utf8', 0, this.#length);
  }

  #grow(length: number): void {
    const grown = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
