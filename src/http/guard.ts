import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import { Refusal } from '../errors.js';
import type { ResolvedOptions } from '../options/options.js';
import { cached } from '../runtime/checks.js';

/** A host with its port, both in canonical spelling. The port is '' when there is none. */
interface Authority {
  readonly name: string;
  readonly port: string;
}

interface Origin extends Authority {
  readonly scheme: string;
}

/** The default port of each scheme. It is omitted in an Origin and in a Host (RFC 6454, 6.1; RFC 9110, 4.2). */
const DEFAULT_PORTS = new Map([
  ['http', '80'],
  ['https', '443'],
]);

/** Hosts in the cache. Clients use few hosts, but an attacker can send a new one in each request. */
const MAX_CACHED_HOSTS = 100;

/** RFC 9110, 7.2: `uri-host [ ":" port ]`, without the characters of a reg-name that no host name has. */
function parseAuthority(text: string): Authority | undefined {
  const [, name, port] = /^([\w.-]+|\[[\da-f:.]+\])(?::(\d{0,5}))?$/i.exec(text) ?? [];
  return name === undefined ? undefined : { name: name.toLowerCase(), port: port ?? '' };
}

/** RFC 6454, 6.2. The default port of the scheme is omitted. */
function parseOrigin(text: string): Origin | undefined {
  const [, prefix, rest] = /^([a-z][a-z\d+.-]*):\/\/(.+)$/i.exec(text) ?? [];
  const authority = rest === undefined ? undefined : parseAuthority(rest);
  if (prefix === undefined || authority === undefined) return undefined;
  const scheme = prefix.toLowerCase();
  return { scheme, name: authority.name, port: withoutDefault(authority.port, scheme) };
}

function withoutDefault(port: string, scheme: string): string {
  return port === DEFAULT_PORTS.get(scheme) ? '' : port;
}

type HostCarrier = Pick<IncomingMessage, 'httpVersionMajor' | 'headers'>;

/** In HTTP/2, `:authority` replaces Host, and counts if both are sent (RFC 9113, 8.3.1). */
export function hostOf({ httpVersionMajor, headers }: HostCarrier): string | undefined {
  const authority = httpVersionMajor < 2 ? undefined : headers[':authority'];
  return typeof authority === 'string' ? authority : headers.host;
}

function joined({ name, port }: Authority): string {
  return port === '' ? name : `${name}:${port}`;
}

/** The spelling of browsers, so that the app's entries match Origin headers. `null` and invalid text stay unchanged. */
export function canonicalOrigin(text: string): string {
  const origin = parseOrigin(text);
  return origin === undefined ? text : `${origin.scheme}://${joined(origin)}`;
}

function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || (name.startsWith('127.') && isIPv4(name));
}

/**
 * Whether the request arrived on a loopback address, or may have. Node forgets the address of a destroyed socket. So a client
 * could otherwise avoid the check by sending a request and disconnecting at once.
 */
