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

/** The endpoint limits the rate of requests, so the answers say nothing of it any more. */
export class RateLimited extends Error {}

/** One HTTP request. */
export interface Call {
  readonly method: string;
  /** Those without a value are not sent. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Its parts are sent one after another. */
  readonly body?: readonly Buffer[];
  /** Of the JSON-RPC request in the body. */
  readonly id?: RequestId | undefined;
  /** Instead of the endpoint. */
  readonly url?: URL;
  /** Leaves out the headers that every request has, as a browser does with a preflight. */
  readonly isBare?: boolean;
}

/** In ms, between two parts of a body: long enough for a proxy to pass the first one on. */
const BETWEEN_PARTS = 50;

/**
 * Sends requests, each on a connection of its own: an answer never depends on an earlier one. `fetch` would forbid the headers
 * Host and Origin, and would read a stream that must stay unread.
 */
export class HttpClient {
  readonly #url: URL;
  readonly #headers: Call['headers'];
  readonly #timeoutMs: number;
  readonly #replies: Reply[] = [];
  #remoteAddress: string | undefined;

  /** @param headers - Of every request to the endpoint. */
  constructor(url: URL, headers: Call['headers'], timeoutMs: number) {
    this.#url = url;
    this.#headers = headers;
    this.#timeoutMs = timeoutMs;
  }

  /** Every reply so far. */
  get replies(): readonly Reply[] {
    return this.#replies;
  }

  /** The address of the last connection. */
  get remoteAddress(): string | undefined {
    return this.#remoteAddress;
  }

  /**
   * Resolves to the head of the reply.
   *
   * @throws Unreachable, NoAnswer or RateLimited.
   */
  async send({ method, headers, body, id, url = this.#url, isBare = false }: Call): Promise<Reply> {
    const all = Object.entries({ ...(!isBare && this.#headers), ...headers });
    const given = all.filter((header): header is [string, string] => header[1] !== undefined);
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method,
      headers: Object.fromEntries(given),
      agent: false,
      // Node would take the name for TLS from the header Host.
      ...(url.protocol === 'https:' && { servername: serverName(url) }),
    });
    const [response] = await Promise.all([this.#answerOf(request, method), write(request, body ?? [])]);
    const reply = new Reply({ method, id }, response);
    this.#replies.push(reply);
    if (reply.status === 429) throw new RateLimited('the endpoint limits the rate of requests: it answered 429');
    return reply;
  }

  /** Hangs up every connection. */
  close(): void {
    for (const reply of this.#replies) reply.close();
  }

  #answerOf(request: ClientRequest, method: string): Promise<IncomingMessage> {
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
        socket.once(this.#url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
          isConnected = true;
          this.#remoteAddress = socket.remoteAddress;
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

/** For TLS, which has names only: RFC 6066, 3. */
const serverName = ({ hostname }: URL): string => (isIP(hostname.replace(/[[\]]/g, '')) === 0 ? hostname : '');

/** Where a name has several addresses, Node's error holds one for each of them, and has no message. */
function reasonOf(error: Error): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}

async function write(request: ClientRequest, parts: readonly Buffer[]): Promise<void> {
  for (const [index, part] of parts.entries()) {
    if (index > 0) await sleep(BETWEEN_PARTS);
    request.write(part);
  }
  request.end();
}
