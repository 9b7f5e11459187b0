import type { IncomingHttpHeaders } from 'node:http';
import type { McpRequest } from './mcp-request.js';

/** The parts of a request that servers can read: its method, its URL and its headers. */
export type RequestFacts = Pick<McpRequest, 'method' | 'headers' | 'originalUrl' | 'host' | 'protocol'>;

/** Copies the facts. A handler may keep them, and the request would keep its message and its socket in memory. */
export function requestFactsOf({ method, headers, originalUrl, host, protocol }: McpRequest): RequestFacts {
  return { method, headers, originalUrl, host, protocol };
}

/** The client sends the Host. If it is not valid, `localhost` replaces it, and the path is still right. */
function urlOf({ host, originalUrl, protocol }: RequestFacts): URL {
  const base = `${protocol}://${host ?? 'localhost'}`;
  return new URL(originalUrl, URL.canParse(base) ? base : `${protocol}://localhost`);
}

/**
 * An own property, as `{ ...requestInfo }` and JSON copy only own properties. All objects share the descriptor, so that V8 gives
 * them the same hidden class.
 */
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
  readonly #facts: RequestFacts;
  #url: URL | undefined;

  constructor(facts: RequestFacts) {
    this.headers = facts.headers;
    this.#facts = facts;
    Object.defineProperty(this, 'url', URL_PROPERTY);
  }

  readUrl(): URL {
    return (this.#url ??= urlOf(this.#facts));
  }
}

/**
 * The web's `Request`, which servers of the SDK's version 2 hand to their handlers (`ctx.http.req`). Building one takes longer
 * than a tool call, and few handlers read it, so it is built on the first read. It has no body: the router has read that.
 */
export function lazyRequest(facts: RequestFacts): Request {
  return new Proxy(Object.create(REQUEST_PROTOTYPE) as Request, new LazyRequest(facts));
}

/** `Request.prototype`, read only when a handler reads a property. The first read makes Node load undici, which takes 20 ms. */
const REQUEST_PROTOTYPE: object = new Proxy(
  {},
  {
    get: (_target, key, receiver): unknown => Reflect.get(Request.prototype, key, receiver),
    has: (_target, key) => Reflect.has(Request.prototype, key),
    getPrototypeOf: () => Request.prototype,
  },
);

class LazyRequest implements ProxyHandler<Request> {
  readonly #facts: RequestFacts;
  #request: Request | undefined;

  constructor(facts: RequestFacts) {
    this.#facts = facts;
  }

  get(_target: Request, key: string | symbol): unknown {
    this.#request ??= build(this.#facts);
    const value: unknown = Reflect.get(this.#request, key);
    // The methods read private fields, which the proxy does not have.
    return typeof value === 'function' && key !== 'constructor' ? value.bind(this.#request) : value;
  }
}

function build(facts: RequestFacts): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(facts.headers)) {
    // `Headers` refuses the pseudo-headers of HTTP/2.
    if (name.startsWith(':')) continue;
    for (const each of [value].flat()) if (each !== undefined) headers.append(name, each);
  }
  return new Request(urlOf(facts), { method: facts.method, headers });
}
