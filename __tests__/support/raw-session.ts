import { EventStream, type WireMessage } from './event-stream.js';
import { initializeBody, messagesOf, post } from './harness.js';

/** What a session opened by hand may be opened with. */
export interface RawSessionInit {
  readonly version?: string;
  readonly capabilities?: object;
  readonly id?: string | number;
  readonly headers?: Record<string, string>;
}

/** A session that the test speaks for by hand: it sends what no SDK client would, and sees every byte. */
export class RawSession {
  private constructor(
    readonly url: URL,
    readonly id: string,
    readonly version: string,
    readonly headers: Record<string, string>,
  ) {}

  static async open(url: URL, init: RawSessionInit = {}): Promise<RawSession> {
    const { version = '2025-11-25', capabilities = {}, id = 0, headers = {} } = init;
    const body = initializeBody(id, version);
    const response = await post(url, { ...body, params: { ...body.params, capabilities } }, headers);
    await response.text();
    const sessionId = response.headers.get('mcp-session-id');
    if (sessionId === null) throw new Error(`initialize was answered with ${response.status}`);
    const session = new RawSession(url, sessionId, version, { ...headers, 'mcp-session-id': sessionId });
    await session.notify('notifications/initialized');
    return session;
  }

  /** POSTs a body as it is. */
  post(body: unknown, signal?: AbortSignal): Promise<Response> {
    return post(this.url, body, { ...this.headers, 'mcp-protocol-version': this.version }, signal);
  }

  /** Sends a request; the reply may be JSON or SSE. */
  request(id: string | number, method: string, params: object = {}, signal?: AbortSignal): Promise<Response> {
    return this.post({ jsonrpc: '2.0', id, method, params }, signal);
  }

  /** Sends a request and gives its answer, out of whatever kind of reply. */
  async call(id: string | number, method: string, params: object = {}): Promise<WireMessage> {
    const answer = await answerOf(await this.request(id, method, params));
    if (answer === undefined) throw new Error(`${method} got no answer`);
    return answer;
  }

  async notify(method: string, params: object = {}): Promise<void> {
    await this.#accepted({ jsonrpc: '2.0', method, params });
  }

  cancel(requestId: string | number): Promise<void> {
    return this.notify('notifications/cancelled', { requestId });
  }

  /** Answers a request of the server's. */
  async answer(id: string | number, result: object): Promise<void> {
    await this.#accepted({ jsonrpc: '2.0', id, result });
  }

  get(lastEventId?: string, signal?: AbortSignal): Promise<Response> {
    return fetch(this.url, {
      headers: {
        ...this.headers,
        'mcp-protocol-version': this.version,
        accept: 'text/event-stream',
        ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
      },
      ...(signal && { signal }),
    });
  }

  /** Opens the standalone stream, or resumes the stream of an event. */
  async stream(lastEventId?: string, signal?: AbortSignal): Promise<EventStream> {
    return new EventStream(await this.get(lastEventId, signal));
  }

  /** The answer to a second GET while the client of the open stream answers its ping. */
  async getBeside(stream: EventStream): Promise<Response> {
    const second = this.get();
    const ping = await stream.message();
    if (ping.method !== 'ping') throw new Error(`a ping was to come, and ${ping.method} came`);
    await this.answer(ping.id, {});
    return second;
  }

  terminate(): Promise<Response> {
    return fetch(this.url, { method: 'DELETE', headers: this.headers });
  }

  async #accepted(message: object): Promise<void> {
    const response = await this.post(message);
    const text = await response.text();
    if (response.status !== 202) throw new Error(`a message was answered with ${response.status} ${text}`);
  }
}

/** The last message of a reply, JSON or SSE, once it has ended; undefined when it had none. */
export async function answerOf(response: Response): Promise<WireMessage | undefined> {
  const text = await response.text();
  const json = response.headers.get('content-type') === 'application/json';
  return (json ? JSON.parse(text) : messagesOf(text).at(-1)) as WireMessage | undefined;
}
