import type { IncomingHttpHeaders } from 'node:http';
import type { Request as ExpressRequest } from 'express';
import { hostOf } from './guard.js';

/** What is told of a request: all that its URL and its headers say. */
interface Told {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly originalUrl: string;
  readonly host: string | undefined;
  /** Express' own word: `https` on a TLS socket, and where a proxy that the app trusts says so. */
  readonly protocol: string | undefined;
}

export function toldOf(req: ExpressRequest): Told {
  const { method, headers, originalUrl, protocol } = req;
  return { method, headers, originalUrl, host: hostOf(req), protocol };
}

/** The Host is the client's word; without a valid one, the path at least is right. */
function urlOf({ host, originalUrl, protocol }: Told): URL {
  const scheme = protocol ?? 'http';
  const base = `${scheme}://${host ?? 'localhost'}`;
  return new URL(originalUrl, URL.canParse(base) ? base : `${scheme}://localhost`);
}

/** An own property, as copies (`{ ...requestInfo }`) and JSON hold nothing else; one for all, as objects then stay alike. */
const URL_PROPERTY: PropertyDescriptor & ThisType<RequestInfo> = {
  enumerable: true,
  configurable: true,
  get() {
    return this.readUrl();
  },
};

/** The `RequestInfo` of the SDK's version 1. Few handlers read the URL, so that it is parsed when it is first read. */
export class RequestInfo {
  declare readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly #told: Told;
  #url: URL | undefined;

  constructor(told: Told) {
    this.headers = told.headers;
    this.#told = told;
    Object.defineProperty(this, 'url', URL_PROPERTY);
  }

  readUrl(): URL {
    return (this.#url ??= urlOf(this.#told));
  }
}

/**
 * The web's `Request`, which servers of the SDK's version 2 hand to their handlers (`ctx.http.req`). To build one takes more time than a
 * call of a tool, and few handlers read it, so that it is built when something of it is first read. It has no body: that was
 * read and parsed already.
 */
export function lazyRequest(told: Told): Request {
  return new Proxy(Object.create(Request.prototype) as Request, new LazyRequest(told));
}

class LazyRequest implements ProxyHandler<Request> {
  readonly #told: Told;
  #request: Request | undefined;

  constructor(told: Told) {
    this.#told = told;
  }

  get(_target: Request, key: string | symbol): unknown {
    this.#request ??= build(this.#told);
    const value: unknown = Reflect.get(this.#request, key);
    // Its methods read private fields, which the proxy has not.
    return typeof value === 'function' && key !== 'constructor' ? value.bind(this.#request) : value;
  }
}

function build(told: Told): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(told.headers)) {
    // HTTP/2 has pseudo-headers, which are none.
    if (name.startsWith(':')) continue;
    for (const each of [value].flat()) if (each !== undefined) headers.append(name, each);
  }
  return new Request(urlOf(told), { method: told.method, headers });
}
