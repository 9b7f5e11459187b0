import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestId } from '../protocol/messages.js';
import { Reply } from './reply.js';

/** No connection could be made. */
export class Unreachable extends Error {}

/** There was a connection, but no answer. */
export class NoAnswer extends Error {}

/** The endpoint limits the rate of requests. From now on its replies show no fault of it. */
export class RateLimited extends Error {}

/** The replies take too much memory. */
export class TooLarge extends Error {}

/** One HTTP request. */
export interface Call {
  readonly method: string;
  /** A header without a value is not sent. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Its parts are sent one after another. */
  readonly body?: readonly Buffer[];
  /** The ID of the JSON-RPC request in the body. */
  readonly id?: RequestId | undefined;
  /** Default: the URL of the endpoint. */
  readonly url?: URL;
  /** Whether the headers of every request are left out, as a browser leaves them out of a preflight. */
  readonly isBare?: boolean;
}

/** In ms, between two parts of a body: long enough for a proxy to pass the first one on. */
const BETWEEN_PARTS = 50;

/** In bytes, of all replies together, which are kept for the checks of the whole. */
const MAX_REPLIES = 32 * 1024 * 1024;

/**
 * Sends requests, each on a connection of its own: an answer never depends on an earlier one. `fetch` would forbid the headers
 * Host and Origin, and would read a stream that must stay unread.
 */
export class HttpClient {
  readonly #url: URL;
  readonly #headers: Call['headers'];
  readonly #timeoutMs: number;
  readonly #replies: Reply[] = [];
  #requests = 0;
  #remoteAddress: string | undefined;

  /** @param headers - The headers of every request to the endpoint. */
  constructor(url: URL, headers: Call['headers'], timeoutMs: number) {
    this.#url = url;
    this.#headers = headers;
    this.#timeoutMs = timeoutMs;
  }

  /** How many requests were sent. */
  get requests(): number {
    return this.#requests;
  }

  /** Every reply of the endpoint so far. */
  get replies(): readonly Reply[] {
    return this.#replies;
  }

  /** The address of the last connection to the endpoint. */
  get remoteAddress(): string | undefined {
    return this.#remoteAddress;
  }

  /**
   * Resolves to the head of the reply.
   *
   * @throws Unreachable, NoAnswer, RateLimited or TooLarge.
   */
  async send(call: Call): Promise<Reply> {
    if (this.#replies.reduce((sum, { body }) => sum + body.size, 0) > MAX_REPLIES)
      throw new TooLarge('the replies are longer than 32 MiB together');
    this.#requests += 1;
    const { method, body = [], id, url = this.#url } = call;
    const request = this.#begin(call, url);
    const [response] = await Promise.all([this.#answerOf(request, method, url), write(request, body)]);
    const reply = new Reply({ method, id }, response);
    if (url !== this.#url) return reply;
    this.#replies.push(reply);
    if (reply.status === 429) throw new RateLimited('the endpoint limits the rate of requests: it answered 429');
    return reply;
  }

  /** Hangs up every connection. */
  close(): void {
    for (const reply of this.#replies) reply.close();
  }

  /** @throws NoAnswer when Node cannot send such a request. */
  #begin({ method, headers, body, isBare = false }: Call, url: URL): ClientRequest {
    // As every client sends it: some gateways answer 411 to a body without a length.
    const length = body && { 'content-length': String(Buffer.concat(body).length) };
    const all = Object.entries<string | undefined>({ ...(!isBare && this.#headers), ...headers, ...length });
    const given = all.filter((header): header is [string, string] => header[1] !== undefined);
    try {
      return (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
        method,
        headers: Object.fromEntries(given),
        agent: false,
        // Node would take the name for TLS from the header Host.
        ...(url.protocol === 'https:' && { servername: serverName(url) }),
      });
    } catch (error) {
      throw new NoAnswer(`${method} could not be sent: ${messageOf(error)}`);
    }
  }

  #answerOf(request: ClientRequest, method: string, url: URL): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      let isConnected = false;
      const timer = setTimeout(() => {
        const seconds = `${this.#timeoutMs / 1_000} s`;
        reject(
          isConnected
            ? new NoAnswer(`${method} got no answer within ${seconds}`)
            : new Unreachable(`no connection within ${seconds}`),
        );
        request.destroy();
      }, this.#timeoutMs);
      request.once('socket', (socket) => {
        socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
          isConnected = true;
          if (url === this.#url) this.#remoteAddress = socket.remoteAddress;
        });
      });
      request.once('response', (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      // An endpoint may answer and close before it has read the body: what fails after the answer is no error.
      request.on('error', (error) => {
        clearTimeout(timer);
        const reason = reasonOf(error);
        const closed = `${method} got no answer: the connection was closed (${reason})`;
        reject(isConnected ? new NoAnswer(closed) : new Unreachable(reason));
      });
    });
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** For TLS, which has names only: RFC 6066, 3. */
const serverName = ({ hostname }: URL): string => (isIP(hostname.replace(/[[\]]/g, '')) === 0 ? hostname : '');

/** Where a name has several addresses, Node's error holds one for each of them, and has no message. */
function reasonOf(error: Error): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return messageOf(first);
}

async function write(request: ClientRequest, parts: readonly Buffer[]): Promise<void> {
  for (const [index, part] of parts.entries()) {
    if (index > 0) await sleep(BETWEEN_PARTS);
    request.write(part);
  }
  request.end();
}
