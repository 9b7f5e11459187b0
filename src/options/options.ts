import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { ClientCapabilities, Implementation } from '../protocol/client.js';
import type { AuthInfo, EventStore, McpServerLike } from '../protocol/wire-transport.js';
import type { Logger } from 'pino';
import type { Clock } from '../runtime/clock.js';
import type { RedisOptions } from '../stores/redis-client.js';
import type { SessionStore } from '../stores/session-store.js';
import type { EndpointMetricsOptions, MetricsOptions } from './metrics-options.js';
import type { PerRequestOptions, ResolvedPerRequest } from './resolve-per-request.js';
import type { Telemetry } from './telemetry.js';

export type { McpServerLike } from '../protocol/wire-transport.js';
export type { EndpointMetricsOptions, MetricsOptions } from './metrics-options.js';

/** The request for which a server is built, without anything that keeps its socket in memory. */
export interface OpeningRequest {
  readonly headers: IncomingHttpHeaders;
  /** The `req.auth` that the SDK's bearer middleware sets. */
  readonly auth: AuthInfo | undefined;
}

/** A small JSON store of the app for one session. It outlives the process if there is a `store`. */
export interface ContextState {
  /** A copy of the value. Undefined when there is none. */
  get(key: string): unknown;
  /**
   * Sets a value at once, or removes it with `undefined`. The promise resolves when the value is saved, or at once without a
   * store. A handler that awaits it answers only after the value outlives the process. Rejects when the store does not answer.
   * The value stays set then, and is saved with the next change.
   *
   * @throws TypeError when the value cannot be written as JSON.
   * @throws RangeError when the value is nested deeper than 1,000 levels, or all values together exceed 64 KiB.
   */
  set(key: string, value: unknown): Promise<void>;
}

/** The era of the client's revision of MCP: with sessions (to 2025-11-25), or without them (from 2026-07-28). */
export type Era = 'session' | 'request';

/** The session, or the request, for which `serverFactory` builds a server. */
export interface ServerContext {
  /** `request`: the server is for one request of a client that opens no session (`perRequest`). */
  readonly era: Era;
  /** Undefined when the router is stateless, and when `era` is `request`. */
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  /**
   * From the `initialize` request. A stateless router has it only for that request. When `era` is `request`, it is from the
   * request itself, and undefined when the client does not name itself.
   */
  readonly clientInfo: Implementation | undefined;
  readonly clientCapabilities: ClientCapabilities | undefined;
  /** Whether the session existed before and is built again. */
  readonly restored: boolean;
  /** 0 for the first server of a session. Grows with each build of a new server. */
  readonly epoch: number;
  /** The app's values of this session, which a restore keeps. */
  readonly state: ContextState;
  /** Aborts when the session ends or hibernates, or when its opening fails. */
  readonly signal: AbortSignal;
  /**
   * Calls `save` before the session hibernates and its server is closed, so that the app can put values into `state`. The router
   * awaits `save`. If it throws or rejects, the session does not hibernate.
   */
  onHibernate(save: () => void | Promise<void>): void;
}

/** Builds the server of one session (of one request, when stateless). Must return a new one each time. */
export type ServerFactory = (context: ServerContext) => McpServerLike | Promise<McpServerLike>;

/** A request of `node:http`, with properties that the app or its framework may set before the endpoint gets it. */
export interface HttpRequest extends IncomingMessage {
  /** The caller, set by the authentication. */
  auth?: AuthInfo | undefined;
  /** The parsed body, if other code has read it. */
  body?: unknown;
  /** The path and query as the client sent them, if `url` has been changed. Default: `url`. */
  originalUrl?: string;
  /**
   * `https` or `http`: the scheme by which the client reached the endpoint. Set it to `https` if your proxy ends TLS. Default: by
   * the socket. `X-Forwarded-Proto` and `Forwarded` are never read, as any client can send them.
   */
  protocol?: string;
}

/** Returns the principal of a request. It must stay the same during a session. Undefined when the principal is not known. */
export type PrincipalFunction<R = HttpRequest> = (req: R) => string | undefined;

