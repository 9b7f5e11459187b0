import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Refusal } from '../errors.js';
import { isTextDeeperThan, isValueDeeperThan } from '../json-depth.js';
import type { ResolvedOptions } from '../options.js';
import { ArrivingBodies } from './arriving-bodies.js';

/** A request whose body other middleware may have parsed already. */
type ParsedRequest = IncomingMessage & { body?: unknown };

const REPLACEMENT_CHARACTER = '\uFFFD';
const BYTE_ORDER_MARK = 0xfeff;

/** Reads the bodies of POSTs. One for each router, as all that arrive at once share a memory. */
export class BodyReader {
  readonly #maxSize: number;
  readonly #maxDepth: number;
  readonly #arriving: ArrivingBodies;

  constructor(options: Pick<ResolvedOptions, 'maxBodySize' | 'maxBodyMemory' | 'maxDepth' | 'clock'>) {
    this.#maxSize = options.maxBodySize;
    this.#maxDepth = options.maxDepth;
    this.#arriving = new ArrivingBodies(options.clock, options.maxBodyMemory);
  }

  /** Refuses every body that is not whole, and soon each that comes later. */
  close(): void {
    this.#arriving.close();
  }

  /**
   * The parsed JSON body of a POST: what `express.json()` left, or else read here.
   *
   * @throws Refusal: `unsupportedMediaType`, `bodyTooLarge` (before it is read where its length is declared),
   * `bodiesAtCapacity`, `parseError`, `bodyTooDeep`; `draining` when the router closes before the body is whole.
   */
  async read(req: ParsedRequest): Promise<unknown> {
    checkMediaType(req);
    // Whether somebody read the stream is what counts: express.json() 1.x leaves `{}` also where it read nothing. An empty
    // body is read to its end without any data.
    if (req.readableDidRead || req.readableEnded) return this.#parsedElsewhere(req.body);
    if (Number(req.headers['content-length'] ?? 0) > this.#maxSize) throw new Refusal('bodyTooLarge');
    return this.#parse(await this.#readText(req));
  }

  #parsedElsewhere(body: unknown): unknown {
    if (typeof body === 'string') return this.#parse(body);
    if (Buffer.isBuffer(body)) return this.#parse(decode(body));
    if (body === undefined) {
      throw new Refusal('parseError', { cause: new Error('other middleware read the body and left no req.body') });
    }
    if (isValueDeeperThan(this.#maxDepth, body)) throw new Refusal('bodyTooDeep');
    return body;
  }

  #parse(text: string): unknown {
    if (isTextDeeperThan(this.#maxDepth, text)) throw new Refusal('bodyTooDeep');
    try {
      // RFC 8259, 8.1: a parser may ignore a byte order mark.
      return JSON.parse(text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text) as unknown;
    } catch {
      throw new Refusal('parseError');
    }
  }

  #readText(req: IncomingMessage): Promise<string> {
    const encoding = req.headers['content-encoding'];
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      return Promise.reject(new Refusal('unsupportedMediaType'));
    }
    // Its client left while other middleware ran; there will be no event any more.
    if (req.destroyed) return Promise.reject(new Refusal('parseError'));
    return new Promise((resolve, reject) => {
      const arriving = this.#arriving;
      const body = new GrowingBuffer();
      const declared = Number(req.headers['content-length']);
      let held = 0;
      const over = (): void => {
        arriving.delete(refuse);
        arriving.release(held);
        held = 0;
      };
      const refuse = (reason: Error): void => {
        over();
        // What still comes is read and dropped: to close on a client that is writing would cost it our answer.
        req.off('data', onData).resume();
        body.clear();
        reject(reason);
      };
      // A listener that throws ends the process: what fails here is the promise's.
      const attempt = (act: () => void): void => {
        try {
          act();
        } catch (error) {
          refuse(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const onData = (chunk: Buffer | string): void =>
        attempt(() => {
          const bytes = asBytes(chunk, req);
          if (body.length + bytes.length > this.#maxSize) throw new Refusal('bodyTooLarge');
          // A body that comes in one piece waits for nothing, so no slow one can have it refused.
          if (bytes.length !== declared) {
            if (!arriving.hold(bytes.length)) throw new Refusal('bodiesAtCapacity');
            held += bytes.length;
          }
          body.add(bytes);
        });
      req.on('data', onData);
      req.once('end', () => {
        over();
        attempt(() => resolve(body.text()));
      });
      // A body that stops half-way: nobody is left to read the answer.
      const onStop = (): void => {
        if (!req.readableEnded) refuse(new Refusal('parseError'));
      };
      req.once('error', onStop);
      req.once('close', onStop);
      arriving.add(refuse);
    });
  }
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

/** A chunk is text where earlier middleware has called `setEncoding` (Node, `readable.setEncoding`). */
function asBytes(chunk: Buffer | string, { readableEncoding }: IncomingMessage): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, readableEncoding ?? 'utf8') : chunk;
}

/**
 * Text from UTF-8.
 *
 * Node decodes what is no UTF-8 to replacement characters. Bytes are checked only where there is such a character: most
 * texts have none, and `TextDecoder` with `fatal` takes up to twice as long for a long one.
 *
 * @throws Refusal `parseError` when it is not UTF-8.
 */
function decode(bytes: Buffer): string {
  const text = bytes.toString();
  if (text.includes(REPLACEMENT_CHARACTER) && !isUtf8(bytes)) throw new Refusal('parseError');
  return text;
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

  text(): string {
    const bytes = this.#bytes;
    return decode(bytes.length === this.#length ? bytes : bytes.subarray(0, this.#length));
  }

  #grow(length: number): void {
    const grown = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
