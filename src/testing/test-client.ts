import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type {
  JSONRPCErrorResponse,
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCResultResponse,
} from '../protocol/messages.js';
import { encodeHeader } from '../protocol/encoded-header.js';
import { EventParser } from '../protocol/event-parser.js';
import {
  CLIENT_CAPABILITIES,
  CLIENT_INFO,
  NAMING_PARAMETERS,
  LATEST_PER_REQUEST_VERSION,
  PROTOCOL_VERSION,
} from '../protocol/per-request-era.js';
import { LATEST_PROTOCOL_VERSION } from '../protocol/session-era.js';

const IMPLEMENTATION = { name: 'test', version: '1.0.0' };

/** Options of {@link testClient}. */
export interface TestClientOptions {
  /** The path of the endpoint. Default: `/mcp`. */
  path?: string | undefined;
  /** Headers of each request, such as `authorization`. Default: none. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** `session`: opens a session. `request`: speaks MCP 2026-07-28, which has none (option `perRequest`). Default: `session`. */
  era?: 'session' | 'request' | undefined;
  /** The capabilities of the client. Default: none. */
  capabilities?: Readonly<Record<string, unknown>> | undefined;
}

/** The reply to one request. */
export interface TestReply {
  readonly status: number;
  readonly headers: Headers;
  /** The result, unless the answer is an error. */
  readonly result?: JSONRPCResultResponse['result'];
  readonly error?: JSONRPCErrorResponse['error'];
  /** The notifications that came before the answer. */
  readonly notifications: readonly JSONRPCNotification[];
}

/** A client that shows each reply as it came: its status, headers, answer and notifications. */
export interface TestClient {
  /** The URL of the endpoint, on a free port of this machine. */
  readonly url: URL;
  /** Undefined without a session, or when `initialize` was refused. */
  readonly sessionId: string | undefined;
  /** The reply to `initialize`. Undefined with `era: 'request'`. */
  readonly opening: TestReply | undefined;
  /** Sends a request and reads the whole reply. An error is part of the reply, and no rejection. */
  request(method: string, params?: Readonly<Record<string, unknown>>): Promise<TestReply>;
  /** Calls a tool. */
  callTool(name: string, args?: Readonly<Record<string, unknown>>): Promise<TestReply>;
  /** Ends the session and the HTTP server, not the router. */
  close(): Promise<void>;
}

/**
 * Serves an app on a free port, and connects a client to its endpoint.
 *
 * Close your router as well: its sessions and timers are its own.
 *
 * @param app - An Express app, or another request listener of `node:http`.
 *
 * @example
 * ```ts
 * const client = await testClient(app, { headers: { authorization: 'Bearer t' } });
 * const { result } = await client.callTool('add', { a: 1, b: 2 });
 * await client.close();
 * ```
 */
export async function testClient(app: RequestListener, options: TestClientOptions = {}): Promise<TestClient> {
  const server = createServer(app);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const client = new HttpTestClient(server, new URL(options.path ?? '/mcp', `http://127.0.0.1:${port}`), options);
  try {
    await client.open();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

class HttpTestClient implements TestClient {
  sessionId: string | undefined;
  opening: TestReply | undefined;
  readonly url: URL;
  readonly #server: Server;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #isPerRequest: boolean;
  readonly #capabilities: Readonly<Record<string, unknown>>;
  #lastId = 0;

  constructor(server: Server, url: URL, { headers = {}, era = 'session', capabilities = {} }: TestClientOptions) {
    this.#server = server;
    this.url = url;
    this.#headers = headers;
    this.#isPerRequest = era === 'request';
    this.#capabilities = capabilities;
  }

  async open(): Promise<void> {
    if (this.#isPerRequest) return;
    this.opening = await this.request('initialize', {
      protocolVersion: LATEST_PROTOCOL_VERSION,
      capabilities: this.#capabilities,
      clientInfo: IMPLEMENTATION,
    });
    this.sessionId = this.opening.headers.get('mcp-session-id') ?? undefined;
    if (this.opening.result !== undefined) await this.#post({ method: 'notifications/initialized' }, {});
  }

  async request(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<TestReply> {
    this.#lastId += 1;
    const response = this.#isPerRequest
      ? await this.#post({ id: this.#lastId, method, params: this.#withEnvelope(params) }, mirrored(method, params))
      : await this.#post({ id: this.#lastId, method, params }, {});
    const messages = parseReply(await response.text());
    const answer = messages.find(isAnswer);
    const { status, headers } = response;
    return {
      status,
      headers,
      notifications: messages.filter(isNotification),
      ...(answer !== undefined && ('result' in answer ? { result: answer.result } : { error: answer.error })),
    };
  }

  callTool(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<TestReply> {
    return this.request('tools/call', { name, arguments: args });
  }

  async close(): Promise<void> {
    const { sessionId } = this;
    this.sessionId = undefined;
    if (sessionId !== undefined) {
      await fetch(this.url, { method: 'DELETE', headers: { ...this.#headers, 'mcp-session-id': sessionId } });
    }
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #post(message: object, headers: Readonly<Record<string, string>>): Promise<Response> {
    return fetch(this.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(this.sessionId !== undefined && { 'mcp-session-id': this.sessionId }),
        ...headers,
        ...this.#headers,
      },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
  }

  #withEnvelope(params: Readonly<Record<string, unknown>>): object {
    const envelope = {
      [PROTOCOL_VERSION]: LATEST_PER_REQUEST_VERSION,
      [CLIENT_INFO]: IMPLEMENTATION,
      [CLIENT_CAPABILITIES]: this.#capabilities,
    };
    return { ...params, _meta: { ...envelope, ...(params._meta as object | undefined) } };
  }
}

function isAnswer(message: JSONRPCMessage): message is JSONRPCResultResponse | JSONRPCErrorResponse {
  return 'result' in message || 'error' in message;
}

function isNotification(message: JSONRPCMessage): message is JSONRPCNotification {
  return 'method' in message && !('id' in message);
}

/** The headers that repeat parts of the body (MCP 2026-07-28, basic/transports/streamable-http, "Standard Request Headers"). */
function mirrored(method: string, params: Readonly<Record<string, unknown>>): Record<string, string> {
  const parameter = NAMING_PARAMETERS.get(method);
  const name = parameter === undefined ? undefined : params[parameter];
  return {
    'mcp-protocol-version': LATEST_PER_REQUEST_VERSION,
    'mcp-method': method,
    ...(typeof name === 'string' && { 'mcp-name': encodeHeader(name) }),
  };
}

/**
 * Reads the messages of a reply, in their order. A reply to a POST is JSON or an event stream, as the client's `Accept` and the
 * server choose.
 *
 * @param body - The text of the reply: `response.text` of supertest, `await response.text()` of `fetch`.
 * @throws SyntaxError when the body is neither.
 *
 * @example
 * ```ts
 * const response = await fetch(url, { method: 'POST', body: '…' });
 * const [answer] = parseReply(await response.text());
 * ```
 */
export function parseReply(body: string): JSONRPCMessage[] {
  const text = body.trimStart();
  if (text === '') return [];
  if (text.startsWith('{') || text.startsWith('[')) return [JSON.parse(text) as JSONRPCMessage].flat();
  // The router also sends events without data, so that clients learn their IDs.
  const events = new EventParser().push(body).filter(({ data }) => data !== '');
  return events.map(({ data }) => JSON.parse(data) as JSONRPCMessage);
}