function isLoopback({ socket }: IncomingMessage): boolean {
  const address = socket.localAddress;
  if (address === undefined) return socket.destroyed;
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

/** @throws TypeError when no Host header can equal the entry, for example because it is a URL. */
function hostEntry(entry: string): string {
  const authority = parseAuthority(entry);
  if (authority !== undefined) return joined(authority);
  throw new TypeError(
    'mcpRouter: option allowedHosts must hold host names, with or without port, such as mcp.example.com or ' +
      `[2001:db8::1]:3000; got ${JSON.stringify(entry)}`,
  );
}

/** Whether the Origin has the host and port of Host. Both schemes are accepted, as TLS may end at a proxy. */
function isOwnOrigin(origin: Origin, host: string | undefined): boolean {
  if (!DEFAULT_PORTS.has(origin.scheme) || host === undefined) return false;
  const own = parseAuthority(host);
  return own !== undefined && own.name === origin.name && withoutDefault(own.port, origin.scheme) === origin.port;
}

/** A header for the log: quoted, and cut to 100 characters. */
function shown(header: string): string {
  return JSON.stringify(header.slice(0, 100));
}

function hostHint(host: string | undefined, listed: boolean): string {
  if (host === undefined) return 'refused a request without Host header';
  const name = parseAuthority(host)?.name;
  if (name === undefined) return `refused Host ${shown(host)}: it is not a host name`;
  if (listed) {
    return `refused Host ${shown(host)}: it is not in allowedHosts; if clients should reach the endpoint by it, add ${shown(name)}`;
  }
  return (
    `refused Host ${shown(host)}: on a loopback address (or one unknown, as the client has left) only localhost, 127.x.x.x ` +
    'and [::1] are accepted, against DNS rebinding; ' +
    `if a reverse proxy on this machine forwards it, set allowedHosts: [${shown(name)}]`
  );
}

function exposure(address: string): string {
  return (
    `the server listens beyond loopback, here on ${address}, and option allowedHosts is not set: any Host passes there, ` +
    'so a web page whose name is rebound to that address reaches the endpoint (DNS rebinding), also in a container whose port is ' +
    "published on localhost only; set allowedHosts to the names that clients use, such as ['localhost', 'mcp.example.com']"
  );
}

function originHint(origin: string, host: string | undefined): string {
  const own = host === undefined ? 'none, for want of a Host header' : `Host ${shown(host)}`;
  return (
    `refused Origin ${shown(origin)}: it is neither the endpoint's own (${own}) nor in allowedOrigins; ` +
    'if its pages should reach the endpoint, add it'
  );
}

/**
 * Makes the check of Host. A web page that uses DNS rebinding sends its own name as Host. So on a loopback address, only loopback
 * names and `allowedHosts` pass. On other addresses, only `allowedHosts` pass, or any Host if that option is not set.
 *
 * @param onRefused - Called with a log line on the refused Host and the option that would allow it.
 * @param onExposed - Called once, for the log, when a request arrives on an address where any Host passes.
 * @returns Whether the request passes.
 * @throws TypeError when an entry of `allowedHosts` is not a host, with or without port.
 */
export function createHostCheck(
  allowedHosts: ResolvedOptions['allowedHosts'],
  onRefused: (hint: string) => void,
  onExposed: (warning: string) => void,
): (req: IncomingMessage) => boolean {
  const hosts = allowedHosts && new Set(allowedHosts.map(hostEntry));
  const isListedHost = (host: Authority) => hosts !== undefined && (hosts.has(host.name) || hosts.has(joined(host)));
  const passesOnLoopback = cached(MAX_CACHED_HOSTS, (text) => {
    const host = parseAuthority(text);
    return host !== undefined && (isLoopbackName(host.name) || isListedHost(host));
  });
  const passesElsewhere = cached(MAX_CACHED_HOSTS, (text) => {
    const host = parseAuthority(text);
    return host !== undefined && isListedHost(host);
  });

  let exposed = false;
  const noteExposure = ({ localAddress }: IncomingMessage['socket']): void => {
    // A Unix domain socket has no address, so no DNS name can be rebound to it.
    if (exposed || localAddress === undefined) return;
    exposed = true;
    onExposed(exposure(localAddress));
  };

  return (req) => {
    const loopback = isLoopback(req);
    if (!loopback && hosts === undefined) {
      noteExposure(req.socket);
      return true;
    }
    const host = hostOf(req);
    const passes = loopback ? passesOnLoopback : passesElsewhere;
    if (host !== undefined && passes(host)) return true;
    onRefused(hostHint(host, hosts !== undefined));
    return false;
  };
}

/**
 * Makes the check of Host and Origin, which runs before all other checks (spec 2025-11-25, basic/transports, "Security
 * Warning": servers must validate Origin, against DNS rebinding). An Origin must have the host of the endpoint, or be one of
 * `allowedOrigins`.
 *
 * @param isHostAllowed - See {@link createHostCheck}.
 * @param onRefused - Called with a log line on the refused Origin and the option that would allow it.
 * @returns A function that throws the Refusal `hostNotAllowed` or `originNotAllowed` when it refuses the request.
 */
export function createGuard(
  allowedOrigins: ResolvedOptions['allowedOrigins'],
  isHostAllowed: (req: IncomingMessage) => boolean,
  onRefused: (hint: string) => void,
): (req: IncomingMessage) => void {
  const origins = new Set(allowedOrigins.map(canonicalOrigin));
  return (req) => {
    if (!isHostAllowed(req)) throw new Refusal('hostNotAllowed');
    const { origin } = req.headers;
    if (origin === undefined || origins.has(canonicalOrigin(origin))) return;
    const host = hostOf(req);
    const parsed = parseOrigin(origin);
    if (parsed !== undefined && isOwnOrigin(parsed, host)) return;
    onRefused(originHint(origin, host));
    throw new Refusal('originNotAllowed');
  };
}
