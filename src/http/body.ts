import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { Refusal } from '../errors.js';
import type { Lifecycle } from '../runtime/lifecycle-phase.js';
import { isTextDeeperThan, isValueDeeperThan } from '../runtime/json-depth.js';
import type { ResolvedOptions } from '../options/options.js';
import { ArrivingBodies } from './arriving-bodies.js';
import { ArrivingBody } from './arriving-body.js';
import type { McpRequest } from './mcp-request.js';

const REPLACEMENT_CHARACTER = '\uFFFD';
const BYTE_ORDER_MARK = 0xfeff;

/** The body of a POST. */
export interface Body {
  /** Parsed from its JSON. */
  readonly value: unknown;
  /** The body as the client sent it. Undefined when other middleware has parsed it. */
  readonly raw: Buffer | string | undefined;
}

/** Reads the bodies of POSTs. There is one for each router, as the bodies share one memory limit. */
export class BodyReader {
  readonly #maxSize: number;
  readonly #maxDepth: number;
  readonly #arriving: ArrivingBodies;

  constructor(
    options: Pick<ResolvedOptions, 'maxBodySize' | 'maxBodyMemory' | 'maxDepth' | 'clock'>,
    lifecycle: Lifecycle,
  ) {
    this.#maxSize = options.maxBodySize;
    this.#maxDepth = options.maxDepth;
    this.#arriving = new ArrivingBodies(options.clock, options.maxBodyMemory, lifecycle);
  }

  /** The bodies that are being read. */
  get arriving(): Pick<ArrivingBodies, 'isNone' | 'whenNone'> {
    return this.#arriving;
  }

  /** Refuses every body that is incomplete. A body that begins later has a second at most. */
  close(): void {
    this.#arriving.close();
  }

  /**
   * Resolves to the body of a POST. If `express.json()` has read the stream, takes `req.body`.
   *
   * @throws Refusal `unsupportedMediaType` when the type is not JSON, or the body has an encoding.
   * @throws Refusal `bodyTooLarge` when the body, or its Content-Length, exceeds `maxBodySize`.
   * @throws Refusal `bodiesAtCapacity` when other bodies need its share of `maxBodyMemory`.
   * @throws Refusal `bodyTooDeep` when the body is nested deeper than `maxDepth`.
   * @throws Refusal `parseError` when the body is not JSON in UTF-8, or breaks off.
   * @throws Refusal `draining` when the router closes before the body is complete.
   */
  async read({ headers, message, body }: Pick<McpRequest, 'headers' | 'message' | 'body'>): Promise<Body> {
    checkMediaType(headers);
    // express.json() 1.x sets `req.body` to `{}` even if it read nothing, so only the stream shows whether it was read. An
    // empty body ends without any data.
    if (message.readableDidRead || message.readableEnded) return this.#takeOver(body);
    if (Number(headers['content-length'] ?? 0) > this.#maxSize) throw new Refusal('bodyTooLarge');
    checkEncoding(headers);
    // The client disconnected while other middleware ran. The stream emits no event any more.
    if (message.destroyed) throw new Refusal('parseError');
    return this.#parseBytes(await new ArrivingBody(message, this.#maxSize, this.#arriving).read());
  }

  /** The body, if other code has read it. */
  #takeOver(body: unknown): Body {
    if (Buffer.isBuffer(body)) return this.#parseBytes(body);
    if (typeof body === 'string') return { value: this.#parse(body), raw: body };
    if (body === undefined) {
      throw new Refusal('parseError', { cause: new Error('other middleware read the body and left no req.body') });
    }
    if (isValueDeeperThan(this.#maxDepth, body)) throw new Refusal('bodyTooDeep');
    return { value: body, raw: undefined };
  }

  #parseBytes(raw: Buffer): Body {
    return { value: this.#parse(decode(raw)), raw };
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

function checkEncoding(headers: IncomingHttpHeaders): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') throw new Refusal('unsupportedMediaType');
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