/** How the instances of an app share their sessions. All instances have the same values, except for their addresses. */
export interface ClusterOptions {
  /** The Redis that all nodes share: as for `redisStore`, a `client` or `sendCommand`, and a `prefix`. Required. */
  redis: RedisOptions;
  /** The secret by which nodes authenticate each other, at least 32 bytes (a string counts as UTF-8). Required. */
  secret: string;
  /** The address to which the private listener binds. Default: `127.0.0.1`, for nodes on one machine. */
  host?: string | undefined;
  /** The port of the private listener. Each process of a machine needs its own. Default: 0, which takes a free port. */
  port?: number | undefined;
  /**
   * The host name by which the other nodes reach this one, if it is not `host`. It is needed when `host` is `0.0.0.0`. A node
   * joins only if it reaches itself there. Default: `host`.
   */
  advertise?: string | undefined;
  /**
   * How long the lease of a node must have been unchanged before another node may claim its sessions, in ms. Each node measures
   * this by its own monotonic clock. At least 1.2 times `fenceAfter` and 200 ms. Default: 5,000.
   */
  lease?: number | undefined;
  /** How often a node renews its lease. Default: 1,500. */
  renewInterval?: number | undefined;
  /**
   * The time after its last acknowledged renewal was sent at which a node ends its sessions, in ms. At least twice `renewInterval`,
   * for a second attempt to renew. Default: 3,300.
   */
  fenceAfter?: number | undefined;
  /**
   * How long a request waits for an owner that cannot be reached before it gets 503. More than `lease`, `renewInterval` and 500 ms
   * together. Default: 10,000.
   */
  claimTimeout?: number | undefined;
  /**
   * How a node handles a request for a session of another node: `forward` forwards the request. `migrate` moves the session, for
   * nodes that cannot reach each other. Default: `forward`.
   */
  routing?: 'forward' | 'migrate' | undefined;
}

/**
 * Options of an endpoint. All times are milliseconds. `undefined` is the same as leaving the key out.
 *
 * @typeParam R - The request that `principal` gets.
 */
