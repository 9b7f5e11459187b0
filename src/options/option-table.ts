import { randomUUID } from 'node:crypto';
import { callable, clock, count, delay, flag, having, orFalse, strings, timer, type Check } from '../runtime/checks.js';
import { systemClock } from '../runtime/clock.js';
import { MIB, sessionsThatFit, shareOfMemory } from './heap-defaults.js';
import { metricsOptions, object, origins, path, perRequest, staleSessions, webUrl } from './option-checks.js';
import type { AnyOptions, ResolvedOptions } from './options.js';

export type OptionName = keyof AnyOptions;

/** The properties of one option. */
export interface OptionRow {
  readonly check: Check;
  /** The value when the option is not set. */
  readonly default?: unknown;
  /** Computes that value from `known`, the options above it in the table, and `given`, the app's options. */
  readonly defaultFrom?: (known: ResolvedOptions, given: AnyOptions) => unknown;
  /** The default in docs/options.md, if it is not a plain value. */
  readonly shownDefault?: string;
  /** Whether the option is only for routers with sessions, so not for a stateless one. */
  readonly sessionsOnly?: true;
  /** Whether it also has a meaning for requests of MCP 2026-07-28, which have no session but state, and nodes to go to. */
  readonly alsoPerRequest?: true;
  /** The text in docs/options.md. Editors show the TSDoc of options.ts instead. */
  readonly meaning: string;
}

type Default<Value> =
  | { readonly default: Value }
  | {
      readonly defaultFrom: (known: ResolvedOptions, given: AnyOptions) => Value;
      readonly shownDefault: string;
    }
  | (undefined extends Value ? { readonly default?: never; readonly defaultFrom?: never } : never);

/** Ties each default to the type that the option has in {@link ResolvedOptions}. */
type Table = {
  readonly [Name in OptionName]-?: OptionRow & (Name extends 'serverFactory' ? object : Default<ResolvedOptions[Name]>);
};

const MINUTE = 60_000;

