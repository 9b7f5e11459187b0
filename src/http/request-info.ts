import type { IncomingHttpHeaders } from 'node:http';
import type { McpRequest } from './mcp-request.js';

/** The parts of a request that servers learn of: its URL and its headers. */
type RequestFacts = Pick<McpRequest, 'method' | 'headers' | 'originalUrl' | 'host' | 'protocol'>;

/** The client chooses the Host. If it is not valid, at least the path is right. */
function urlOf({ host, originalUrl, protocol }: RequestFacts): URL {
  const base = `${protocol}://${host ?? 'localhost'}`;
  return new URL(originalUrl, URL.canParse(base) ? base : `${protocol}://localhost`);
}

/** An own property, as `{ ...requestInfo }` and JSON copy no other. One descriptor for all keeps V8's hidden class the same. */
const URL_PROPERTY: PropertyDescriptor & ThisType<RequestInfo> = {
  enumerable: true,
  configurable: true,
  get() {
    return this.readUrl();
  },
};

/** The `RequestInfo` of the SDK's version 1. Few handlers read the URL, so it is parsed on the first read. */
export class RequestInfo {
  declare readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly #told: RequestFacts;
  #url: URL | undefined;

  constructor(told: RequestFacts) {
    this.headers = told.headers;
    this.#told = told;
    Object.defineProperty(this, 'url', URL_PROPERTY);
  }

  readUrl(): URL {
    return (this.#url ??= urlOf(this.#told));
  }
}

/**
 * The web's `Request`, which servers of the SDK's version 2 hand to their handlers (`ctx.http.req`). Building one takes longer
 * than a tool call, and few handlers read it, so it is built on the first read. It has no body: the router has read that.
 */
export function lazyRequest(told: RequestFacts): Request {
  return new Proxy(Object.create(Request.prototype) as Request, new LazyRequest(told));
}

class LazyRequest implements ProxyHandler<Request> {
  readonly #told: RequestFacts;
  #request: Request | undefined;

  constructor(told: RequestFacts) {
    this.#told = told;
  }

  get(_target: Request, key: string | symbol): unknown {
    this.#request ??= build(this.#told);
    const value: unknown = Reflect.get(this.#request, key);
    // The methods read private fields, which the proxy does not have.
    return typeof value === 'function' && key !== 'constructor' ? value.bind(this.#request) : value;
  }
}

function build(told: RequestFacts): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(told.headers)) {
    // `Headers` does not take the pseudo-headers of HTTP/2.
    if (name.startsWith(':')) continue;
    for (const each of [value].flat()) if (each !== undefined) headers.append(name, each);
  }
  return new Request(urlOf(told), { method: told.method, headers });
}
