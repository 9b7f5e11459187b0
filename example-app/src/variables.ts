import type { McpRouterOptions } from 'express-mcp-router';

/** A kind of value that a variable can hold. */
export interface Kind<T> {
  readonly wanted: string;
  /** Whether a value may hold a password, so that no message repeats it. */
  readonly secret?: boolean;
  /** Returns undefined when the text is invalid. */
  parse(text: string): T | undefined;
}

interface Variable<T> {
  readonly name: string;
  readonly kind: Kind<T>;
  readonly about: string;
}

/** A variable of the app itself, with its default. */
export interface AppVariable<T> extends Variable<T> {
  readonly fallback: T;
}

/** A variable that sets one option of the router. The router checks its range and has its default. */
export interface RouterVariable extends Variable<unknown> {
  readonly option: keyof McpRouterOptions;
}

/** The longest time of Node's timers, 2^31 - 1 ms (24.8 days). A longer one fires at once. */
const MAX_TIMER = 2 ** 31 - 1;

const whole = (wanted: string, max = Number.MAX_SAFE_INTEGER): Kind<number> => ({
  wanted,
  parse: (text) => (/^\d+$/.test(text) && Number(text) <= max ? Number(text) : undefined),
});
const oneOf = <Word extends string>(words: readonly Word[]): Kind<Word> => ({
  wanted: `one of ${words.join(', ')}`,
  parse: (text) => words.find((word) => word === text.toLowerCase()),
});
const count = whole('a whole number');
const ms = whole('a whole number of milliseconds');
const port = whole('a port from 0 to 65535', 65_535);
const text: Kind<string> = { wanted: 'a text', parse: (value) => value };
const redisUrl: Kind<string> = {
  wanted: 'a URL such as redis://localhost:6379/0, with rediss for TLS',
  secret: true,
  parse: (value) => {
    if (!URL.canParse(value)) return undefined;
    const { protocol, pathname } = new URL(value);
    return /^rediss?:$/.test(protocol) && /^(\/\d*)?$/.test(pathname) ? value : undefined;
  },
};
const httpUrl: Kind<string> = {
  wanted: 'a URL such as http://localhost:4318',
  secret: true,
  parse: (value) => (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol) ? value : undefined),
};
const storeKind = oneOf(['memory', 'file', 'redis']);
/** The router checks the length too, but only after the app has tried to connect to Redis. */
const secret: Kind<string> = {
  wanted: 'a text of at least 32 bytes',
  secret: true,
  parse: (value) => (Buffer.byteLength(value) >= 32 ? value : undefined),
};
const flag: Kind<boolean> = {
  wanted: 'true or false',
  parse: (value) => {
    const word = value.toLowerCase();
    return word === 'true' || word === 'false' ? word === 'true' : undefined;
  },
};
const list: Kind<readonly string[]> = {
  wanted: 'a list, its entries separated by commas',
  parse: (value) => {
    const entries = value.split(',').map((entry) => entry.trim());
    return entries.includes('') ? undefined : entries;
  },
};

const own = <T>(name: string, kind: Kind<T>, fallback: T, about: string): AppVariable<T> => ({
  name,
  kind,
  fallback,
  about,
});

/** The kind must have the option's type, so that the parsed values are type-safe for the router. */
const sets = <K extends keyof McpRouterOptions>(
  name: string,
  option: K,
  kind: Kind<NonNullable<McpRouterOptions[K]>>,
  about: string,
): RouterVariable => ({ name, kind, option, about });

