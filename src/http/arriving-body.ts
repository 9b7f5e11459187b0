import type { IncomingMessage } from 'node:http';
import { Refusal } from '../errors.js';
import type { LinkedList } from '../runtime/linked-list.js';
import type { Arriving, ArrivingBodies } from './arriving-bodies.js';

/** The body of one message, from its first chunk to its last. */
export class ArrivingBody implements Arriving {
  held = 0;
  list: LinkedList<Arriving> | undefined;
  before: Arriving | undefined;
  after: Arriving | undefined;
  readonly #message: IncomingMessage;
  readonly #bodies: ArrivingBodies;
  readonly #maxSize: number;
  /** Its Content-Length. NaN if it has none. */
  readonly #declared: number;
  readonly #buffer: GrowingBuffer;
  #resolve: (bytes: Buffer) => void = ignore;
  #reject: (reason: Error) => void = ignore;

  /**
   * @param maxSize - Bytes that it may have.
   * @param bodies - The bodies with which it shares a memory limit.
   */
  constructor(message: IncomingMessage, maxSize: number, bodies: ArrivingBodies) {
    this.#message = message;
    this.#bodies = bodies;
    this.#maxSize = maxSize;
    this.#declared = Number(message.headers['content-length']);
    this.#buffer = new GrowingBuffer(Number.isNaN(this.#declared) ? maxSize : this.#declared);
  }

  /** Resolves to the bytes when the last one has arrived. Rejects with the reason when the body is refused. */
  read(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      // Node emits `end`, `error` and `close` once, so `once` would only add the cost to remove the listeners.
      this.#message.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onStop).on('close', this.#onStop);
      this.#bodies.add(this);
    });
  }

  refuse(reason: Error): void {
    this.#bodies.delete(this);
    // The rest is read and dropped: a reset while the client still writes could make it lose the answer.
    this.#message.off('data', this.#onData).resume();
    this.#buffer.clear();
    this.#reject(reason);
  }

  readonly #onData = (chunk: Buffer | string): void => {
    try {
      this.#take(asBytes(chunk, this.#message));
    } catch (error) {
      // The error rejects the promise. Thrown by a listener, it would end the process.
      this.refuse(error instanceof Error ? error : new Error(String(error)));
    }
  };

  readonly #onEnd = (): void => {
    this.#bodies.delete(this);
    this.#resolve(this.#buffer.bytes());
  };

  /** Called when the body breaks off. The client is disconnected, so it does not matter which error it would get. */
  readonly #onStop = (): void => {
    if (!this.#message.readableEnded) this.refuse(new Refusal('parseError'));
  };

  #take(bytes: Buffer): void {
    const { length } = this.#buffer;
    if (length + bytes.length > this.#maxSize) throw new Refusal('bodyTooLarge');
    // A body in one piece does not wait in memory. So it does not count, and slow bodies of others cannot make it fail.
    if (length > 0 || bytes.length !== this.#declared) this.#bodies.hold(this, this.#buffer.capacityWith(bytes));
    this.#buffer.add(bytes);
  }
}

const ignore = (): void => undefined;

/** Chunks are strings after earlier middleware called `setEncoding` (Node, `readable.setEncoding`). */
function asBytes(chunk: Buffer | string, { readableEncoding }: IncomingMessage): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, readableEncoding ?? 'utf8') : chunk;
}

/**
 * Collects chunks in one buffer, which doubles its size when it is full. A list of the chunks would take memory for each chunk:
 * a body of 4 MiB in chunks of one byte makes four million buffers.
 */
class GrowingBuffer {
  readonly #expected: number;
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  /** @param expected - Bytes that the chunks should have together. The buffer does not double beyond this size. */
  constructor(expected: number) {
    this.#expected = expected;
  }

  get length(): number {
    return this.#length;
  }

  /** The size of the buffer after the chunk is added. */
  capacityWith(chunk: Buffer): number {
    const length = this.#length + chunk.length;
    const capacity = this.#bytes.length;
    return length <= capacity ? capacity : Math.max(length, Math.min(2 * capacity, this.#expected));
  }

  add(chunk: Buffer): void {
    if (this.#length === 0) {
      // Most bodies come in one chunk, which need not be copied.
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

  bytes(): Buffer {
    const bytes = this.#bytes;
    return bytes.length === this.#length ? bytes : bytes.subarray(0, this.#length);
  }

  #grow(capacity: number): void {
    const grown = Buffer.allocUnsafe(capacity);
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
