import { EventStream, type WireMessage } from './event-stream.js';
import { messagesOf, post } from './harness.js';

type Fields = Readonly<Record<string, unknown>>;

export const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol/';

/** What a client of MCP 2026-07-28 says of itself with every request. */
export const envelope = (capabilities: Fields = {}): Fields => ({
  [`${META}protocolVersion`]: VERSION,
  [`${META}clientInfo`]: { name: 'raw', version: '1.0.0' },
  [`${META}clientCapabilities`]: capabilities,
});

/** A request as a client of MCP 2026-07-28 sends it. */
export interface PerRequest {
  readonly id?: string | number;
  readonly params?: Fields;
  readonly capabilities?: Fields;
  /** Beside the envelope, or instead of its fields. */
  readonly meta?: Fields;
  /** Instead of the headers that mirror the body; undefined leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
}

/** The answer to one. */
export interface PerRequestReply {
  readonly status: number;
  readonly headers: Headers;
  readonly notifications: Fields[];
  readonly result?: Fields;
  readonly error?: Fields;
}

export const bodyOf = (method: string, { id = 1, params, capabilities, meta }: PerRequest = {}) => ({
  jsonrpc: '2.0',
  id,
  method,
  params: { ...params, _meta: { ...envelope(capabilities), ...meta } },
});

export function headersOf(method: string, { params, headers }: PerRequest = {}): Record<string, string> {
  const name = params?.name ?? params?.uri;
  const all = {
    'mcp-protocol-version': VERSION,
    'mcp-method': method,
    'mcp-name': typeof name === 'string' ? name : undefined,
    ...headers,
  };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** Sends a request, and reads the whole reply. */
export async function send(url: URL, method: string, request: PerRequest = {}): Promise<PerRequestReply> {
  const response = await post(url, bodyOf(method, request), headersOf(method, request), request.signal);
  const text = await response.text();
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const messages = (isStream ? messagesOf(text) : [JSON.parse(text)]) as Fields[];
  const { status, headers } = response;
  return { status, headers, notifications: messages.slice(0, -1), ...messages.at(-1) };
}

/** An open subscription. */
export interface Subscribed {
  readonly stream: EventStream;
  readonly acknowledgement: WireMessage;
}

/** Opens a subscription, and reads its acknowledgement. */
export async function subscribe(url: URL, notifications: Fields, request: PerRequest = {}): Promise<Subscribed> {
  const method = 'subscriptions/listen';
  const whole = { ...request, params: { notifications } };
  const response = await post(url, bodyOf(method, whole), headersOf(method, whole), request.signal);
  const stream = new EventStream(response);
  const acknowledgement = await stream.message();
  if (acknowledgement.method !== 'notifications/subscriptions/acknowledged')
    throw new Error(`not acknowledged: ${JSON.stringify(acknowledgement)}`);
  return { stream, acknowledgement };
}

/** Calls a tool. */
export function call(url: URL, name: string, args: Fields = {}, { params, ...rest }: PerRequest = {}) {
  return send(url, 'tools/call', { ...rest, params: { name, arguments: args, ...params } });
}