export interface McpEndpointOptions<R = HttpRequest> {
  /**
   * Returns a **new** server for each session, or for each request when `stateless`; sync or async. Required.
   *
   * @example
   * ```ts
   * mcpRouter({ serverFactory: ({ principal }) => buildServer(principal) });
   * ```
   */
  serverFactory: ServerFactory;
  /** How long a session may be unattached before it is closed (`expired`). Default: 1,800,000 (30 min). */
  ttl?: number | undefined;
  /**
   * How long a session may be unattached before it counts as orphaned. Default: 60,000, or `ttl` or `orphanTtl` if that is
   * shorter.
   */
  orphanAfter?: number | undefined;
  /** A shorter `ttl` for sessions that had an SSE stream and lost it. Default: `ttl`. */
  orphanTtl?: number | undefined;
  /** The age at which a session ends (`lifetime`). Unsettled requests may finish, and GET streams are ended. Default: none. */
  maxLifetime?: number | undefined;
  /** How long a request may run without an answer or progress before it gets an error. Default: 3,600,000 (1 h). */
  requestTimeout?: number | undefined;
  /** How long `serverFactory`, `connect` and `initialize` may take together before the client gets 503. Default: 30,000. */
  openTimeout?: number | undefined;
  /**
   * The number of open sessions, including those that are being opened, even if their client has disconnected. At the cap, the
   * longest orphaned session is evicted. If no session is orphaned, the client gets 503. Default: 10,000. With less than
   * 1,266 MiB of V8's old generation: one for each 128 KiB of it above 16 MiB, and at least 100.
   */
  maxSessions?: number | undefined;
  /** The same within one named principal. Default: none. */
  maxSessionsPerPrincipal?: number | undefined;
  /**
   * Open sessions of all callers without a principal. At this cap and at `maxSessions`, such callers evict only each other's
   * orphaned sessions. If there is none, the client gets 503. Default: `maxSessions`.
   */
  maxAnonymousSessions?: number | undefined;
  /** Requests of one session that may be in flight at once. One more gets 429. Default: 1,000. */
  maxRequestsPerSession?: number | undefined;
  /**
   * Resources that one session may be subscribed to, with URIs of 128 bytes on average. A request beyond that gets an error.
   * Each restore repeats all subscriptions, and `router.notify` looks them up. Default: 1,000.
   */
  maxSubscriptions?: number | undefined;
  /** A new server and transport for each request, without session IDs. GET and DELETE get 405. Default: false. */
  stateless?: boolean | undefined;
  /**
   * Whether clients of MCP 2026-07-28 are served, too. They open no session: each request has a new server, which may be one of
   * the SDK's version 1. It is off by default, as clients that support both versions choose the later one if it is offered. A
   * server that keeps state for its session would then lose that state. Default: false.
   */
  perRequest?: boolean | PerRequestOptions | undefined;
  /**
   * `false`: only clients of MCP 2026-07-28 are served. GET and DELETE get 405, and `initialize` is refused with the versions that
   * are served. Needs `perRequest`. Default: true.
   */
  sessions?: boolean | undefined;
  /** Answer with JSON unless something is streamed before the result. A JSON reply cannot be resumed. Default: false. */
  enableJsonResponse?: boolean | undefined;
  /**
   * Returns the principal of a request. A session belongs to the principal that opened it. Default: from `req.auth`, by
   * `extra.iss` and `extra.sub`, or by `clientId` when there is no `sub`.
   */
  principal?: ((req: R) => string | undefined) | undefined;
  /**
   * Lazy sign-in: the first request with a principal adopts a session that was opened without one. Its streams and requests
   * end, and the session gets a new server that is built for the principal. Read docs/identity.md for the risk (session
   * fixation) first. Default: false, such a request gets 404.
   */
  adoptAnonymous?: boolean | undefined;
  /** Answer 401 when there is no principal. Default: false. */
  requirePrincipal?: boolean | undefined;
  /**
   * The URL of the protected resource metadata (RFC 9728), which tells clients where to sign in. The router's own 401 names it in
   * `WWW-Authenticate`. The SDK's `getOAuthProtectedResourceMetadataUrl()` gives it. Default: none.
   */
  resourceMetadataUrl?: string | undefined;
  /**
   * Host header values to accept, with or without port. Default: any, but on a loopback address only loopback names
   * (DNS rebinding; spec 2025-11-25, basic/transports, "Security Warning").
   */
  allowedHosts?: readonly string[] | undefined;
  /** Origins to accept in addition to the endpoint's own. They get CORS headers. Default: none. */
  allowedOrigins?: readonly string[] | undefined;
  /**
   * Whether pages of `allowedOrigins` may send cookies and other credentials of the browser
   * (`Access-Control-Allow-Credentials`). A page that sets a bearer token itself does not need it. Default: false.
   */
  allowCredentials?: boolean | undefined;
  /** Bytes of one POST body. Default: 4,194,304 (4 MiB). */
  maxBodySize?: number | undefined;
  /**
   * Bytes that the buffers of incomplete POST bodies may take together. When a chunk needs more, the bodies whose last chunk
   * came longest ago get 503. A body that arrives in one piece is always read. The params of requests in flight may take the same
   * amount again (at least 16 MiB), estimated from their values. A request that does not fit gets 503. Default: a quarter of V8's
   * heap limit, at most 268,435,456 (256 MiB), at least `maxBodySize`.
   */
  maxBodyMemory?: number | undefined;
  /** Levels to which arrays and objects may be nested in a POST body, the outermost included. Default: 200. */
  maxDepth?: number | undefined;
  /** Interval of SSE comments on a quiet stream. Default: 15,000. */
  keepAlive?: number | undefined;
  /**
   * The SSE `retry` field in the first event of each stream: how long a client waits before it reconnects (0: at once). Without
   * this option, the field is sent only before the end of a stream that the server ends, with 1,000. Do not set it if clients use
   * the MCP Java SDK, which fails on any `retry` field (java-sdk#1047, open in 2026). Default: none.
   */
  retryInterval?: number | undefined;
  /** Interval of server pings on a standalone stream. A ping without an answer until the next one ends it. Default: none. */
  pingInterval?: number | undefined;
  /** Bytes that may wait for a slow reader before its stream is ended (it can resume). Default: 1,048,576 (1 MiB). */
  maxStreamBuffer?: number | undefined;
  /**
   * Bytes that may wait for the readers of all replies together. Beyond that, the replies from which nothing was read for longest
   * are broken off, with a log line each. A single reply may be larger. Default: a quarter of V8's heap limit, at most
   * 268,435,456 (256 MiB).
   */
  maxReplyMemory?: number | undefined;
  /** Makes streams resumable. Any event store with the SDK's interface. A session gets only its own events. Default: none. */
  eventStore?: EventStore | undefined;
  /**
   * Keeps a record of each session. The session is restored from it when this process does not have the session, for example
   * after a restart. Default: none.
   */
  store?: SessionStore | undefined;
  /**
   * Makes many instances one endpoint: each of them answers requests for any session, without sticky routing. Replaces `store`.
   * Default: none.
   */
  cluster?: ClusterOptions | undefined;
  /**
   * How long a session may be orphaned before its server is closed and only its record is kept. The next request wakes it.
   * Servers must then keep their state in `context.state`. Default: none, so the server is kept.
   */
  hibernateAfter?: number | undefined;
  /**
   * The answer to a POST for an unknown session: `reject` is a 404, `reissue` is a 404 with the ID of a new, open session.
   * `reissue` helps clients on the SDK's version 1 (`@modelcontextprotocol/sdk`), which use that ID. Clients on version 2
   * (`@modelcontextprotocol/client`, and so `@openai/agents` and `@mastra/mcp`) keep the old ID, so it does not help them. The
   * state of the old session is lost. Default: `reject`.
   */
  staleSessions?: 'reject' | 'reissue' | undefined;
  /** Prometheus metrics, or `false`. Default: on, in a registry of the router's own. */
  metrics?: EndpointMetricsOptions | false | undefined;
  /** Traces and metrics by OpenTelemetry: `openTelemetry()` of `express-mcp-router/otel`. Default: none. */
  telemetry?: Telemetry | undefined;
  /** A pino logger, or `false`. Default: pino to stdout, level from `LOG_LEVEL`, else `info`. */
  logger?: Logger | false | undefined;
  /** Makes session IDs: unique, unguessable, visible ASCII. Default: `crypto.randomUUID`. */
  sessionIdGenerator?: (() => string) | undefined;
  /** Time and timers. Default: Node's. For tests. */
  clock?: Clock | undefined;
}

