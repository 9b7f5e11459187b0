import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Refusal } from '../errors.js';
import { isTextDeeperThan, isValueDeeperThan } from '../runtime/json-depth.js';
import type { ResolvedOptions } from '../options/options.js';
import { ArrivingBodies } from './arriving-bodies.js';
import type { McpRequest } from './mcp-request.js';

const REPLACEMENT_CHARACTER = '\uFFFD';
const BYTE_ORDER_MARK = 0xfeff;

/** Reads the bodies of POSTs. There is one for each router, as the bodies share one memory limit. */
export class BodyReader {
  readonly #maxSize: number;
  readonly #maxDepth: number;
  readonly #arriving: ArrivingBodies;

  constructor(options: Pick<ResolvedOptions, 'maxBodySize' | 'maxBodyMemory' | 'maxDepth' | 'clock'>) {
    this.#maxSize = options.maxBodySize;
    this.#maxDepth = options.maxDepth;
    this.#arriving = new ArrivingBodies(options.clock, options.maxBodyMemory);
  }

  /** Refuses every body that is incomplete. A body that begins later has a second at most. */
  close(): void {
    this.#arriving.close();
  }

  /**
   * Resolves to the parsed JSON body of a POST. If `express.json()` has read the stream, takes `req.body`.
   *
   * @throws Refusal `unsupportedMediaType` for another type or encoding.
   * @throws Refusal `bodyTooLarge` above `maxBodySize`, before anything is read if Content-Length says so.
   * @throws Refusal `bodiesAtCapacity` when other bodies need its share of `maxBodyMemory`.
   * @throws Refusal `bodyTooDeep` above `maxDepth`; `parseError` when the body is not JSON in UTF-8, or breaks off.
   * @throws Refusal `draining` when the router closes before the body is complete.
   */
  async read({ headers, message, body }: Pick<McpRequest, 'headers' | 'message' | 'body'>): Promise<unknown> {
    checkMediaType(headers);
    // express.json() 1.x sets `{}` even if it read nothing, so `req.body` proves nothing. An empty body is read to its end
    // without any data.
    if (message.readableDidRead || message.readableEnded) return this.#parsedElsewhere(body);
    if (Number(headers['content-length'] ?? 0) > this.#maxSize) throw new Refusal('bodyTooLarge');
    return this.#parse(await this.#readText(message));
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
    // The client disconnected while other middleware ran: the stream emits nothing any more.
    if (req.destroyed) return Promise.reject(new Refusal('parseError'));
    return new Promise((resolve, reject) => {
      const arriving = this.#arriving;
      const declared = Number(req.headers['content-length']);
      const body = new GrowingBuffer(Number.isNaN(declared) ? this.#maxSize : declared);
      const refuse = (reason: Error): void => {
        arriving.delete(refuse);
        // The rest is read and dropped: a reset while the client writes could lose our answer.
        req.off('data', onData).resume();
        body.clear();
        reject(reason);
      };
      // An error that a listener throws ends the process. It rejects the promise instead.
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
          // A body in one piece does not wait in memory, so slow bodies of others must not make it fail.
          if (body.length > 0 || bytes.length !== declared) arriving.hold(refuse, body.capacityWith(bytes));
          body.add(bytes);
        });
      req.on('data', onData);
      req.once('end', () => {
        arriving.delete(refuse);
        attempt(() => resolve(body.text()));
      });
      // A body that breaks off: no client reads the answer.
      const onStop = (): void => {
        if (!req.readableEnded) refuse(new Refusal('parseError'));
      };
      req.once('error', onStop);
      req.once('close', onStop);
      arriving.add(refuse);
    });
  }
}

function checkMediaType(headers: IncomingHttpHeaders): void {
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

/** Chunks are strings after earlier middleware called `setEncoding` (Node, `readable.setEncoding`). */
function asBytes(chunk: Buffer | string, { readableEncoding }: IncomingMessage): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, readableEncoding ?? 'utf8') : chunk;
}

/**
 * Decodes UTF-8.
 *
 * Node decodes invalid UTF-8 to replacement characters. The bytes are checked only if the text has such a character. Most texts
 * have none, and a fatal `TextDecoder` takes up to twice as long for a long text.
 *
 * @throws Refusal `parseError` when the bytes are not UTF-8.
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
  readonly #most: number;
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  /** @param most - Bytes that the pieces are expected to have together, past which the buffer does not double. */
  constructor(most: number) {
    this.#most = most;
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes that the buffer takes once the chunk is added. */
  capacityWith(chunk: Buffer): number {
    const length = this.#length + chunk.length;
    const capacity = this.#bytes.length;
    return length <= capacity ? capacity : Math.max(length, Math.min(2 * capacity, this.#most));
  }

  add(chunk: Buffer): void {
    if (this.#length === 0) {
      // Most bodies come in one piece, which need not be copied.
      this.#bytes = chunk;
    } else {
      const capacity = this.capacityWith(chunk);
      if (capacity > this.#bytes.length) this.#grow(capacity);
      chunk.copy(this.#bytes, this.#length);
    }
    this.#length += chunk.length;
  }

  clear(): void {
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
  }

  text(): string {
    const bytes = this.#bytes;
    return decode(bytes.length === this.#length ? bytes : bytes.subarray(0, this.#length));
  }

  #grow(capacity: number): void {
    const grown = Buffer.allocUnsafe(capacity);
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
