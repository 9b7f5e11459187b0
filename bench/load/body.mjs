/**
 * Receives the pieces of a body. A piece is valid only during the call, because its buffer is reused.
 *
 * @typedef {(piece: Buffer) => void} Sink
 */

/** A body of known length (RFC 9112, 6.2). */
export class SizedBody {
  #left;
  #sink;

  /**
   * @param {number} length
   * @param {Sink} sink
   */
  constructor(length, sink) {
    this.#left = length;
    this.#sink = sink;
  }

  get complete() {
    return this.#left === 0;
  }

  /** @param {Buffer} data */
  take(data) {
    if (data.length > this.#left) throw new Error(`${data.length - this.#left} bytes after the end of the reply`);
    this.#left -= data.length;
    if (data.length > 0) this.#sink(data);
  }
}

/** A chunked body (RFC 9112, 7.1). Trailers are not supported, because no contender sends any. */
export class ChunkedBody {
  /** Remaining bytes of the current chunk, with its CRLF. At 0 a size line follows. */
  #left = 0;
  #line = '';
  #last = false;
  #sink;
  complete = false;

  /** @param {Sink} sink */
  constructor(sink) {
    this.#sink = sink;
  }

  /** @param {Buffer} data */
  take(data) {
    let at = 0;
    while (at < data.length) {
      if (this.complete) throw new Error(`${data.length - at} bytes after the end of the reply`);
      at = this.#left > 0 ? this.#takeChunk(data, at) : this.#takeLine(data, at);
    }
  }

  #takeChunk(data, at) {
    const end = Math.min(data.length, at + this.#left);
    const ofContent = Math.min(end, at + this.#left - 2);
    if (ofContent > at) this.#sink(data.subarray(at, ofContent));
    this.#left -= end - at;
    if (this.#left === 0 && this.#last) this.complete = true;
    return end;
  }

  #takeLine(data, at) {
    const newline = data.indexOf(10, at);
    if (newline < 0) {
      this.#line += data.latin1Slice(at);
      return data.length;
    }
    const size = Number.parseInt(this.#line + data.latin1Slice(at, newline), 16);
    if (Number.isNaN(size)) throw new Error('a chunk without a size');
    this.#line = '';
    this.#last = size === 0;
    this.#left = size + 2;
    return newline + 1;
  }
}
