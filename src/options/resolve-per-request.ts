import { checkOptions, count, timer, type Check } from '../runtime/checks.js';
import { object } from './option-checks.js';
import type { PerRequestSdk } from './per-request-sdk.js';

/** How a client may cache the results of a method (MCP 2026-07-28, server/utilities/caching). */
export interface CacheHint {
  /** How long a result may be cached, in ms. Default: 0. */
  ttlMs?: number | undefined;
  /** `public`: caches may give the result to every user. Default: `private`. */
  cacheScope?: 'public' | 'private' | undefined;
}

/** How requests of MCP 2026-07-28 are served. */
export interface PerRequestOptions {
  /** `v2()` of `express-mcp-router/v2`: servers of the SDK's version 2 serve such requests themselves. Default: all are bridged. */
  sdk?: PerRequestSdk | undefined;
  /**
   * `request`: a new server for each request. `principal`: the requests of a principal share one. Those to a bridged server do so
   * if they declare the same client capabilities and client name. A request without a principal has one of its own. Default:
   * `request`.
   */
  servers?: 'request' | 'principal' | undefined;
  /**
   * Servers that are shared at once. For one more, the one that is idle for longest is closed; if all are in use, the request has
   * a server of its own. Default: 1,000.
   */
  maxServers?: number | undefined;
  /** Shared servers of one principal at most. It has several when its clients differ. Default: 20. */
  maxServersPerPrincipal?: number | undefined;
  /** How long a shared server without requests is kept, in ms. Default: 60,000 (1 min). */
  serverIdle?: number | undefined;
  /** How long a handler may wait for its client's answer, in ms. Default: 600,000 (10 min). */
  suspendTtl?: number | undefined;
  /** Handlers that may wait at the same time. One more is cancelled, and its request gets 503. Default: 1,000. */
  maxSuspended?: number | undefined;
  /** The same within one named principal. Default: 20. */
  maxSuspendedPerPrincipal?: number | undefined;
  /** The same for all callers without a principal. Default: `maxSuspended`. */
  maxSuspendedAnonymous?: number | undefined;
  /** Open `subscriptions/listen` streams; one more gets 503. Default: 1,024. */
  maxSubscriptions?: number | undefined;
  /** The same within one named principal. Default: 20. */
  maxSubscriptionsPerPrincipal?: number | undefined;
  /** The same for all callers without a principal. Default: `maxSubscriptions`. */
  maxSubscriptionsAnonymous?: number | undefined;
  /** Caching hints by method, such as `tools/list`. Default of each: 0 ms, `private`. */
  cacheHints?: Readonly<Record<string, CacheHint>> | undefined;
}

/** {@link PerRequestOptions} with all defaults. */
export interface ResolvedPerRequest {
  readonly sdk: PerRequestSdk | undefined;
  readonly servers: 'request' | 'principal';
  readonly maxServers: number;
  readonly maxServersPerPrincipal: number;
  readonly serverIdle: number;
  readonly suspendTtl: number;
  readonly maxSuspended: number;
  readonly maxSuspendedPerPrincipal: number;
  readonly maxSuspendedAnonymous: number;
  readonly maxSubscriptions: number;
  readonly maxSubscriptionsPerPrincipal: number;
  readonly maxSubscriptionsAnonymous: number;
  readonly cacheHints: ReadonlyMap<string, Required<CacheHint>>;
}

const isSdk = (value: unknown): value is PerRequestSdk =>
  typeof value === 'object' && value !== null && 'adapt' in value && typeof value.adapt === 'function';

const MINUTE = 60_000;

const HINT_CHECKS = new Map<string, Check>([
  ['ttlMs', (value) => (value === 0 ? undefined : count(value) && 'a whole number of milliseconds, 0 or more')],
  ['cacheScope', (value) => (value === 'public' || value === 'private' ? undefined : "'public' or 'private'")],
]);

const CHECKS = new Map<string, Check>([
  ['sdk', (value) => (isSdk(value) ? undefined : "v2() of 'express-mcp-router/v2'")],
  ['servers', (value) => (value === 'request' || value === 'principal' ? undefined : "'request' or 'principal'")],
  ['maxServers', count],
  ['maxServersPerPrincipal', count],
  ['serverIdle', timer],
  ['suspendTtl', timer],
  ['maxSuspended', count],
  ['maxSuspendedPerPrincipal', count],
  ['maxSuspendedAnonymous', count],
  ['maxSubscriptions', count],
  ['maxSubscriptionsPerPrincipal', count],
  ['maxSubscriptionsAnonymous', count],
  ['cacheHints', object('an object of methods, each with ttlMs and cacheScope')],
]);

/**
 * Checks the option `perRequest` and fills in its defaults. Returns `false` when it is off.
 *
 * @throws TypeError when an option is wrong. The message has the option, its value and a valid one.
 */
export function resolvePerRequest(given: boolean | PerRequestOptions): ResolvedPerRequest | false {
  if (given === false) return false;
  const options = given === true ? {} : given;
  checkOptions('mcpRouter', options, CHECKS, 'perRequest.');
  const { servers = 'request', maxServers = 1_000, maxServersPerPrincipal = 20, serverIdle = MINUTE } = options;
  const { suspendTtl = 10 * MINUTE, maxSuspended = 1_000, maxSuspendedPerPrincipal = 20 } = options;
  const { maxSuspendedAnonymous = maxSuspended, cacheHints = {} } = options;
  const { maxSubscriptions = 1_024, maxSubscriptionsPerPrincipal = 20 } = options;
  return Object.freeze({
    sdk: options.sdk,
    servers,
    maxServers,
    maxServersPerPrincipal,
    serverIdle,
    suspendTtl,
    maxSuspended,
    maxSuspendedPerPrincipal,
    maxSuspendedAnonymous,
    maxSubscriptions,
    maxSubscriptionsPerPrincipal,
    maxSubscriptionsAnonymous: options.maxSubscriptionsAnonymous ?? maxSubscriptions,
    cacheHints: new Map(Object.entries(cacheHints).map(([method, hint]) => [method, resolveHint(method, hint)])),
  });
}

function resolveHint(method: string, hint: CacheHint): Required<CacheHint> {
  checkOptions('mcpRouter', hint, HINT_CHECKS, `perRequest.cacheHints['${method}'].`);
  return { ttlMs: hint.ttlMs ?? 0, cacheScope: hint.cacheScope ?? 'private' };
}
