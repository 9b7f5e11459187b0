import { trustedProxyPrincipal, type McpRouterOptions } from 'express-mcp-router';
import { nearestName } from './nearest.js';
import { APP, ROUTER, VARIABLES, type AppVariable, type Kind } from './variables.js';

/** A mistake in the configuration. The operator can correct it from the message alone, so no stack is printed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Where sessions are recorded. */
export type Place =
  | { readonly kind: 'memory' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'redis'; readonly url: string }
  | { readonly kind: 'cluster'; readonly url: string; readonly options: Omit<ClusterOptions, 'redis'> };

type ClusterOptions = NonNullable<McpRouterOptions['cluster']>;

export interface Config {
  readonly port: number;
  readonly host: string;
  readonly logLevel: string;
  readonly drainTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** The token that operators send. Undefined: requests from this machine count as an operator's. */
  readonly adminToken: string | undefined;
  /** Undefined: sessions are not recorded. */
  readonly place: Place | undefined;
  /** Whether an event store keeps recent events, so that clients can resume streams. */
  readonly resumable: boolean;
  /** The version of the SDK whose servers serve the clients. */
  readonly sdk: 'v1' | 'v2';
  /** The base URL of a collector of traces. Undefined: nothing is traced. */
  readonly otlpEndpoint: string | undefined;
  /** The options that the environment sets. The router has defaults for the others. */
  readonly router: Omit<
    McpRouterOptions,
    'serverFactory' | 'store' | 'eventStore' | 'cluster' | 'telemetry' | 'perRequest'
  > & {
    readonly perRequest?: boolean;
  };
  /** Settings that are probably mistakes. They do not stop the start. */
  readonly warnings: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads one value. An empty value counts as unset: `NAME=` in a file, or a template without a value, gives one. */
export function readValue<T>(name: string, kind: Kind<T>, given: string | undefined): T | undefined {
  const text = given?.trim() ?? '';
  if (text === '') return undefined;
  const value = kind.parse(text);
  if (value !== undefined) return value;
  throw new ConfigError(`${name} must be ${kind.wanted}${kind.secret === true ? '' : `; got ${JSON.stringify(text)}`}`);
}

/**
 * Reads the configuration of the app from its environment.
 *
 * @throws ConfigError when a value is invalid; its message has the variable, the value and the expected form.
 */
export function loadConfig(env: Environment): Config {
  const given = <T>({ name, kind }: AppVariable<T>) => readValue(name, kind, env[name]);
  const own = <T>(variable: AppVariable<T>) => given(variable) ?? variable.fallback;

  const options: Config['router'] = Object.fromEntries(
    ROUTER.map(({ name, kind, option }) => [option, readValue(name, kind, env[name])]),
  );
  const identity = own(APP.trustProxyIdentity) && {
    requirePrincipal: true,
    principal: inVariables(() =>
      trustedProxyPrincipal({ header: own(APP.proxyHeader), trustedProxies: own(APP.trustedProxies) }),
    ),
  };
  const place = own(APP.cluster)
    ? clusterOf(own)
    : placeOf(own(APP.sessionStore), own(APP.sessionFile), own(APP.redisUrl));
  const withoutSessions = keepsSessions(options)
    ? undefined
    : options.stateless === true
      ? 'MCP_STATELESS: true'
      : 'MCP_SESSIONS: false';
  // The router refuses this too, but it is created only after the stores are open.
  if (place !== undefined && withoutSessions !== undefined && !own(APP.perRequest)) {
    const { name } = place.kind === 'cluster' ? APP.cluster : APP.sessionStore;
    throw new ConfigError(`${name} has no meaning with ${withoutSessions}, which keeps no sessions`);
  }
  return {
    port: own(APP.port),
    host: own(APP.host),
    logLevel: own(APP.logLevel),
    drainTimeoutMs: own(APP.drainTimeoutMs),
    keepAliveTimeoutMs: own(APP.keepAliveTimeoutMs),
    adminToken: own(APP.adminToken),
    place,
    // The default must not contradict MCP_STATELESS or MCP_SESSIONS; only an explicit value may.
    resumable: given(APP.resumable) ?? (APP.resumable.fallback && withoutSessions === undefined),
    otlpEndpoint: own(APP.otlpEndpoint),
    sdk: own(APP.sdk),
    router: { ...options, perRequest: own(APP.perRequest), ...identity },
    warnings: [
      ...unknownNames(env),
      ...COMPANIONS.filter(({ of, to }) => isSet(env[of.name]) && !to.some(([{ name }]) => isSet(env[name]))).map(
        ({ of, to }) =>
          `${of.name} has no effect without ${to.map(([{ name }, value]) => `${name}=${value}`).join(' or ')}`,
      ),
    ],
  };
}

/** Whether the router keeps sessions with these options. */
export function keepsSessions({ stateless, sessions }: Config['router']): boolean {
  return stateless !== true && sessions !== false;
}

/** Variables without effect unless another one has a certain value. */
const COMPANIONS = [
  { of: APP.proxyHeader, to: [[APP.trustProxyIdentity, 'true']] },
  { of: APP.trustedProxies, to: [[APP.trustProxyIdentity, 'true']] },
  { of: APP.sessionFile, to: [[APP.sessionStore, 'file']] },
  {
    of: APP.redisUrl,
    to: [
      [APP.sessionStore, 'redis'],
      [APP.cluster, 'true'],
    ],
  },
  { of: APP.clusterSecret, to: [[APP.cluster, 'true']] },
  { of: APP.clusterHost, to: [[APP.cluster, 'true']] },
  { of: APP.clusterPort, to: [[APP.cluster, 'true']] },
  { of: APP.clusterAdvertise, to: [[APP.cluster, 'true']] },
  { of: APP.clusterRouting, to: [[APP.cluster, 'true']] },
] as const;

function placeOf(
  kind: Exclude<Place['kind'], 'cluster'> | undefined,
  path: string | undefined,
  url: string | undefined,
): Place | undefined {
  const needing = `${APP.sessionStore.name}=${kind}`;
  switch (kind) {
    case 'file':
      return { kind, path: path ?? missing(APP.sessionFile.name, needing) };
    case 'redis':
      return { kind, url: url ?? missing(APP.redisUrl.name, needing) };
    default:
      return kind && { kind };
  }
}

function clusterOf(own: <T>(variable: AppVariable<T>) => T): Place {
  const store = own(APP.sessionStore);
  const needing = `${APP.cluster.name}=true`;
  if (store !== undefined && store !== 'redis') {
    throw new ConfigError(
      `${APP.sessionStore.name}=${store} has no meaning with ${needing}, which records sessions in Redis; leave out one of them`,
    );
  }
  return {
    kind: 'cluster',
    url: own(APP.redisUrl) ?? missing(APP.redisUrl.name, needing),
    options: {
      secret: own(APP.clusterSecret) ?? missing(APP.clusterSecret.name, needing),
      host: own(APP.clusterHost),
      port: own(APP.clusterPort),
      advertise: own(APP.clusterAdvertise),
      routing: own(APP.clusterRouting),
    },
  };
}

function missing(name: string, needing: string): never {
  throw new ConfigError(`${name} is needed with ${needing}`);
}

/** The names in the package's error messages, each with the variable that stands for it in this app. */
const VARIABLE_OF_OPTION: readonly (readonly [string, string])[] = [
  ...ROUTER.map(({ option, name }) => [option, name] as const),
  ['eventStore', APP.resumable.name],
  ['perRequest', APP.perRequest.name],
  ['header', APP.proxyHeader.name],
  ['trustedProxies', APP.trustedProxies.name],
  ['cluster.host', APP.clusterHost.name],
  ['cluster.advertise', APP.clusterAdvertise.name],
  ['with host', `with ${APP.clusterHost.name}`],
];

/**
 * Runs a function that checks options, and translates its error messages from options to variables.
 *
 * @throws ConfigError when the package throws a TypeError about an option; any other error as it is.
 */
export function inVariables<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    const [, complaint] =
      error instanceof TypeError
        ? (/^(?:mcpRouter|trustedProxyPrincipal): (?:option )?(.*)$/.exec(error.message) ?? [])
        : [];
    if (complaint === undefined) throw error;
    // Only the first occurrence: a later one may be a plain word ("header must be the name of a header").
    const message = VARIABLE_OF_OPTION.reduce(
      (text, [option, name]) => text.replace(new RegExp(`\\b${option}\\b`), name),
      complaint,
    );
    throw new ConfigError(message, { cause: error });
  }
}

/** Unknown names only cause warnings: Kubernetes sets MCP_PORT and more in each container if a service is named "mcp". */
function unknownNames(env: Environment): string[] {
  const known = VARIABLES.map(({ name }) => name);
  return Object.keys(env)
    .filter((name) => name.startsWith('MCP_') && isSet(env[name]) && !known.includes(name))
    .map((name) => {
      const nearest = nearestName(name, known, 'MCP_');
      return `${name} is not a variable of this app${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
    });
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value.trim() !== '';
}
