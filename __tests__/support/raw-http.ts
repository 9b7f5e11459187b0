import net from 'node:net';

/** A response as it came over the wire. */
export interface RawResponse {
  readonly status: number;
  /** By name in lower case; values of a name that comes twice are joined with `, `. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** Status line and headers, as they were sent. */
  readonly head: string;
}

interface Head extends Omit<RawResponse, 'body'> {
  readonly end: number;
}

const NO_BYTES = Buffer.alloc(0);

/** A request in HTTP/1.1; with a body it has a Content-Length, unless it has a Transfer-Encoding. */
export function requestBytes(
  method: string,
  path: string,
  headers: readonly (readonly [string, string])[] = [],
  body?: string | Buffer,
): Buffer {
  const bytes = body === undefined ? NO_BYTES : Buffer.from(body);
  const names = new Set(headers.map(([name]) => name.toLowerCase()));
  const lines = headers.map(([name, value]) => `${name}: ${value}`);
  if (!names.has('host')) lines.unshift('Host: 127.0.0.1');
  if (body !== undefined && !names.has('content-length') && !names.has('transfer-encoding')) {
    lines.push(`Content-Length: ${bytes.length}`);
  }
  // Latin-1, as Node reads it: a character is a byte.
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

/** Bytes as chunks of the chunked transfer coding (RFC 9112, 7.1), with the last one. */
export function chunked(...chunks: readonly Buffer[]): Buffer {
  const framed = chunks
    .filter((chunk) => chunk.length > 0)
    .map((chunk) => Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]));
  return Buffer.concat([...framed, Buffer.from('0\r\n\r\n')]);
}

/**
 * A socket that speaks HTTP byte by byte: pipelines, stops half-way, sends what no client library would. Responses come
 * in the order of the requests.
 */
export class RawSocket {
  readonly #socket: net.Socket;
  #received: Buffer = NO_BYTES;
  #ended = false;
  #wake: () => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    // A reset ends the socket like a close; a pending response then rejects.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#end());
    socket.on('end', () => this.#end());
  }

  static open(port: number | string): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(Number(port), '127.0.0.1', () => {
        socket.off('error', reject);
        resolve(new RawSocket(socket));
      });
      socket.once('error', reject);
    });
  }

  /** Whether the other side has ended it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes that have arrived after the last response that was read. */
  get unread(): string {
    return this.#received.toString();
  }

  /** Resolves when the kernel has the bytes, or the socket has closed. */
  write(bytes: Buffer | string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve();
      else this.#socket.write(bytes, () => resolve());
    });
  }

  /** Sends a request and reads the response to it. */
  async exchange(...request: Parameters<typeof requestBytes>): Promise<RawResponse> {
    void this.write(requestBytes(...request));
    return this.response(request[0]);
  }

  /**
   * The next response, whole.
   *
   * @param method - Of the request: the response to HEAD has no body, whatever its headers say.
   * @throws Error when the socket ends before.
   */
  async response(method = 'POST'): Promise<RawResponse> {
    for (;;) {
      const response = this.#parse(method);
      if (response !== undefined) return response;
      await this.#more();
    }
  }

  /** Status and headers of the next response, as soon as they are there; its body is left to come. */
  async head(): Promise<Omit<RawResponse, 'body'>> {
    for (;;) {
      const found = this.#parseHead();
      if (found !== undefined) return { status: found.status, headers: found.headers, head: found.head };
      await this.#more();
    }
  }

  /** Resolves when the other side has ended the socket. */
  async end(): Promise<void> {
    while (!this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  async #more(): Promise<void> {
    if (this.#ended) {
      throw new Error(`the socket ended before a response did; it had sent: ${JSON.stringify(String(this.#received))}`);
    }
    await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  #parseHead(): Head | undefined {
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const head = this.#received.toString('latin1', 0, end);
    const [statusLine = '', ...lines] = head.split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
    if (Number.isNaN(status)) throw new Error(`not a response: ${JSON.stringify(head)}`);
    // 100 Continue and its like come before the response.
    if (status < 200) {
      this.#received = this.#received.subarray(end + 4);
      return this.#parseHead();
    }
    const headers = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      const before = headers.get(name);
      headers.set(name, before === undefined ? value : `${before}, ${value}`);
    }
    return { status, headers, head, end: end + 4 };
  }

  #parse(method: string): RawResponse | undefined {
    const found = this.#parseHead();
    if (found === undefined) return undefined;
    const body = this.#parseBody(method, found);
    if (body === undefined) return undefined;
    this.#received = this.#received.subarray(body.end);
    return { status: found.status, headers: found.headers, head: found.head, body: body.text };
  }

  #parseBody(method: string, { status, headers, end }: Head): { text: string; end: number } | undefined {
    if (method === 'HEAD' || status === 204 || status === 304) return { text: '', end };
    if (headers.get('transfer-encoding') === 'chunked') return this.#parseChunks(end);
    const length = headers.get('content-length');
    const until = length === undefined ? this.#received.length : end + Number(length);
    // Without a length the body goes on to the end of the socket (RFC 9112, 6.3).
    if (length === undefined ? !this.#ended : until > this.#received.length) return undefined;
    return { text: this.#received.toString('utf8', end, until), end: until };
  }

  #parseChunks(start: number): { text: string; end: number } | undefined {
    const chunks: Buffer[] = [];
    let at = start;
    for (;;) {
      const lineEnd = this.#received.indexOf('\r\n', at);
      if (lineEnd < 0) return undefined;
      const size = parseInt(this.#received.toString('latin1', at, lineEnd), 16);
      const next = lineEnd + 2 + size + 2;
      if (next > this.#received.length) return undefined;
      if (size === 0) return { text: Buffer.concat(chunks).toString(), end: next };
      chunks.push(this.#received.subarray(lineEnd + 2, next - 2));
      at = next;
    }
  }
}
