import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BlockList, isIPv4 } from 'node:net';
import { types } from 'node:util';
import { Refusal } from '../errors.js';
import type { HttpRequest, PrincipalFunction, ResolvedOptions } from '../options/options.js';
import { principalOf } from '../sessions/principal-name.js';
import { onRejection } from '../runtime/user-code.js';

/** The length of SHA-256 output. A shorter key weakens the HMAC (RFC 2104, 3). */
const MIN_KEY_BYTES = 32;

/**
 * Makes a function that finds the principal of a request, by the app's function or by `req.auth`.
 *
 * @param warn - Called once when `req.auth` does not name a user.
 * @returns A function that returns the principal, never an empty one. It throws the Refusal `unauthorized` when
 * `requirePrincipal` is set and there is none. It throws an `Error` when the app's function returns another type, and the error
 * of that function when it throws.
 */
export function createIdentify(
  options: Pick<ResolvedOptions, 'principal' | 'requirePrincipal'>,
  warn: (message: string) => void,
): (req: HttpRequest) => string | undefined {
  const principal = options.principal === undefined ? authPrincipal(warn) : checked(options.principal);
  return (req) => {
    const name = principal(req);
    if (name !== undefined && name !== '') return name;
    if (options.requirePrincipal) throw new Refusal('unauthorized');
    return undefined;
  };
}

/** Checks the result's type, as an app in JavaScript may return any. A promise as a name would give all callers one principal. */
function checked(principal: PrincipalFunction): PrincipalFunction {
  return (req) => {
    const name: unknown = principal(req);
    if (name === undefined || typeof name === 'string') return name;
    const wanted = 'mcpRouter: option principal must return a string or undefined';
    onRejection(name, () => undefined);
    if (!types.isPromise(name)) {
      throw new Error(`${wanted}; it returned ${name === null ? 'null' : `a value of type ${typeof name}`}`);
    }
    throw new Error(`${wanted}; it returned a promise: do in a middleware before the router what has to be awaited`);
  };
}

/** The default: `req.auth`, which the SDK's bearer middleware sets, or another middleware. */
function authPrincipal(warn: (message: string) => void): PrincipalFunction {
  let warned = false;
  const warnOnce = (message: string) => {
    if (!warned) warn(message);
    warned = true;
  };

  return ({ auth }) => {
    if (!auth) return undefined;
    const name = principalOf(auth);
    if (name === undefined) {
      warnOnce('req.auth has neither extra.sub nor clientId: requests have no principal; set option principal');
    } else if (typeof auth.extra?.sub !== 'string' || auth.extra.sub === '') {
      warnOnce(
        'req.auth has no extra.sub: sessions belong to its clientId, and users of one client are not told apart; ' +
          'let the token verifier set extra.iss and extra.sub, or set option principal',
      );
    }
    return name;
  };
}

/** Options of {@link trustedProxyPrincipal}. */
export interface TrustedProxyOptions {
  /** The header that the proxy sets, in any case. Default: `x-preferred-username`. */
  header?: string | undefined;
  /** The proxies that may set it: IP addresses, CIDR ranges, and `loopback` (127.0.0.0/8 and ::1). At least one. */
  trustedProxies: readonly string[];
}

/**
 * The principal from a header that an authenticating reverse proxy sets (oauth2-proxy, Authelia, an ingress).
 *
 * The header counts only when the address of the socket is that of a trusted proxy. `X-Forwarded-For` is ignored. The proxy
 * must overwrite a header of this name that a client sends. A request with two such headers is refused. A Unix domain socket
 * has no address, so every request over it is refused.
 *
 * @returns A function for the option `principal`. The router answers 401 when the header is missing, empty or sent twice, or
 * when the address is not that of a trusted proxy.
 * @throws TypeError when `header` is not a header name, or an entry of `trustedProxies` is not an address or a range.
 *
 * @example
 * ```ts
 * mcpRouter({
 *   serverFactory,
 *   principal: trustedProxyPrincipal({ trustedProxies: ['loopback', '10.0.0.0/8', '2001:db8::7'] }),
 * });
 * ```
 */
