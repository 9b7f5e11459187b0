import type { RequestId } from '../protocol/messages.js';
import { LATEST_PROTOCOL_VERSION } from '../protocol/session-era.js';
import { isPrivateAddress } from './addresses.js';
import { HttpClient, NoAnswer, type Call } from './http-client.js';
import type { Message } from './body.js';
import { type Reply, isSuccess } from './reply.js';
import {
  CAPABILITIES_FIELD,
  CLIENT_INFO_FIELD,
  PER_REQUEST_VERSION,
  POST_HEADERS,
  VERSION,
  VERSION_FIELD,
} from './spec.js';

export interface ProbeOptions {
  readonly url: URL;
  /** Sent with each request, but for CORS preflights. */
  readonly headers: Readonly<Record<string, string>>;
  /** The origin of a web page that should reach the endpoint. */
  readonly origin?: string;
  /** A tool to call, without arguments. */
  readonly tool?: string;
  /** The time for each answer, in ms. */
  readonly timeoutMs: number;
  /** The version of the doctor itself. */
  readonly version: string;
}

/** A session that the doctor opened. */
export interface Session {
  /** Undefined when the endpoint keeps no sessions. */
  readonly id: string | undefined;
  readonly version: string;
  /** The reply to `notifications/initialized`; undefined when there was none. */
  readonly initialized: Reply | undefined;
}

/** The outcome of an `initialize`. */
export interface Opened {
  readonly opening: Reply;
  readonly session?: Session;
}

/** Facts about the endpoint that are found before the first check. */
export interface Facts extends Partial<Opened> {
  /** The result of `server/discover`. */
  readonly discovered?: Message;
  /** Whether the endpoint is on this machine or in a private network. */
  readonly isLocal: boolean;
}

/** A request to the endpoint. A field that is missing has the value that a client would send. */
export interface Ask {
  readonly method?: string;
  readonly id?: RequestId;
  readonly params?: object;
  /** Beside the usual fields of `params._meta`. */
  readonly meta?: object;
  /** Beside the usual headers, or instead of them. Undefined leaves one out. */
  readonly headers?: Call['headers'];
  /** Instead of the message. */
  readonly body?: readonly Buffer[];
  /** The caller reads the reply, and closes it. */
  readonly isUnread?: boolean;
}

/** In ms. How long a stream may stay open after its answer. */
const END_GRACE = 1_000;

/** The endpoint under examination: facts about it, and the requests that a client may send. */
export class Probe {
  readonly options: ProbeOptions;
  readonly client: HttpClient;
  /** The sessions that have not ended, and the headers with which each was opened. */
  readonly #left = new Map<string, { readonly version: string; readonly headers: Call['headers'] }>();
  #facts: Facts = { isLocal: false };
  #lastId = 0;

  constructor(options: ProbeOptions) {
    this.options = options;
    const agent = { 'user-agent': `express-mcp-router-doctor/${options.version}` };
    this.client = new HttpClient(options.url, { ...agent, ...options.headers }, options.timeoutMs);
  }

  get facts(): Facts {
    return this.#facts;
  }

  /**
   * Finds out which eras the endpoint serves.
   *
   * @throws Unreachable when there is no connection.
   */
  async detect(): Promise<void> {
    const discovered = (await unlessSilent(this.perRequest()))?.result;
    const isServed = Array.isArray(discovered?.supportedVersions);
    const { remoteAddress = '' } = this.client;
    this.#facts = { isLocal: isPrivateAddress(remoteAddress), ...(isServed && { discovered }) };
    await this.renew();
  }

