import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import { Refusal } from '../errors.js';
import type { ResolvedOptions } from '../options/options.js';

/** A host with its port, both as text in one spelling; port '' where there is none. */
interface Authority {
  readonly name: string;
  readonly port: string;
}

interface Origin extends Authority {
  readonly scheme: string;
}

/** The port that each scheme leaves out of an origin and of a Host (RFC 6454, 6.1; RFC 9110, 4.2). */
const DEFAULT_PORTS = new Map([
  ['http', '80'],
  ['https', '443'],
]);

/** Clients use a handful of hosts; the bound is for those who make up a new one for each request. */
const MAX_REMEMBERED_HOSTS = 100;

/** RFC 9110, 7.2: `uri-host [ ":" port ]`, without the characters of a reg-name that no host name has. */
function parseAuthority(text: string): Authority | undefined {
  const [, name, port] = /^([\w.-]+|\[[\da-f:.]+\])(?::(\d{0,5}))?$/i.exec(text) ?? [];
  return name === undefined ? undefined : { name: name.toLowerCase(), port: port ?? '' };
}

/** RFC 6454, 6.2; a port that is the scheme's own is left out. */
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

/** In HTTP/2, `:authority` replaces Host, and wins if both are sent (RFC 9113, 8.3.1). */
export function hostOf({ httpVersionMajor, headers }: HostCarrier): string | undefined {
  const authority = httpVersionMajor < 2 ? undefined : headers[':authority'];
  return typeof authority === 'string' ? authority : headers.host;
}

function joined({ name, port }: Authority): string {
  return port === '' ? name : `${name}:${port}`;
}

/** As browsers spell it, so that entries match what they send; `null` and what is not parsed stay as they are. */
export function canonicalOrigin(text: string): string {
  const origin = parseOrigin(text);
  return origin === undefined ? text : `${origin.scheme}://${joined(origin)}`;
}

function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || (name.startsWith('127.') && isIPv4(name));
}

/**
 * Whether the request came in on a loopback address, or may have: Node forgets the address of a destroyed socket, and who
 * sends a request and hangs up at once must not get round the check that way.
 */
function isLoopback({ socket }: IncomingMessage): boolean {
  const address = socket.localAddress;
  if (address === undefined) return socket.destroyed;
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

/** @throws TypeError that names the entry which no Host header could equal, such as a URL. */
function hostEntry(entry: string): string {
  const authority = parseAuthority(entry);
  if (authority !== undefined) return joined(authority);
  throw new TypeError(
    'mcpRouter: option allowedHosts must hold host names, with or without port, such as mcp.example.com or ' +
      `[2001:db8::1]:3000; got ${JSON.stringify(entry)}`,
  );
}

function remembering(check: (host: string) => boolean): (host: string) => boolean {
  const verdicts = new Map<string, boolean>();
  return (host) => {
    const known = verdicts.get(host);
    if (known !== undefined) return known;
    if (verdicts.size >= MAX_REMEMBERED_HOSTS) verdicts.clear();
    const verdict = check(host);
    verdicts.set(host, verdict);
    return verdict;
  };
}

/** Whether the Origin is the endpoint's own: its host and port are those of Host. TLS may end at a proxy, so either scheme will do. */
function isOwnOrigin(origin: Origin, host: string | undefined): boolean {
  if (!DEFAULT_PORTS.has(origin.scheme) || host === undefined) return false;
  const own = parseAuthority(host);
  return own !== undefined && own.name === origin.name && withoutDefault(own.port, origin.scheme) === origin.port;
}

/** A header for the log: quoted, and no longer than it takes to see what it is. */
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
 * The check of Host and Origin, which stands before everything else (spec 2025-11-25, basic/transports, "Security
 * Warning": servers must validate Origin, against DNS rebinding).
 *
 * On a loopback address a page that was rebound to it gives itself away by its Host: its own name. Loopback names and
 * `allowedHosts` pass there, and elsewhere any Host, but only `allowedHosts` where there are such. An Origin must be the
 * endpoint's own or one of `allowedOrigins`.
 *
 * @param onRefused - Told, for the log, what was refused and which option would let it pass.
 * @param onExposed - Called once, for the log, when a request arrives on an address where any Host passes.
 * @returns A function that throws a `Refusal`, `hostNotAllowed` or `originNotAllowed`, where it refuses.
 * @throws TypeError when an entry of `allowedHosts` is not a host, with or without port.
 */
export function createGuard(
  options: Pick<ResolvedOptions, 'allowedHosts' | 'allowedOrigins'>,
  onRefused: (hint: string) => void,
  onExposed: (warning: string) => void = () => undefined,
): (req: IncomingMessage) => void {
  const hosts = options.allowedHosts && new Set(options.allowedHosts.map(hostEntry));
  const origins = new Set(options.allowedOrigins.map(canonicalOrigin));

  const isListedHost = (host: Authority) => hosts !== undefined && (hosts.has(host.name) || hosts.has(joined(host)));
  const passesOnLoopback = remembering((text) => {
    const host = parseAuthority(text);
    return host !== undefined && (isLoopbackName(host.name) || isListedHost(host));
  });
  const passesElsewhere = remembering((text) => {
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
    const host = hostOf(req);
    const { origin } = req.headers;
    const loopback = isLoopback(req);
    if (loopback || hosts !== undefined) {
      const passes = loopback ? passesOnLoopback : passesElsewhere;
      if (host === undefined || !passes(host)) {
        onRefused(hostHint(host, hosts !== undefined));
        throw new Refusal('hostNotAllowed');
      }
    } else noteExposure(req.socket);

    if (origin === undefined || origins.has(canonicalOrigin(origin))) return;
    const parsed = parseOrigin(origin);
    if (parsed !== undefined && isOwnOrigin(parsed, host)) return;
    onRefused(originHint(origin, host));
    throw new Refusal('originNotAllowed');
  };
}