export const APP = {
  port: own('PORT', port, 3000, 'TCP port to listen on; 0 lets the system choose, --port wins over it.'),
  host: own(
    'HOST',
    text,
    '127.0.0.1',
    'Address to listen on; 0.0.0.0 for every one of the machine, as in a container.',
  ),
  logLevel: own(
    'LOG_LEVEL',
    oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'Least severe log lines to write: fatal, error, warn, info, debug, trace or silent.',
  ),
  drainTimeoutMs: own(
    'MCP_DRAIN_TIMEOUT_MS',
    whole(`a whole number of milliseconds from 0 to ${MAX_TIMER}`, MAX_TIMER),
    10_000,
    'How long stopping may take after SIGTERM or SIGINT. Requests may finish until its last fifth, which is 2 s at most.',
  ),
  keepAliveTimeoutMs: own(
    'MCP_HTTP_KEEP_ALIVE_MS',
    whole(`a whole number of milliseconds from 1 to ${MAX_TIMER}`, MAX_TIMER),
    65_000,
    'How long an idle connection stays open. It must be longer than the balancer in front keeps one, or a request meets a reset.',
  ),
  resumable: own(
    'MCP_RESUMABLE',
    flag,
    true,
    'Keep recent events, so that a client that lost a stream can resume it: in Redis if sessions are recorded there, else in ' +
      'memory; false when stateless.',
  ),
  sessionStore: own<'memory' | 'file' | 'redis' | undefined>(
    'MCP_SESSION_STORE',
    storeKind,
    undefined,
    'Where sessions are recorded, to be restored from: file or redis, which outlive the process, or memory, to try it; empty ' +
      'for nowhere.',
  ),
  sessionFile: own<string | undefined>(
    'MCP_SESSION_FILE',
    text,
    undefined,
    'Path of the file store: a folder, kept by LevelDB and made if there is none; needed with MCP_SESSION_STORE=file.',
  ),
  redisUrl: own<string | undefined>(
    'MCP_REDIS_URL',
    redisUrl,
    undefined,
    'Where Redis is, as redis://user:password@host:6379/0; needed with MCP_SESSION_STORE=redis and with MCP_CLUSTER=true.',
  ),
  cluster: own(
    'MCP_CLUSTER',
    flag,
    false,
    'Share all sessions with the other processes of the same MCP_REDIS_URL and MCP_CLUSTER_SECRET: a client may reach any of ' +
      'them with any request.',
  ),
  clusterSecret: own<string | undefined>(
    'MCP_CLUSTER_SECRET',
    secret,
    undefined,
    'What the nodes of a cluster know one another by, at least 32 bytes, the same on all; needed with MCP_CLUSTER=true.',
  ),
  clusterHost: own(
    'MCP_CLUSTER_HOST',
    text,
    '127.0.0.1',
    'Address that the private listener is bound to; only the other nodes should reach it.',
  ),
  clusterPort: own('MCP_CLUSTER_PORT', port, 0, 'Port of the private listener; 0 lets the system choose.'),
  clusterAdvertise: own<string | undefined>(
    'MCP_CLUSTER_ADVERTISE',
    text,
    undefined,
    'Host by which the other nodes reach it; empty for MCP_CLUSTER_HOST, needed where that is 0.0.0.0.',
  ),
  clusterRouting: own<'forward' | 'migrate'>(
    'MCP_CLUSTER_ROUTING',
    oneOf(['forward', 'migrate']),
    'forward',
    "What a node does with a request for another one's session: forward, hand it over; migrate, take over the session, where " +
      'nodes cannot reach each other.',
  ),
  trustProxyIdentity: own(
    'MCP_AUTH_TRUST_PROXY_IDENTITY',
    flag,
    false,
    'Believe the user name that an authenticating reverse proxy sends, and answer 401 without one.',
  ),
  proxyHeader: own('MCP_AUTH_PROXY_HEADER', text, 'x-preferred-username', 'Header in which that proxy names the user.'),
  trustedProxies: own(
    'MCP_AUTH_TRUSTED_PROXIES',
    list,
    ['loopback'],
    'Addresses, CIDR ranges or loopback, separated by commas: where that proxy is; the header is believed from no other.',
  ),
  perRequest: own(
    'MCP_PER_REQUEST',
    flag,
    true,
    'Serve clients of MCP 2026-07-28 too, which keep no session. Their notes are kept by user, in MCP_SESSION_STORE.',
  ),
  sdk: own<'v1' | 'v2'>(
    'MCP_SDK',
    oneOf(['v1', 'v2']),
    'v1',
    'Version of the MCP SDK whose servers serve the clients: v1, or v2, which serves MCP 2026-07-28 itself.',
  ),
  adminToken: own<string | undefined>(
    'MCP_ADMIN_TOKEN',
    secret,
    undefined,
    'Token of operators for /admin and /hooks, at least 32 bytes; empty to serve both only to this machine, past no proxy.',
  ),
  otlpEndpoint: own<string | undefined>(
    'MCP_OTLP_ENDPOINT',
    httpUrl,
    undefined,
    'Where an OpenTelemetry collector takes traces, by OTLP over HTTP, as http://localhost:4318; empty for nowhere.',
  ),
};