const TABLE = {
  serverFactory: {
    check: callable,
    shownDefault: 'required',
    meaning:
      '`(context) => McpServer | Server`, or a promise of one: a **new** one for each session (for each request when stateless)',
  },
  ttl: {
    check: timer,
    default: 30 * MINUTE,
    sessionsOnly: true,
    alsoPerRequest: true,
    meaning: 'how long a session may be unattached before it is closed',
  },
  orphanAfter: {
    check: timer,
    defaultFrom: ({ ttl }, { orphanTtl = ttl }) => Math.min(MINUTE, ttl, orphanTtl),
    shownDefault: '60,000, or less with the ttl',
    sessionsOnly: true,
    meaning: 'how long a session may be unattached before it counts as orphaned',
  },
  orphanTtl: {
    check: timer,
    defaultFrom: ({ ttl }) => ttl,
    shownDefault: '`ttl`',
    sessionsOnly: true,
    meaning: 'a shorter `ttl` for sessions that had an SSE stream and lost it',
  },
  maxLifetime: {
    check: timer,
    sessionsOnly: true,
    meaning: 'absolute age: unsettled requests may finish, nothing new begins',
  },
  requestTimeout: {
    check: timer,
    default: 60 * MINUTE,
    meaning: 'how long a request may go without answer or progress before it is answered with an error',
  },
  openTimeout: {
    check: timer,
    default: 30_000,
    meaning: 'how long `serverFactory`, `connect` and `initialize` may take together; then all is undone, and 503',
  },
  maxSessions: {
    check: count,
    defaultFrom: sessionsThatFit,
    shownDefault: '10,000, less in a small heap',
    sessionsOnly: true,
    meaning:
      'open sessions and pending opens; at the cap the longest orphaned one is evicted, else 503; see [docs/sessions.md](docs/sessions.md#caps)',
  },
  maxSessionsPerPrincipal: { check: count, sessionsOnly: true, meaning: 'the same within one named principal' },
  maxAnonymousSessions: {
    check: count,
    defaultFrom: ({ maxSessions }) => maxSessions,
    shownDefault: '`maxSessions`',
    sessionsOnly: true,
    meaning: 'the same for all callers without a principal, which evict only each other',
  },
  maxRequestsPerSession: {
    check: count,
    default: 1_000,
    sessionsOnly: true,
    meaning: 'requests of one session that may be in flight at once, else 429',
  },
  maxSubscriptions: {
    check: count,
    default: 1_000,
    sessionsOnly: true,
    meaning: 'resources that one session may be subscribed to ([restart.md](docs/restart.md#what-survives))',
  },
  stateless: {
    check: flag,
    default: false,
    meaning: 'a fresh server for each request, no session ID; GET and DELETE get 405',
  },
  perRequest: {
    check: perRequest,
    default: false,
    meaning:
      '`true`, or an object: clients of MCP 2026-07-28, which keep no session, are [served too](docs/two-eras.md)',
  },
  sessions: {
    check: flag,
    default: true,
    meaning: '`false`, with `perRequest`: only MCP 2026-07-28 is served; GET and DELETE get 405, `initialize` gets 400',
  },
  enableJsonResponse: {
    check: flag,
    default: false,
    meaning: 'JSON replies, unless something is streamed before the result',
  },
  principal: {
    check: callable,
    shownDefault: 'from `req.auth`',
    meaning: '`(req) => string | undefined`: the principal of a request; see [docs/identity.md](docs/identity.md)',
  },
  adoptAnonymous: {
    check: flag,
    default: false,
    sessionsOnly: true,
    meaning:
      'the first principal adopts a session that was opened without one ([lazy sign-in](docs/identity.md#lazy-sign-in))',
  },
  requirePrincipal: { check: flag, default: false, meaning: '401 when the request has no principal' },
  resourceMetadataUrl: {
    check: webUrl,
    meaning: "where clients learn how to sign in (RFC 9728); the router's own 401 [names it](docs/authentication.md)",
  },
  allowedHosts: {
    check: strings,
    shownDefault: 'see meaning',
    meaning: 'Host values to accept; default: any, but on a loopback address only loopback names',
  },
  allowedOrigins: {
    check: origins,
    defaultFrom: () => [],
    shownDefault: 'none',
    meaning: "origins to accept beside the endpoint's own, with CORS",
  },
  allowCredentials: { check: flag, default: false, meaning: 'whether pages of `allowedOrigins` may send cookies' },
  maxBodySize: { check: count, default: 4 * MIB, meaning: 'bytes of one POST body' },
  maxBodyMemory: {
    check: count,
    defaultFrom: ({ maxBodySize }) => shareOfMemory(maxBodySize),
    shownDefault: 'a quarter of the heap limit',
    meaning:
      'bytes that incomplete bodies may take at once, else those that stopped first get 503; the default is at most 256 MiB, at least `maxBodySize`',
  },
  maxDepth: { check: count, default: 200, meaning: "levels to which a body's JSON may be nested, else 400" },
  keepAlive: { check: timer, default: 15_000, meaning: 'interval of SSE comments on a quiet stream' },
  retryInterval: {
    check: delay,
    meaning: 'the SSE `retry` field in the first event of each stream; clients of the MCP Java SDK fail on it',
  },
  pingInterval: {
    check: timer,
    sessionsOnly: true,
    meaning: 'interval of server pings on a standalone stream; one unanswered for as long ends the stream',
  },
  maxStreamBuffer: {
    check: count,
    default: MIB,
    meaning: 'bytes that may wait for a slow reader before its stream is ended',
  },
  maxReplyMemory: {
    check: count,
    defaultFrom: () => shareOfMemory(),
    shownDefault: 'a quarter of the heap limit',
    meaning:
      'bytes that may wait for all readers together, else the replies that stopped first are broken off; the default is at most 256 MiB',
  },
  eventStore: {
    check: having('an SDK EventStore', 'storeEvent', 'replayEventsAfter'),
    sessionsOnly: true,
    meaning: "any `EventStore` of the SDK's interface makes streams resumable; `memoryEventStore()` is one",
  },
  store: {
    check: having('a SessionStore', 'create', 'get', 'update', 'destroy', 'claim'),
    sessionsOnly: true,
    alsoPerRequest: true,
    meaning:
      'Keeps a record of each session, from which it is [restored](docs/restart.md) after a restart: `memoryStore`, `redisStore`, `keyvStore` or your own',
  },
  cluster: {
    check: object('an object of redis, secret and more'),
    sessionsOnly: true,
    alsoPerRequest: true,
    meaning:
      'Makes one endpoint of [many nodes](docs/scaling.md) on Redis: any of them answers for any session; takes the place of `store`',
  },
  hibernateAfter: {
    check: timer,
    sessionsOnly: true,
    meaning:
      'How long a session may be orphaned before its server is closed and only its record kept; the next request [wakes](docs/restart.md#hibernation) it',
  },
  staleSessions: {
    check: staleSessions,
    default: 'reject',
    sessionsOnly: true,
    meaning:
      "`'reissue'`: the 404 for a session that is gone carries the ID of a [new one](docs/restart.md#without-a-store), for clients that adopt it",
  },
  metrics: {
    check: orFalse(metricsOptions),
    defaultFrom: () => ({}),
    shownDefault: 'own registry',
    meaning: '`{ registry, prefix, tools, route }`, or `false`',
  },
  telemetry: {
    check: having("openTelemetry() of 'express-mcp-router/otel'", 'instrument'),
    meaning: '`openTelemetry()` of `express-mcp-router/otel`: [traces and metrics](docs/telemetry.md) by OpenTelemetry',
  },
  logger: {
    check: orFalse(having('a pino logger', 'info', 'warn', 'error', 'child', 'isLevelEnabled')),
    shownDefault: 'pino, level from `LOG_LEVEL`',
    meaning: 'a pino logger, or `false`',
  },
  path: { check: path, shownDefault: 'the mount, or `/mcp`', meaning: "the endpoint's path below the mount" },
  sessionIdGenerator: {
    check: callable,
    defaultFrom: () => randomUUID,
    shownDefault: '`crypto.randomUUID`',
    sessionsOnly: true,
    meaning: 'unique, unguessable, visible ASCII',
  },
  clock: {
    check: clock,
    defaultFrom: () => systemClock,
    shownDefault: "Node's",
    meaning: 'time and timers, for tests',
  },
} satisfies Table;

/** Each option of `mcpRouter`, in the order of docs/options.md. */
export const OPTIONS: ReadonlyMap<OptionName, OptionRow> = new Map(Object.entries(TABLE) as [OptionName, OptionRow][]);
