import type { Server as HttpServer } from 'node:http';
import type { ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_TIMER } from '../checks.js';

/** What {@link stop} needs of a router. */
export interface Drainable {
  drain(timeoutMs: number): Promise<void>;
}

export interface StopOptions {
  /** How long all of it may take, in ms, from 1 to 2,147,483,647. Default: 10,000. */
  readonly timeoutMs?: number;
}

/** How long sockets may stay once the routers have drained, in ms, for the replies of other routes. */
const LINGER = 2_000;

/** How often the server is asked for the sockets that are left, in ms. */
const INTERVAL = 25;

/**
 * Stops an HTTP server and its routers so that the process can end: the recipe for SIGTERM.
 *
 * The routers drain first, while the port stays open: clients with a session need it, and `ready` answers 503. Requests on
 * open sessions may finish within `timeoutMs`, less 2 s or a fifth of it. Then the server takes no connection any more, and
 * idle ones are closed. What is left has 2 s at most, and never longer than until `timeoutMs`, before it is destroyed: a reply
 * of another route, a socket that has sent nothing, half a request head, a body that never comes.
 *
 * Node itself knows the sockets of an HTTP/1 server, but for those that were upgraded (WebSocket) or tunnelled (CONNECT), and
 * none of an HTTP/2 server. Call {@link trackConnections} when you make such a server.
 *
 * @param server - Of `node:http`, `node:https` or `node:http2`.
 * @param routers - One router, or several of the same server.
 * @throws TypeError when `timeoutMs` is out of range; then nothing is stopped.
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
    // The server of a session may take longer to close than all of this may.
    await within(timeoutMs, Promise.all([routers].flat().map((router) => router.drain(drainTime))));
  } finally {
    await closeServer(server, connections, Math.min(deadline, performance.now() + LINGER));
  }
}

/**
 * Has {@link stop} know every connection of a server, from now on. Needed for an HTTP/2 server, and for sockets that are
 * upgraded (WebSocket) or tunnelled. Call it before the server listens. To call it again changes nothing.
 *
 * @param server - Of `node:http`, `node:https` or `node:http2`.
 */
export function trackConnections(server: Server): void {
  connectionsOf(server);
}

async function closeServer(server: Server, connections: Connections, until: number): Promise<void> {
  // Without a callback, which would be an error's where the server is closed already.
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

/** The open connections of a server: all that Node knows, and those that were made since this was. */
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

  /** Closes those on which no request is under way. */
  closeIdle(): void {
    this.#server.closeIdleConnections?.();
    // To Node, a socket that has sent nothing yet is not idle.
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
  const late = sleep(ms, undefined, { signal: abort.signal }).catch(() => undefined);
  try {
    await Promise.race([promise, late]);
  } finally {
    abort.abort();
  }
}

function countOf(server: Server): Promise<number> {
  return new Promise((resolve) => server.getConnections((error, count) => resolve(error === null ? count : 0)));
}
