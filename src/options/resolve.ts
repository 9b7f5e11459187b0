import { IncomingMessage } from 'node:http';
import { checkOptions, timer, type Check } from '../runtime/checks.js';
import { MOST_SESSIONS } from './heap-defaults.js';
import { OPTIONS, type OptionName } from './option-table.js';
import { resolveCluster } from './resolve-cluster.js';
import { resolvePerRequest } from './resolve-per-request.js';
import type { AnyOptions, ResolvedOptions } from './options.js';

const CHECKS = new Map<string, Check>([...OPTIONS].map(([name, { check }]) => [name, check]));

const SESSIONS_ONLY = [...OPTIONS].filter(([, { sessionsOnly }]) => sessionsOnly);

function refuse(message: string): never {
  throw new TypeError(`mcpRouter: ${message}`);
}

/**
 * Checks the app's options and fills in the defaults.
 *
 * @throws TypeError when an option is unknown, of a wrong type or out of range, or when two options contradict each other. The
 * message has the option, its value and a valid one. A timer above 2^31 - 1 ms is out of range, as it would fire at once.
 */
export function resolveOptions(options: AnyOptions): ResolvedOptions {
  if ((options as unknown) instanceof IncomingMessage) {
    refuse(
      'it was mounted as a request handler, and got a request in place of options; ' +
        "mount what it returns: app.use('/mcp', mcpRouter({ serverFactory }))",
    );
  }
  checkOptions('mcpRouter', options, CHECKS);
  if ((options.serverFactory as unknown) === undefined) {
    refuse('option serverFactory must be a function; got undefined');
  }

  const known = withDefaults(options);
  const { ttl, orphanAfter, orphanTtl, maxBodySize, metrics } = known;
  if (!known.sessions) checkWithoutSessions(options);
  const isPerRequest = (options.perRequest ?? false) !== false;
  const [stateful] =
    SESSIONS_ONLY.find(([name, row]) => options[name] !== undefined && !(isPerRequest && row.alsoPerRequest)) ?? [];
  if (stateful !== undefined && (known.stateless || !known.sessions)) {
    const off = known.stateless ? 'stateless: true' : 'sessions: false';
    refuse(`option ${stateful} has no meaning with ${off}, which keeps no sessions; leave out one of them`);
  }

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
    // The usual default, not that of a small heap: the same options must be valid in every container.
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

  if (options.maxBodyMemory !== undefined && options.maxBodyMemory < maxBodySize) {
    refuse(`option maxBodyMemory must be at least maxBodySize (${maxBodySize}); got ${options.maxBodyMemory}`);
  }

  if (options.path === '/metrics' && metrics !== false && metrics.route !== false) {
    refuse('option path must not be /metrics, where the metrics are served, unless metrics.route is false');
  }

  return Object.freeze({
    ...known,
    allowedHosts: known.allowedHosts && Object.freeze([...known.allowedHosts]),
    allowedOrigins: Object.freeze([...known.allowedOrigins]),
    cluster: options.cluster && resolveCluster(options.cluster),
    perRequest: resolvePerRequest(options.perRequest ?? false),
  });
}

function checkWithoutSessions({ perRequest = false, stateless = false }: AnyOptions): void {
  if (perRequest === false)
    refuse('option sessions must be true without perRequest, or no client is served; got false');
  if (stateless) {
    refuse(
      'option stateless has no meaning with sessions: false, which serves only MCP 2026-07-28; leave out one of them',
    );
  }
}

const SECOND = 1_000;

/**
 * Warns of times that are less than a second, which were probably meant as seconds.
 *
 * An `orphanAfter` or `orphanTtl` of the same time as `ttl` is its default.
 */
export function warnOfShortTimes(options: ResolvedOptions, warn: (message: string) => void): void {
  const short = [...OPTIONS]
    .filter(([, { check }]) => check === timer)
    .map(([name, { defaultFrom }]) => ({ name, value: options[name] as number | undefined, defaultFrom }))
    .filter(
      ({ value = SECOND, defaultFrom }) => value < SECOND && (defaultFrom === undefined || value !== options.ttl),
    );
  if (short.length === 0) return;
  const list = short.map(({ name, value }) => `${name} (${value})`).join(', ');
  warn(`options of less than a second: ${list}; all times are milliseconds`);
}

/** Fills in the defaults. `cluster` and `perRequest` are not resolved yet. */
function withDefaults(options: AnyOptions): ResolvedOptions {
  const known: Partial<Record<OptionName, unknown>> = {};
  for (const [name, row] of OPTIONS) {
    known[name] = options[name] ?? row.default ?? row.defaultFrom?.(known as ResolvedOptions, options);
  }
  return known as ResolvedOptions;
}
