import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Clock } from '../runtime/clock.js';
import type { RedisOptions } from '../stores/redis-client.js';
import type { SessionStore } from '../stores/session-store.js';
import type { PerRequestOptions, ResolvedPerRequest } from './resolve-per-request.js';

/** What the router needs of a server; the SDK's `McpServer` and `Server` both are one. */
export interface McpServerLike {
  connect(transport: Transport): Promise<void>;
  close(): Promise<void>;
}

/** The request that asks for a server: what a factory may need of it, and nothing that keeps its socket alive. */
export interface OpeningRequest {
  readonly headers: IncomingHttpHeaders;
  /** What the SDK's bearer middleware left on the request. */
  readonly auth: AuthInfo | undefined;
}

/** A small JSON store of the application's own, for one session; it outlives the process where there is a `store`. */
export interface ContextState {
  /** A copy of the value; undefined when there is none. */
  get(key: string): unknown;
  /**
   * Sets a value, or removes it with `undefined`. It is set at once; the promise resolves when it is saved (at once where
   * nothing is), so a handler that awaits it answers only what will outlive the process. Rejects when the store does not
   * answer; the value stays set then, and is saved with the next change.
   *
   * @throws TypeError when the value cannot be written as JSON.
   * @throws RangeError when the value is nested deeper than 1,000 levels, or all values together exceed 64 KiB.
   */
  set(key: string, value: unknown): Promise<void>;
}

/** The revisions of MCP, by how their clients begin: with `initialize` (to 2025-11-25), or with any request (from 2026-07-28). */
export type Era = 'session' | 'request';

/** What `serverFactory` is told of the session that it builds a server for. */
export interface ServerContext {
  /** `request`: the server is for one request of a client that opens no session (`perRequest`). */
  readonly era: Era;
  /** Undefined when stateless, and where `era` is `request`. */
  readonly sessionId: string | undefined;
  readonly principal: string | undefined;
  readonly req: OpeningRequest;
  /**
   * From the `initialize` request; undefined when stateless and this is another one. Where `era` is `request`, from the request
   * itself; undefined when the client does not name itself.
   */
  readonly clientInfo: Implementation | undefined;
  readonly clientCapabilities: ClientCapabilities | undefined;
  /** Whether the session lived before and is built again. */
  readonly restored: boolean;
  /** 0 in a session's first life; grows with each restore. */
  readonly epoch: number;
  /** What the application wants to know again of this session when it is restored. */
  readonly state: ContextState;
  /** Aborts when the session ends or hibernates, or when its opening fails. */
  readonly signal: AbortSignal;
  /**
   * Has `save` called before the session hibernates and its server is closed, to put into `state` what is not there yet. It is
   * awaited; one that throws or rejects keeps the session from hibernating.
   */
  onHibernate(save: () => void | Promise<void>): void;
}

/** Builds the server of one session (of one request, when stateless). Must return a new one each time. */
export type ServerFactory = (context: ServerContext) => McpServerLike | Promise<McpServerLike>;

/** A request of `node:http`, and what the app or its framework may have set on it before the endpoint gets it. */
export interface HttpRequest extends IncomingMessage {
  /** The caller, as authentication found it. */
  auth?: AuthInfo | undefined;
  /** The parsed body, if other code has read it. */
  body?: unknown;
  /** The path and query as the client sent them, if `url` has been changed. Default: `url`. */
  originalUrl?: string;
  /**
   * `https` or `http`: how the client reached the endpoint. Set it to `https` if a proxy of yours ends TLS. Default: by the
   * socket; `X-Forwarded-Proto` and `Forwarded` are never read, as any client can send them.
   */
  protocol?: string;
}

/** Names the caller's party, in the same way for as long as a session may live. Undefined: the party is not known. */
export type PrincipalFunction<R = HttpRequest> = (req: R) => string | undefined;

/** Metrics of an endpoint. */
export interface EndpointMetricsOptions {
  /** Where to register. Default: a registry of the router's own. */
  registry?: Registry | undefined;
  /** Put before each metric's name. Default: none. */
  prefix?: string | undefined;
}

/** Metrics of a router. */
export interface MetricsOptions extends EndpointMetricsOptions {
  /** Whether the router itself serves its metrics path. Default: true. */
  route?: boolean | undefined;
}