export const ROUTER: readonly RouterVariable[] = [
  sets('MCP_SESSION_TTL_MS', 'ttl', ms, 'How long a session may be unattached before it is closed.'),
  sets(
    'MCP_ORPHAN_AFTER_MS',
    'orphanAfter',
    ms,
    'How long a session may be unattached before it counts as orphaned; at most MCP_ORPHAN_TTL_MS.',
  ),
  sets(
    'MCP_ORPHAN_TTL_MS',
    'orphanTtl',
    ms,
    'A shorter MCP_SESSION_TTL_MS for sessions that lost their stream; empty for the same.',
  ),
  sets(
    'MCP_HIBERNATE_AFTER_MS',
    'hibernateAfter',
    ms,
    'How long a session may be orphaned before its server is closed and only its record kept, until its client comes back; ' +
      'empty for never.',
  ),
  sets(
    'MCP_STALE_SESSIONS',
    'staleSessions',
    oneOf(['reject', 'reissue']),
    'What a client whose session is gone gets: reject, 404; reissue, 404 with the ID of a new session, empty and ready for use.',
  ),
  sets('MCP_MAX_LIFETIME_MS', 'maxLifetime', ms, 'Age at which a session ends, whatever it does; empty for none.'),
  sets(
    'MCP_REQUEST_TIMEOUT_MS',
    'requestTimeout',
    ms,
    'How long a request may go without answer or progress before it is answered with an error.',
  ),
  sets('MCP_OPEN_TIMEOUT_MS', 'openTimeout', ms, 'How long the opening of a session may take.'),
  sets(
    'MCP_MAX_SESSIONS',
    'maxSessions',
    count,
    'Sessions at a time; at the cap the longest orphaned is evicted, and if none is, new clients get 503.',
  ),
  sets(
    'MCP_MAX_SESSIONS_PER_PRINCIPAL',
    'maxSessionsPerPrincipal',
    count,
    'The same within one principal; empty for no such cap.',
  ),
  sets(
    'MCP_MAX_ANONYMOUS_SESSIONS',
    'maxAnonymousSessions',
    count,
    'Sessions at a time of all callers without a principal together. They evict only each other.',
  ),
  sets(
    'MCP_MAX_REQUESTS_PER_SESSION',
    'maxRequestsPerSession',
    count,
    'Requests of one session that may be in flight at once.',
  ),
  sets(
    'MCP_MAX_SUBSCRIPTIONS',
    'maxSubscriptions',
    count,
    'Resources that one session may be subscribed to, if sessions outlive their servers.',
  ),
  sets(
    'MCP_ADOPT_ANONYMOUS',
    'adoptAnonymous',
    flag,
    'Let the first principal that uses a session adopt it, where it was opened without one.',
  ),
  sets('MCP_STATELESS', 'stateless', flag, 'Serve each request with a server of its own, without sessions.'),
  sets('MCP_SESSIONS', 'sessions', flag, 'With false, serve only clients of MCP 2026-07-28. Needs MCP_PER_REQUEST.'),
  sets(
    'MCP_JSON_RESPONSE',
    'enableJsonResponse',
    flag,
    'Answer with JSON unless something is streamed before the result.',
  ),
  sets(
    'MCP_ALLOWED_HOSTS',
    'allowedHosts',
    list,
    'Host header values to accept, separated by commas; empty for any, but only local names on a loopback address.',
  ),
  sets(
    'MCP_ALLOWED_ORIGINS',
    'allowedOrigins',
    list,
    'Web origins to accept beside the own one, separated by commas; CORS is answered for them.',
  ),
  sets('MCP_ALLOW_CREDENTIALS', 'allowCredentials', flag, 'Let the pages of MCP_ALLOWED_ORIGINS send cookies.'),
  sets('MCP_MAX_BODY_BYTES', 'maxBodySize', count, 'Bytes that the body of one POST may have.'),
  sets(
    'MCP_MAX_BODY_MEMORY_BYTES',
    'maxBodyMemory',
    count,
    'Bytes that the bodies of all POSTs may hold together while they arrive.',
  ),
  sets('MCP_MAX_DEPTH', 'maxDepth', count, 'Levels to which the JSON of a POST may be nested.'),
  sets('MCP_KEEP_ALIVE_MS', 'keepAlive', ms, 'Interval of SSE comments on a quiet stream.'),
  sets(
    'MCP_RETRY_INTERVAL_MS',
    'retryInterval',
    ms,
    'How long a client waits before it reconnects a lost stream; empty for its own choice.',
  ),
  sets(
    'MCP_PING_INTERVAL_MS',
    'pingInterval',
    ms,
    'Interval of pings on a GET stream, which ends when one stays unanswered as long; empty for none.',
  ),
  sets(
    'MCP_MAX_STREAM_BUFFER_BYTES',
    'maxStreamBuffer',
    count,
    'Bytes that may wait for a slow reader before its stream is ended.',
  ),
  sets(
    'MCP_MAX_REPLY_MEMORY_BYTES',
    'maxReplyMemory',
    count,
    'Bytes that may wait for the readers of all replies together.',
  ),
];

/** All environment variables of the app. `.env.example`, `--help` and the README list the same ones. */
export const VARIABLES: readonly (AppVariable<unknown> | RouterVariable)[] = [...Object.values(APP), ...ROUTER];