export function trustedProxyPrincipal(options: TrustedProxyOptions): (req: IncomingMessage) => string | undefined {
  const header = headerName(options.header ?? 'x-preferred-username');
  const proxies = proxyList(options.trustedProxies);
  return (req) => {
    if (!isListed(proxies, req.socket.remoteAddress)) throw new Refusal('unauthorized');
    // If the header came twice, the client may have sent one of them.
    const values = req.headersDistinct[header];
    const name = values?.length === 1 ? values[0] : undefined;
    if (name === undefined || name === '') throw new Refusal('unauthorized');
    return name;
  };
}

function headerName(name: string): string {
  // RFC 9110, 5.6.2: a token.
  if (typeof name === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(name)) return name.toLowerCase();
  throw new TypeError(`trustedProxyPrincipal: header must be the name of a header; got ${JSON.stringify(name)}`);
}

function proxyList(entries: readonly string[]): BlockList {
  if (!Array.isArray(entries) || entries.length === 0) {
    throw new TypeError('trustedProxyPrincipal: trustedProxies must be an array of at least one address or range');
  }
  const list = new BlockList();
  for (const entry of entries as readonly string[]) {
    if (entry === 'loopback') {
      list.addSubnet('127.0.0.0', 8, 'ipv4');
      list.addAddress('::1', 'ipv6');
    } else {
      addEntry(list, entry);
    }
  }
  return list;
}

function addEntry(list: BlockList, entry: string): void {
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  try {
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  } catch (cause) {
    throw new TypeError(
      `trustedProxyPrincipal: trustedProxies must hold IP addresses, CIDR ranges or 'loopback'; got ${JSON.stringify(entry)}`,
      { cause },
    );
  }
}

function isListed(list: BlockList, address: string | undefined): boolean {
  if (address === undefined) return false;
  // BlockList treats ::ffff:a.b.c.d of a dual-stack socket as a.b.c.d. It ignores the zone of fe80::1%eth0.
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** Options of {@link bearerPrincipal}. */
export interface BearerOptions {
  /**
   * The secret of the HMAC, at least 32 bytes (a string counts as UTF-8). Use the same secret at every start: with another one,
   * clients get other principals and lose their sessions.
   */
  key: string | Uint8Array;
}

/**
 * The principal from an opaque bearer token: its HMAC-SHA256 with your key. So neither logs nor `sessions.list()` contain a token
 * that could be replayed. Use it only when the token has no claims.
 *
 * The token is not verified. A middleware before the router must do that. A client with a new token is a new principal, and
 * cannot use its earlier sessions. If tokens are refreshed, use a claim that stays the same (`sub`).
 *
 * @returns A function for the option `principal`. It returns undefined when there is no `Authorization: Bearer`.
 * @throws TypeError when the key is neither a string nor bytes, or has fewer than 32 bytes.
 *
 * @example
 * ```ts
 * mcpRouter({ serverFactory, requirePrincipal: true, principal: bearerPrincipal({ key: readFileSync('principal.key') }) });
 * ```
 */
export function bearerPrincipal(options: BearerOptions): (req: IncomingMessage) => string | undefined {
  const key = secretKey(options.key);
  return (req) => {
    // RFC 6750, 2.1; the scheme in any case: RFC 9110, 11.1.
    const [, token] = /^bearer +(\S+)$/i.exec(req.headers.authorization ?? '') ?? [];
    return token === undefined ? undefined : createHmac('sha256', key).update(token).digest('base64url');
  };
}

function secretKey(key: unknown): KeyObject {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key;
  if (bytes instanceof Uint8Array && bytes.byteLength >= MIN_KEY_BYTES) return createSecretKey(bytes);
  throw new TypeError(`bearerPrincipal: key must be a string or a Buffer of at least ${MIN_KEY_BYTES} bytes`);
}