/** How the instances of an app share their sessions. The same on all of them, but for where each can be reached. */
export interface ClusterOptions {
  /** The Redis that all nodes share: as for `redisStore`, a `client` or `sendCommand`, and a `prefix`. Required. */
  redis: RedisOptions;
  /** What nodes know one another by, at least 32 bytes (a string counts as UTF-8). The same on all. Required. */
  secret: string;
  /** The address that the private listener is bound to, for the other nodes. Default: `127.0.0.1`, all on one machine. */
  host?: string | undefined;
  /** The port of the private listener; each process of a machine needs its own. Default: 0, one that is free. */
  port?: number | undefined;
  /**
   * The host at which the other nodes reach this one, if that is not `host` (`0.0.0.0`, say). A node joins only if it reaches
   * itself there. Default: `host`.
   */
  advertise?: string | undefined;
  /**
   * How long Redis keeps a node's lease without a renewal, in ms. Other nodes may claim its sessions after that. A forward step
   * of Redis' clock ends a lease too early, and must be prevented. Default: 5,000.
   */
  lease?: number | undefined;
  /** How often a node renews its lease. Default: 1,500. */
  renewInterval?: number | undefined;
  /**
   * How long after its last renewal was sent a node lets go of all that it owns; well before the lease is over, and late enough
   * for a second try. Default: 3,300.
   */
  fenceAfter?: number | undefined;
  /** How long a request is held whose session's owner cannot be reached, until it is 503. More than `lease`. Default: 10,000. */
  claimTimeout?: number | undefined;
  /**
   * What a node does with a request for another one's session: `forward` hands over the request; `migrate` asks for the session,
   * where nodes cannot reach each other. Default: `forward`.
   */
  routing?: 'forward' | 'migrate' | undefined;
}

/**
 * Options of an endpoint. All times are milliseconds. `undefined` is the same as leaving the key out.
 *
 * @typeParam R - The request that `principal` is called with.
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
  /** Absolute age at which a session ends (`lifetime`): unsettled requests may finish, GET streams are ended. Default: none. */
  maxLifetime?: number | undefined;
  /** How long a request may go without answer or progress before it is answered with an error. Default: 3,600,000 (1 h). */
  requestTimeout?: number | undefined;
  /** How long `serverFactory`, `connect` and `initialize` may take together; then all is undone, and 503. Default: 30,000. */
  openTimeout?: number | undefined;
  /**
   * Open sessions, pending opens included, also those whose client hung up. At the cap the longest orphaned session is evicted.
   * If no session is orphaned, the client gets 503. Default: 10,000. With less than 1,266 MiB of V8's old generation: one for
   * each 128 KiB of it above 16 MiB, and at least 100.
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
   * It counts only if sessions outlive their servers (`store`, `cluster`, `hibernateAfter`), as each restore repeats all
   * subscriptions. Default: 1,000.
   */
  maxSubscriptions?: number | undefined;
  /** A fresh server and transport for each request, no session ID; GET and DELETE get 405. Default: false. */
  stateless?: boolean | undefined;
  /**
   * Whether clients of MCP 2026-07-28 are served too. They open no session: each request has a server of its own, which may be one
   * of the SDK's version 1. Off by default, because clients that speak both take the later version as soon as it is offered, and a
   * server that keeps state for its session would have none. Default: false.
   */
  perRequest?: boolean | PerRequestOptions | undefined;
  /** Answer with JSON unless something is streamed before the result. A JSON reply cannot be resumed. Default: false. */
  enableJsonResponse?: boolean | undefined;
  /**
   * Names the principal of a request; a session belongs to the one that opened it. Default: from `req.auth`, `extra.iss`
   * and `extra.sub`, or `clientId` where there is no `sub`.
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
   * Host header values to accept, with or without port. Default: any, but on a loopback address only loopback names
   * (DNS rebinding; spec 2025-11-25, basic/transports, "Security Warning").
   */
  allowedHosts?: readonly string[] | undefined;
  /** Origins to accept beside the endpoint's own; CORS is answered for them. Default: none. */
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
   * came longest ago get 503. A body that arrives in one piece is always read. The params of requests in flight may take as much
   * again (at least 16 MiB), estimated from their values; a request that does not fit gets 503. Default: a quarter of V8's heap limit, at most
   * 268,435,456 (256 MiB), at least `maxBodySize`.
   */
  maxBodyMemory?: number | undefined;
  /** Levels to which arrays and objects may be nested in a POST body, the outermost included. Default: 200. */
  maxDepth?: number | undefined;
  /** Interval of SSE comments on a quiet stream. Default: 15,000. */
  keepAlive?: number | undefined;
  /**
   * The SSE `retry` field in the first event of each stream: how long a client waits before it reconnects; 0 is at once. Without it the
   * field stands only before the end of a stream that the server itself ends, as 1,000. Set it where no client is the MCP Java
   * SDK's: that fails on any `retry` field (java-sdk#1047, open in 2026). Default: none.
   */
  retryInterval?: number | undefined;
  /** Interval of server pings on a standalone stream; one unanswered for as long ends the stream. Default: none. */
  pingInterval?: number | undefined;
  /** Bytes that may wait for a slow reader before its stream is ended (it can resume). Default: 1,048,576 (1 MiB). */
  maxStreamBuffer?: number | undefined;
  /**
   * Bytes that may wait for the readers of all replies together. If more would wait, the replies whose readers have taken nothing
   * for longest are broken off, with a log line each. One reply alone may be larger. Default: a quarter of V8's heap limit, at
   * most 268,435,456 (256 MiB).
   */
  maxReplyMemory?: number | undefined;
  /** Makes streams resumable. Any store of the SDK's interface; always seen through a view of one session. Default: none. */
  eventStore?: EventStore | undefined;
  /**
   * Keeps a record of each session, from which it is restored when this process does not have it: after a restart, say.
   * Default: none.
   */
  store?: SessionStore | undefined;
  /**
   * Makes one endpoint of many instances: any of them answers for any session, without sticky routing. Takes the place of
   * `store`. Default: none.
   */
  cluster?: ClusterOptions | undefined;
  /**
   * How long a session may be orphaned before its server is closed and only its record kept; the next request restores it.
   * Asks that servers keep what they know in `context.state`. Default: none, it is kept as it is.
   */
  hibernateAfter?: number | undefined;
  /**
   * session, ready for use. It helps clients on the SDK's version 1 (`@modelcontextprotocol/sdk`), which adopt that ID. Clients
   * on version 2 (`@modelcontextprotocol/client`, and so `@openai/agents` and `@mastra/mcp`) keep the old ID, and it does
   * nothing for them. The state of the old session is lost. Default: `reject`.
   */
  staleSessions?: 'reject' | 'reissue' | undefined;
  /** Prometheus metrics, or `false`. Default: on, in a registry of the router's own. */
  metrics?: EndpointMetricsOptions | false | undefined;
  /** A pino logger, or `false`. Default: pino to stdout, level from `LOG_LEVEL`, else `info`. */
  logger?: Logger | false | undefined;
  /** Makes session IDs: unique, unguessable, visible ASCII. Default: `crypto.randomUUID`. */
  sessionIdGenerator?: (() => string) | undefined;
  /** Time and timers. Default: Node's. For tests. */
  clock?: Clock | undefined;
}