  /** Opens the session of the checks that follow, as the last one may have suffered. */
  async renew(): Promise<void> {
    const { isLocal, discovered, session } = this.#facts;
    if (session !== undefined) await this.#leave(session);
    const opened = await unlessSilent(this.#open());
    this.#facts = { isLocal, ...(discovered && { discovered }), ...opened };
  }

  /** Opens a session beside that of the checks, and ends it after its use: an endpoint may allow few at a time. */
  async beside<T>(
    use: (opened: Opened) => T | Promise<T>,
    headers: Call['headers'] = {},
    protocolVersion = LATEST_PROTOCOL_VERSION,
  ): Promise<T> {
    const opened = await this.#open(headers, protocolVersion);
    try {
      return await use(opened);
    } finally {
      if (opened.session !== undefined) await this.#leave(opened.session, headers);
    }
  }

  /** Sends a request in a session: `ping`, unless it names another. */
  inSession(ask: Ask = {}, session = this.#facts.session): Promise<Reply> {
    return this.#post({ method: 'ping', ...ask, headers: { ...sessionHeaders(session), ...ask.headers } });
  }

  /** Sends a request of MCP 2026-07-28: `server/discover`, unless it names another. */
  perRequest(ask: Ask = {}, version = PER_REQUEST_VERSION): Promise<Reply> {
    const { method = 'server/discover' } = ask;
    const meta = {
      [VERSION_FIELD]: version,
      [CLIENT_INFO_FIELD]: this.#clientInfo(),
      [CAPABILITIES_FIELD]: {},
      ...ask.meta,
    };
    const headers = { 'mcp-protocol-version': version, 'mcp-method': method, ...ask.headers };
    return this.#post({ ...ask, method, meta, headers });
  }

  /** Sends a request of an era that the endpoint serves, without effect: `ping`, or `server/discover`. */
  ask(ask: Ask = {}): Promise<Reply> {
    return this.#facts.session === undefined ? this.perRequest(ask) : this.inSession(ask);
  }

  /** Opens a stream by GET. The caller closes it. */
  openStream(headers: Call['headers'] = {}): Promise<Reply> {
    const usual = { accept: 'text/event-stream', ...sessionHeaders(this.#facts.session) };
    return this.#send({ method: 'GET', headers: { ...usual, ...headers } });
  }

  /** Ends a session by DELETE. */
  async end(session: Partial<Session>, headers: Call['headers'] = {}): Promise<Reply> {
    const reply = await this.#send({ method: 'DELETE', headers: { ...sessionHeaders(session), ...headers } });
    await reply.read(this.options.timeoutMs);
    if (session.id !== undefined && (isSuccess(reply) || reply.status === 404)) this.#left.delete(session.id);
    return reply;
  }

  /**
   * Hangs up, and ends every session that was opened.
   *
   * @returns How many sessions the endpoint did not end.
   */
  async cleanUp(): Promise<number> {
    this.client.close();
    for (const [id, { version, headers }] of [...this.#left])
      await this.end({ id, version }, headers).catch(() => undefined);
    this.client.close();
    return this.#left.size;
  }

  async #open(headers: Call['headers'] = {}, protocolVersion = LATEST_PROTOCOL_VERSION): Promise<Opened> {
    const params = { protocolVersion, capabilities: {}, clientInfo: this.#clientInfo() };
    const opening = await this.#post({ method: 'initialize', params, headers });
    const id = textOf(opening.headers['mcp-session-id']);
    const version = opening.result?.protocolVersion;
    if (opening.status !== 200 || typeof version !== 'string' || !VERSION.test(version)) return { opening };
    if (id !== undefined) this.#left.set(id, { version, headers });
    const all = { ...POST_HEADERS, ...sessionHeaders({ id, version }), ...headers };
    const initialized = await unlessSilent(this.#notifyInitialized(all));
    return { opening, session: { id, version, initialized } };
  }

  async #notifyInitialized(headers: Call['headers']): Promise<Reply> {
    const body = encode({ jsonrpc: '2.0', method: 'notifications/initialized' });
    const reply = await this.#send({ method: 'POST', headers, body });
    await reply.read(this.options.timeoutMs);
    return reply;
  }

  /** Ends a session that has served its purpose. One that stays is counted by `cleanUp`. */
  async #leave(session: Session, headers?: Call['headers']): Promise<void> {
    if (session.id !== undefined && this.#left.has(session.id)) await unlessSilent(this.end(session, headers));
  }

  /** Sends a request. A reply may open a session whatever was asked for: some servers do so even with a refusal. */
  async #send(call: Call): Promise<Reply> {
    const reply = await this.client.send(call);
    const id = textOf(reply.headers['mcp-session-id']);
    const isNew = id !== call.headers['mcp-session-id'] && !this.#left.has(id ?? '');
    const { version = LATEST_PROTOCOL_VERSION } = this.#facts.session ?? {};
    if (id !== undefined && isNew) this.#left.set(id, { version, headers: {} });
    return reply;
  }

  /** Sends a request, and reads the reply to its end, or to its answer if it stays open. */
  async #post({ method, id = ++this.#lastId, params, meta, headers, body, isUnread = false }: Ask): Promise<Reply> {
    const all = { ...params, ...(meta && { _meta: meta }) };
    const message = { jsonrpc: '2.0', id, method, ...(Object.keys(all).length > 0 && { params: all }) };
    const reply = await this.#send({
      method: 'POST',
      headers: { ...POST_HEADERS, ...headers },
      body: body ?? encode(message),
      id,
    });
    if (isUnread) return reply;
    await reply.read(this.options.timeoutMs, () => reply.answer !== undefined);
    if (!reply.hasEnded && reply.answer !== undefined) await reply.read(END_GRACE);
    reply.close();
    return reply;
  }

  #clientInfo() {
    return { name: 'express-mcp-router-doctor', version: this.options.version };
  }
}

const encode = (message: unknown): readonly Buffer[] => [Buffer.from(JSON.stringify(message))];

const textOf = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : undefined;

/** The headers that each request of a session has. */
function sessionHeaders(session: Partial<Session> | undefined): Call['headers'] {
  return { 'mcp-session-id': session?.id, 'mcp-protocol-version': session?.version };
}

/** Undefined when there was no answer: the endpoint does not serve the era. */
async function unlessSilent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof NoAnswer) return undefined;
    throw error;
  }
}
