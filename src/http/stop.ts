import type { Server as HttpServer } from 'node:http';
import type { ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_TIMER } from '../runtime/checks.js';

/** The part of a router that {@link stop} needs. */
export interface Drainable {
  drain(timeoutMs: number): Promise<void>;
}

export interface StopOptions {
  /** How long the whole stop may take, in ms, from 1 to 2,147,483,647. Default: 10,000. */
  readonly timeoutMs?: number;
}

/** How long sockets may stay open after the routers have drained, in ms. In this time, replies of other routes may finish. */
const LINGER = 2_000;

/** How often the number of open sockets is checked, in ms. */
const INTERVAL = 25;

/**
 * Stops an HTTP server and its routers so that the process can end. Call it on SIGTERM.
 *
 * First the routers drain. During that time the port stays open for clients with a session, and `ready` answers 503. Requests
 * on open sessions may finish within `timeoutMs`, minus the shorter of 2 s and a fifth of it.
 *
 * Then the server accepts no more connections and closes the idle ones. Other connections may finish within 2 s, but not after
 * `timeoutMs`. Connections that are still open then are destroyed, for example those with an incomplete request.
 *
 * Node knows the sockets of an HTTP/1 server, except upgraded (WebSocket) and tunnelled (CONNECT) ones. It knows no sockets of
 * an HTTP/2 server. Call {@link trackConnections} when you create such a server.
 *
 * @param server - A server of `node:http`, `node:https` or `node:http2`.
 * @param routers - One router, or several of the same server.
 * @throws TypeError when `timeoutMs` is out of range. Nothing is stopped then.
 *
 * @example
 * ```ts
 * const server = createHttpServer(app).listen(3000);
 * process.once('SIGTERM', () => void stop(server, mcp, { timeoutMs: 10_000 }));
 * ```
 */
export async function stop(
  server: Server,
  routers: Drainable | readonly Drainable[],
  { timeoutMs = 10_000 }: StopOptions = {},
): Promise<void> {
  if (!(Number.isFinite(timeoutMs) && timeoutMs >= 1 && timeoutMs <= MAX_TIMER)) {
    throw new TypeError(`stop: timeoutMs takes milliseconds from 1 to ${MAX_TIMER}; got ${String(timeoutMs)}`);
  }
  const deadline = performance.now() + timeoutMs;
  const connections = connectionsOf(server);
  const drainTime = timeoutMs - Math.min(LINGER, timeoutMs / 5);
  try {
    // Closing the server of a session may take longer than `timeoutMs`.
    await within(timeoutMs, Promise.all([routers].flat().map((router) => router.drain(drainTime))));
  } finally {
    await closeServer(server, connections, Math.min(deadline, performance.now() + LINGER));
  }
}

/**
 * Makes {@link stop} know every connection that a server accepts from now on. An HTTP/2 server needs it, and so do sockets that
 * are upgraded (WebSocket) or tunnelled (CONNECT). Call it before the server listens. A second call changes nothing.
 *
 * @param server - A server of `node:http`, `node:https` or `node:http2`.
 */
export function trackConnections(server: Server): void {
  connectionsOf(server);
}

async function closeServer(server: Server, connections: Connections, until: number): Promise<void> {
  // No callback: it would get an error when the server is closed already.
  server.close();
  connections.closeIdle();
  while ((await countOf(server)) > 0 && performance.now() < until) {
    await sleep(INTERVAL);
    connections.closeIdle();
  }
  connections.destroyAll();
}

const connectionsKey = Symbol('connections');

function connectionsOf(server: Server & { [connectionsKey]?: Connections }): Connections {
  const known = server[connectionsKey];
  if (known !== undefined) return known;
  const connections = new Connections(server);
  Reflect.defineProperty(server, connectionsKey, { value: connections });
  return connections;
}

/** The open connections of a server: all that Node knows, and all that were accepted since this object was created. */
class Connections {
  readonly #server: Server & Partial<Pick<HttpServer, 'closeIdleConnections' | 'closeAllConnections'>>;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  /** Closes the connections without a request in progress. */
  closeIdle(): void {
    this.#server.closeIdleConnections?.();
    // Node does not count a socket as idle before its first request.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    for (const session of this.#sessions) if (!session.closed) session.close();
  }

  destroyAll(): void {
    this.#server.closeAllConnections?.();
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }
}

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  const abort = new AbortController();
  const timeout = sleep(ms, undefined, { signal: abort.signal }).catch(() => undefined);
  try {
    await Promise.race([promise, timeout]);
  } finally {
    abort.abort();
  }
}

function countOf(server: Server): Promise<number> {
  return new Promise((resolve) => server.getConnections((error, count) => resolve(error === null ? count : 0)));
}
