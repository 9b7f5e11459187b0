import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { JSON_HEADERS } from './harness.js';
import { requestBytes } from './raw-http.js';
import type { RawSession } from './raw-session.js';
import { until } from './waiting.js';

/** What each notification has once. */
const MARK = '"notifications/message"';

/** A client that reads nothing until the test says so. */
export class StalledReader {
  readonly #socket: net.Socket;
  #received = 0;
  #wanted = 0;
  #notifications = 0;
  #tail = '';

  private constructor(
    socket: net.Socket,
    /** The router's side of the exchange. */
    readonly res: ServerResponse,
  ) {
    this.#socket = socket;
    socket.on('data', this.#read).pause();
  }

  /** Opens the standalone stream, or sends a request, or resumes. */
  static open(
    server: Server,
    { headers }: RawSession,
    request?: { id: number; method: string },
    lastEventId?: string,
  ): Promise<StalledReader> {
    if (request !== undefined)
      return StalledReader.post(server, JSON.stringify({ jsonrpc: '2.0', ...request }), headers);
    return StalledReader.#send(server, 'GET', {
      ...headers,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    });
  }

  static post(server: Server, body: string, headers: Record<string, string>): Promise<StalledReader> {
    return StalledReader.#send(server, 'POST', headers, body);
  }

  static async #send(
    server: Server,
    method: string,
    headers: Record<string, string>,
    body?: string,
  ): Promise<StalledReader> {
    const socket = await connect(server);
    socket.on('error', () => undefined);
    const accepted = once(server, 'request') as Promise<[unknown, ServerResponse]>;
    socket.write(requestBytes(method, '/mcp', Object.entries({ ...JSON_HEADERS, ...headers }), body));
    const [, res] = await accepted;
    server.once('close', () => socket.destroy());
    return new StalledReader(socket, res);
  }

  /** Bytes that were read. */
  get received(): number {
    return this.#received;
  }

  /** The end of what was read. */
  get tail(): string {
    return this.#tail;
  }

  /** How often a text was read. */
  get notifications(): number {
    return this.#notifications;
  }

  get ended(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded;
  }

  /** Resolves when the kernel takes no more for the reader. Until then, each write of the router is over in a turn. */
  async full(): Promise<void> {
    let looks = 0;
    await until('the kernel takes no more', () => (looks = this.res.writableNeedDrain ? looks + 1 : 0) > 20);
  }

  /** Reads on, and from now on at once. */
  readAll(): void {
    this.#wanted = Infinity;
    this.#socket.resume();
  }

  /** Reads about so many bytes more. */
  sip(bytes: number): void {
    this.#wanted += bytes;
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #read = (chunk: Buffer): void => {
    this.#received += chunk.length;
    const text = this.#tail + chunk.toString('latin1');
    this.#notifications += text.split(MARK).length - 1;
    this.#tail = text.slice(-MARK.length + 1);
    if (this.#received >= this.#wanted) this.#socket.pause();
  };
}

/** Over a Unix socket, for which the kernel buffers 200 KB. On loopback it takes several MiB, which each test would have to fill. */
async function connect(server: Server): Promise<net.Socket> {
  const path = join(tmpdir(), `${randomUUID()}.sock`);
  const listener = net.createServer({ allowHalfOpen: true }, (socket) => server.emit('connection', socket));
  await once(listener.listen(path), 'listening');
  const socket = net.connect(path).pause();
  await Promise.all([once(listener, 'connection'), once(socket, 'connect')]);
  listener.close();
  return socket;
}
