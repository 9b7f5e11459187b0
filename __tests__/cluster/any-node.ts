import { EventStream, type WireMessage } from '../support/event-stream.js';
import { post } from '../support/harness.js';
import { answerOf, RawSession, type RawSessionInit } from '../support/raw-session.js';
import type { Told } from './clients.js';

/** A session that a test speaks for by hand, at whichever node it likes. */
export class AnyNodeSession {
  readonly id: string;
  readonly headers: Record<string, string>;
  #asked = 0;

  static async open(url: URL, init: RawSessionInit = {}): Promise<AnyNodeSession> {
    return new AnyNodeSession(await RawSession.open(url, init));
  }

  private constructor({ id, version, headers }: RawSession) {
    this.id = id;
    this.headers = { ...headers, 'mcp-protocol-version': version };
  }

  /** @param headers - Put in the place of the session's own. */
  post(url: URL, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return post(url, body, { ...this.headers, ...headers });
  }

  get(url: URL, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
    const own = { ...this.headers, accept: 'text/event-stream', ...headers };
    return fetch(url, { headers: own, ...(signal && { signal }) });
  }

  /** The answer to a second GET while the client of the open stream answers its ping. */
  async getBeside(url: URL, stream: EventStream): Promise<Response> {
    const second = this.get(url);
    const { id, method } = await stream.message();
    if (method !== 'ping') throw new Error(`a ping was to come, and ${method} came`);
    await this.post(url, { jsonrpc: '2.0', id, result: {} });
    return second;
  }

  delete(url: URL, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(url, { method: 'DELETE', headers: { ...this.headers, ...headers } });
  }

  /** Calls a tool; the reply may be anything. */
  request(url: URL, name: string, args: object = {}): Promise<Response> {
    return this.post(url, this.body(name, args));
  }

  body(name: string, args: object = {}): object {
    const id = (this.#asked += 1);
    return {
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name, arguments: args, _meta: { progressToken: id } },
    };
  }

  async stream(url: URL, name: string, args: object = {}): Promise<EventStream> {
    return new EventStream(await this.request(url, name, args));
  }

  /** What a tool said; rejects when it was not done. */
  async call(url: URL, name: string, args: object = {}): Promise<Told> {
    const response = await this.request(url, name, args);
    if (response.status !== 200) throw new Error(`${name}: ${response.status} ${await response.text()}`);
    return toldBy(await answerOf(response));
  }

  /** What each method is answered at a node. */
  async statuses(url: URL, headers: Record<string, string> = {}): Promise<number[]> {
    const responses = [
      await this.post(url, this.body('add'), headers),
      await this.get(url, headers),
      await this.delete(url, headers),
    ];
    for (const { body } of responses) await body?.cancel();
    return responses.map(({ status }) => status);
  }
}

/** What a tool said in its answer. */
export function toldBy(message: WireMessage | undefined): Told {
  const { content, isError } = (message?.result ?? {}) as { content?: [{ text: string }]; isError?: boolean };
  if (content === undefined || isError === true) throw new Error(`a tool was not done: ${JSON.stringify(message)}`);
  return JSON.parse(content[0].text) as Told;
}