/** Options of an Express router, which serves the endpoint and its metrics below a mount path. */
export interface MountOptions {
  /**
   * The endpoint's path below the mount path. Default: the mount path itself if there is one (`app.use('/mcp', router)`), else
   * `/mcp`. Metrics are at `/metrics` below the mount path.
   */
  path?: string | undefined;
  /** Prometheus metrics, or `false`. Default: on, in a registry of the router's own. */
  metrics?: MetricsOptions | false | undefined;
}

/** All options, for any type of request that `principal` gets. */
export type AnyOptions = McpEndpointOptions<never> & MountOptions;

/** The options of a cluster, complete. */
export type ResolvedClusterOptions = { readonly [key in keyof ClusterOptions]-?: NonNullable<ClusterOptions[key]> };

/** Options that may be undefined after resolving. */
type WithoutDefault =
  | 'maxLifetime'
  | 'resourceMetadataUrl'
  | 'maxSessionsPerPrincipal'
  | 'allowedHosts'
  | 'retryInterval'
  | 'pingInterval'
  | 'eventStore'
  | 'store'
  | 'hibernateAfter'
  | 'telemetry'
  | 'logger'
  | 'path';

/** Options whose type changes when they are resolved. */
type Converted = 'principal' | 'cluster' | 'perRequest';

type WithDefault = Exclude<keyof AnyOptions, WithoutDefault | Converted>;

/** The options for the rest of the package: complete, checked, frozen. */
export type ResolvedOptions = {
  readonly [Name in WithDefault]-?: Exclude<AnyOptions[Name], undefined>;
} & {
  readonly [Name in WithoutDefault]-?: AnyOptions[Name];
} & {
  /** Called with the app's requests, which have the type that the function expects. */
  readonly principal: PrincipalFunction | undefined;
  readonly cluster: ResolvedClusterOptions | undefined;
  readonly perRequest: ResolvedPerRequest | false;
};
