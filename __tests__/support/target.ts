import { EventEmitter, once } from 'node:events';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Express } from 'express';
import type { McpRouter, McpRouterOptions } from '../../src/index.js';
import { FakeClock } from './fake-clock.js';
import { echoServer, JSON_HEADERS, openSession, start, type Harness } from './harness.js';
import { RawSocket, requestBytes, type RawResponse } from './raw-http.js';
import { until } from './waiting.js';

/** The request that every server answers. */
export const ping = (id: RequestId) => ({ jsonrpc: '2.0', id, method: 'ping' });
/** A call of {@link Target}'s tool `wait`. */
export const waitCall = (id: RequestId) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'wait' } });
export const cancelled = (requestId: RequestId) => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId },
});

const PING = /"id":"([^"]+)","method":"ping"/;

export type Headers = Readonly<Record<string, string>>;

/** A router that stands somewhere, and what its server and its factory tell of themselves. */
export class Target {
  readonly clock = new FakeClock();
  readonly happened = new EventEmitter();
  readonly #sockets: RawSocket[] = [];
  #harness: Harness | undefined;

  async start(mount: Mount, options: Partial<McpRouterOptions> = {}): Promise<this> {
    this.#harness = await start(
      { clock: this.clock, serverFactory: () => this.server(), ...mount.options, ...options },
      mount.mount,
    );
    this.#harness.url.pathname = mount.path;
    return this;
  }

  /** Its tool `wait` answers when `release` happens. */
  server(): McpServer {
    const server = echoServer();
    server.registerTool('wait', {}, async () => {
      const released = once(this.happened, 'release');
      this.happened.emit('waiting');
      await released;
      return { content: [{ type: 'text', text: 'waited' }] };
    });
    return server;
  }

  get router(): McpRouter {
    return this.#harness!.router;
  }

  open(headers: Headers = {}, version?: string): Promise<string> {
    return openSession(this.#harness!.url, headers, version);
  }

  async send(method: string, headers: Headers, body?: unknown): Promise<RawResponse> {
    const { port, pathname } = this.#harness!.url;
    const socket = await RawSocket.open(port);
    this.#sockets.push(socket);
    return socket.exchange(
      method,
      pathname,
      Object.entries(headers),
      body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
    );
  }

  post(body: unknown, headers: Headers = {}): Promise<RawResponse> {
    return this.send('POST', { ...JSON_HEADERS, ...headers }, body);
  }

  get(headers: Headers): Promise<RawResponse> {
    return this.send('GET', { accept: 'text/event-stream', ...headers });
  }

  /** A call of `wait` whose handler runs; resolves to the promise of its response. */
  async waiting(id: RequestId, session: string): Promise<{ response: Promise<RawResponse> }> {
    const runs = once(this.happened, 'waiting');
    const response = this.post(waitCall(id), { 'mcp-session-id': session });
    await runs;
    return { response };
  }

  /** Sends a POST without the last byte of its body. */
  async begin(headers: Headers, body: string): Promise<RawSocket> {
    const { port, pathname } = this.#harness!.url;
    const socket = await RawSocket.open(port);
    this.#sockets.push(socket);
    const length: [string, string] = ['content-length', String(body.length + 1)];
    await socket.write(requestBytes('POST', pathname, [...Object.entries(headers), length], body));
    return socket;
  }

  /** Opens the standalone stream. The returned function waits for a ping on it, and answers the ping. */
  async stream(session: string): Promise<() => Promise<void>> {
    const { port, pathname } = this.#harness!.url;
    const socket = await RawSocket.open(port);
    this.#sockets.push(socket);
    await socket.write(
      requestBytes('GET', pathname, [
        ['accept', 'text/event-stream'],
        ['mcp-session-id', session],
      ]),
    );
    expect(await socket.head()).toMatchObject({ status: 200 });
    return async () => {
      await until('there is a ping', () => PING.test(socket.unread));
      const [, id] = PING.exec(socket.unread) ?? [];
      await this.post({ jsonrpc: '2.0', id, result: {} }, { 'mcp-session-id': session });
    };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#harness?.close();
  }
}

/** How a router is mounted, and the path at which it then answers. */
export interface Mount {
  readonly where: string;
  readonly path: string;
  readonly options?: Partial<McpRouterOptions>;
  readonly mount: (app: Express, router: McpRouter) => void;
}

export const PLAIN: Mount = { where: 'at /mcp', path: '/mcp', mount: (app, router) => app.use('/mcp', router) };