/** Options of an endpoint below a mount, which a router serves together with its metrics. */
export interface MountOptions {
  /**
   * The endpoint's path below the mount. Default: the mount itself where there is one (`app.use('/mcp', router)`), else
   * `/mcp`. Metrics stand at `/metrics` below the mount.
   */
  path?: string | undefined;
  /** Prometheus metrics, or `false`. Default: on, in a registry of the router's own. */
  metrics?: MetricsOptions | false | undefined;
}

/** All options, whatever the request of `principal` is. */
export type AnyOptions = McpEndpointOptions<never> & MountOptions;

/** The options of a cluster, complete. */
export type ResolvedClusterOptions = { readonly [key in keyof ClusterOptions]-?: NonNullable<ClusterOptions[key]> };

/** Options that are off, or left to the router, where they are not given. */
type WithoutDefault =
  | 'maxLifetime'
  | 'maxSessionsPerPrincipal'
  | 'allowedHosts'
  | 'retryInterval'
  | 'pingInterval'
  | 'eventStore'
  | 'store'
  | 'hibernateAfter'
  | 'logger'
  | 'path';

/** Options whose type here is not that which the user gives. */
type Converted = 'principal' | 'cluster' | 'perRequest';

type WithDefault = Exclude<keyof AnyOptions, WithoutDefault | Converted>;

/** The options as the rest of the package sees them: complete, checked, frozen. */
export type ResolvedOptions = {
  readonly [Name in WithDefault]-?: Exclude<AnyOptions[Name], undefined>;
} & {
  readonly [Name in WithoutDefault]-?: AnyOptions[Name];
} & {
  /** Called with the requests that the app hands over, which are of the type that the function takes. */
  readonly principal: PrincipalFunction | undefined;
  readonly cluster: ResolvedClusterOptions | undefined;
  readonly perRequest: ResolvedPerRequest | false;
};
