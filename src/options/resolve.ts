import { randomUUID } from 'node:crypto';
import { getHeapStatistics } from 'node:v8';
import {
  callable,
  checkOptions,
  clock,
  count,
  delay,
  flag,
  having,
  orFalse,
  strings,
  timer,
  type Check,
} from '../runtime/checks.js';
import { systemClock } from '../runtime/clock.js';
import { resolveCluster } from './resolve-cluster.js';
import type { AnyOptions, PrincipalFunction, ResolvedOptions } from './options.js';

/** RFC 3986, 3.3: a path of non-empty segments, or the root. */
const PATH = /^(\/|(\/[\w.~!$&'()*+,;=:@%-]+)+)$/;

const METRICS_CHECKS = new Map<string, Check>([
  ['registry', having('a prom-client Registry', 'registerMetric', 'getSingleMetric', 'metrics')],
  [
    'prefix',
    (value) =>
      typeof value === 'string' && /^([a-zA-Z_:][\w:]*)?$/.test(value)
        ? undefined
        : 'the beginning of a metric name: letters, digits, _ and :, no digit first',
  ],
  ['route', flag],
]);

const object =
  (wanted: string): Check =>
  (value) =>
    Array.isArray(value) ? wanted : having(wanted)(value);

const metricsOptions: Check = (value) => {
  const wanted = object('an object of registry, prefix, route')(value);
  if (wanted !== undefined) return wanted;
  checkOptions('mcpRouter', value, METRICS_CHECKS, 'metrics.');
  return undefined;
};

const CHECKS = new Map<string, Check>([
  ['serverFactory', callable],
  ['ttl', timer],
  ['orphanAfter', timer],
  ['orphanTtl', timer],
  ['maxLifetime', timer],
  ['requestTimeout', timer],
  ['openTimeout', timer],
  ['maxSessions', count],
  ['maxSessionsPerPrincipal', count],
  ['maxAnonymousSessions', count],
  ['maxRequestsPerSession', count],
  ['maxSubscriptions', count],
  ['stateless', flag],
  ['enableJsonResponse', flag],
  ['principal', callable],
  ['adoptAnonymous', flag],
  ['requirePrincipal', flag],
  ['allowedHosts', strings],
  ['allowedOrigins', origins],
  ['allowCredentials', flag],
  ['maxBodySize', count],
  ['maxBodyMemory', count],
  ['maxDepth', count],
  ['keepAlive', timer],
  ['retryInterval', delay],
  ['pingInterval', timer],
  ['maxStreamBuffer', count],
  ['eventStore', having('an SDK EventStore', 'storeEvent', 'replayEventsAfter')],
  ['store', having('a SessionStore', 'create', 'get', 'update', 'destroy', 'claim')],
  ['cluster', object('an object of redis, secret and more')],
  ['hibernateAfter', timer],
  ['staleSessions', (value) => (value === 'reject' || value === 'reissue' ? undefined : "'reject' or 'reissue'")],
  ['metrics', orFalse(metricsOptions)],
  ['logger', orFalse(having('a pino logger', 'info', 'warn', 'error', 'child', 'isLevelEnabled'))],
  [
    'path',
    (value) =>
      typeof value === 'string' && PATH.test(value)
        ? undefined
        : 'a path such as /mcp, as it stands in URLs, without / at its end',
  ],
  ['sessionIdGenerator', callable],
  ['clock', clock],
]);

/** Options that speak of sessions, which a stateless router does not have. */
const STATEFUL_ONLY = [
  'ttl',
  'orphanAfter',
  'orphanTtl',
  'maxLifetime',
  'maxSessions',
  'maxSessionsPerPrincipal',
  'maxAnonymousSessions',
  'maxRequestsPerSession',
  'maxSubscriptions',
  'pingInterval',
  'eventStore',
  'store',
  'cluster',
  'hibernateAfter',
  'staleSessions',
  'sessionIdGenerator',
  'adoptAnonymous',
] as const satisfies readonly (keyof AnyOptions)[];

function origins(value: unknown): string | undefined {
  const wanted = 'an array of origins such as https://app.example.com';
  if (strings(value) !== undefined) return wanted;
  return (value as string[]).every((origin) => /^(null|[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+)$/.test(origin))
    ? undefined
    : wanted;
}

const MIB = 1024 * 1024;

/** The default of `maxSessions` if the heap has Node's usual size. */
const MOST_SESSIONS = 10_000;

/** The smallest default of `maxSessions`, however small the heap is. */
const FEWEST_SESSIONS = 100;

/** Bytes of heap that the default leaves to the app. */
const HEAP_OF_APP = 16 * MIB;

/**
 * Bytes of V8's young generation, where no session stays. `heap_size_limit` includes it, and V8 does not report its size. It
 * is three semi-spaces of 16 MiB up to Node 22, and 192 MiB in Node 24 (measured with `--max-old-space-size`).
 */
const YOUNG_GENERATION = Number.parseInt(process.versions.node, 10) > 22 ? 192 * MIB : 48 * MIB;

/** Bytes of heap that the default allows for each session. One with 20 tools takes two thirds of it (docs/operations.md). */
const HEAP_PER_SESSION = MIB / 8;

function sessionsThatFit(): number {
  const heap = getHeapStatistics().heap_size_limit - YOUNG_GENERATION - HEAP_OF_APP;
  const fit = Math.floor(heap / HEAP_PER_SESSION);
  return Math.min(MOST_SESSIONS, Math.max(FEWEST_SESSIONS, fit));
}

/** Bodies are outside of V8's heap, but their parsed values are in it. The heap limit shows how large the process may be. */
function defaultBodyMemory(maxBodySize: number): number {
  const quarter = Math.floor(getHeapStatistics().heap_size_limit / 4);
  return Math.max(maxBodySize, Math.min(quarter, 256 * 1024 * 1024));
}

function refuse(message: string): never {
  throw new TypeError(`mcpRouter: ${message}`);
}

/**
 * Checks what the user gave and fills in the defaults.
 *
 * @throws TypeError naming the option, what it got and what it wants: unknown keys, wrong types, numbers out of range
 * (timers past 2^31 - 1 would fire at once), and options that contradict each other.
 */
export function resolveOptions(options: AnyOptions): ResolvedOptions {
  checkOptions('mcpRouter', options, CHECKS);
  if ((options.serverFactory as unknown) === undefined) {
    refuse('option serverFactory must be a function; got undefined');
  }

  const stateless = options.stateless ?? false;
  const stateful = STATEFUL_ONLY.find((key) => options[key] !== undefined);
  if (stateless && stateful !== undefined) {
    refuse(`option ${stateful} has no meaning with stateless: true, which keeps no sessions; leave out one of them`);
  }

  const ttl = options.ttl ?? 30 * 60_000;
  const orphanAfter = options.orphanAfter ?? Math.min(60_000, ttl, options.orphanTtl ?? ttl);
  const orphanTtl = options.orphanTtl ?? ttl;
  const maxSessions = options.maxSessions ?? sessionsThatFit();
  if (orphanAfter > ttl) refuse(`option orphanAfter must be at most ttl (${ttl}); got ${orphanAfter}`);
  if (orphanTtl > ttl) refuse(`option orphanTtl must be at most ttl (${ttl}); got ${orphanTtl}`);
  if (orphanAfter > orphanTtl)
    refuse(`option orphanAfter must be at most orphanTtl (${orphanTtl}); got ${orphanAfter}`);
  if (options.hibernateAfter !== undefined && orphanAfter + options.hibernateAfter >= ttl) {
    refuse(
      `option hibernateAfter must be less than ttl - orphanAfter (${ttl - orphanAfter}), or no session would live to hibernate; ` +
        `got ${options.hibernateAfter}`,
    );
  }
  for (const share of ['maxSessionsPerPrincipal', 'maxAnonymousSessions'] as const) {
    // A small heap lowers the default, which must not make a share invalid: the same options must start in every container.
    const most = options.maxSessions ?? MOST_SESSIONS;
    const value = options[share] ?? 0;
    if (value > most) refuse(`option ${share} must be at most maxSessions (${most}); got ${value}`);
  }

  if (options.allowCredentials === true && options.allowedOrigins?.includes('null') === true) {
    refuse(
      "option allowCredentials must not be true with 'null' in allowedOrigins, which is the origin of any site's sandboxed frame",
    );
  }

  if (options.store !== undefined && options.cluster !== undefined) {
    refuse('option store has no meaning with cluster, which keeps the records in its Redis; leave out one of them');
  }

  const maxBodySize = options.maxBodySize ?? 4 * 1024 * 1024;
  if (options.maxBodyMemory !== undefined && options.maxBodyMemory < maxBodySize) {
    refuse(`option maxBodyMemory must be at least maxBodySize (${maxBodySize}); got ${options.maxBodyMemory}`);
  }

  const metrics = options.metrics ?? {};
  if (options.path === '/metrics' && metrics !== false && metrics.route !== false) {
    refuse('option path must not be /metrics, where the metrics are served, unless metrics.route is false');
  }

  return Object.freeze({
    serverFactory: options.serverFactory,
    ttl,
    orphanAfter,
    orphanTtl,
    maxLifetime: options.maxLifetime,
    requestTimeout: options.requestTimeout ?? 60 * 60_000,
    openTimeout: options.openTimeout ?? 30_000,
    maxSessions,
    maxSessionsPerPrincipal: options.maxSessionsPerPrincipal,
    maxAnonymousSessions: options.maxAnonymousSessions ?? maxSessions,
    maxRequestsPerSession: options.maxRequestsPerSession ?? 1_000,
    maxSubscriptions: options.maxSubscriptions ?? 1_000,
    stateless,
    enableJsonResponse: options.enableJsonResponse ?? false,
    // The endpoint calls it with the requests that the app hands over, which are of the type that the function takes.
    principal: options.principal as PrincipalFunction | undefined,
    adoptAnonymous: options.adoptAnonymous ?? false,
    requirePrincipal: options.requirePrincipal ?? false,
    allowedHosts: options.allowedHosts && Object.freeze([...options.allowedHosts]),
    allowedOrigins: Object.freeze([...(options.allowedOrigins ?? [])]),
    allowCredentials: options.allowCredentials ?? false,
    maxBodySize,
    maxBodyMemory: options.maxBodyMemory ?? defaultBodyMemory(maxBodySize),
    maxDepth: options.maxDepth ?? 200,
    keepAlive: options.keepAlive ?? 15_000,
    retryInterval: options.retryInterval,
    pingInterval: options.pingInterval,
    maxStreamBuffer: options.maxStreamBuffer ?? 1024 * 1024,
    eventStore: options.eventStore,
    store: options.store,
    cluster: options.cluster && resolveCluster(options.cluster),
    hibernateAfter: options.hibernateAfter,
    staleSessions: options.staleSessions ?? 'reject',
    metrics,
    logger: options.logger,
    path: options.path,
    sessionIdGenerator: options.sessionIdGenerator ?? randomUUID,
    clock: options.clock ?? systemClock,
  });
}
