import fc from 'fast-check';
import type { McpRouterOptions } from '../src/index.js';

const MAX_TIMER = 2_147_483_647;

/** The accepted values of an option, by a rule that shares no code with src, and values near the limit. */
export interface Shape {
  readonly accepts: (value: unknown) => boolean;
  readonly near: fc.Arbitrary<unknown>;
}

const whole = (max: number): Shape => ({
  accepts: (value) => typeof value === 'number' && value % 1 === 0 && value > 0 && value <= max,
  near: fc.oneof(
    fc.integer(),
    fc.double(),
    fc.constantFrom(0, -0, 1, -1, 0.5, max, max + 1, 2 ** 53, NaN, Infinity, '1000', '1', [1000], true),
  ),
});
const flag: Shape = {
  accepts: (value) => value === true || value === false,
  near: fc.constantFrom(true, false, 'true', 'false', 0, 1, null),
};
const callable: Shape = {
  accepts: (value) => typeof value === 'function',
  near: fc.constantFrom(
    () => 'x',
    async () => 'x',
    Date,
    'name',
    {},
    null,
  ),
};
const isText = (value: unknown): boolean => typeof value === 'string' && value.length > 0;
const each = (accepts: (value: string) => boolean, ...entries: unknown[]): Shape => ({
  accepts: (value) => Array.isArray(value) && !value.some((entry) => !isText(entry) || !accepts(entry)),
  near: fc.oneof(fc.array(fc.constantFrom(...entries)), fc.constantFrom(...entries)),
});
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
/** An object with these methods, or less or other than that. */
const having = (...names: string[]): Shape => ({
  accepts: (value) => isObject(value) && names.every((name) => Reflect.get(value, name) instanceof Function),
  near: fc.dictionary(
    fc.constantFrom(...names),
    fc.constantFrom(() => undefined, 'no function'),
    { minKeys: names.length - 1 },
  ),
});
const orFalse = ({ accepts, near }: Shape): Shape => ({
  accepts: (value) => value === false || accepts(value),
  near: fc.oneof(near, fc.constant(false)),
});
const text = (accepts: RegExp, ...near: unknown[]): Shape => ({
  accepts: (value) => typeof value === 'string' && accepts.test(value),
  near: fc.oneof(fc.constantFrom(...near), fc.string()),
});

const REGISTRY = ['registerMetric', 'getSingleMetric', 'metrics'];
const prefix = text(/^$|^[A-Za-z_:][A-Za-z0-9_:]*$/, '', 'app_', 'a:b_', '_', '5', '5xx_', 'my-app_', 'ä', 'app_\n', 7);
const optional = ({ accepts }: Shape, value: unknown): boolean => value === undefined || accepts(value);
const metrics: Shape = {
  accepts: (value) =>
    isObject(value) &&
    !Array.isArray(value) &&
    Object.keys(value).every((key) => ['registry', 'prefix', 'tools', 'route'].includes(key)) &&
    optional(having(...REGISTRY), Reflect.get(value, 'registry')) &&
    optional(prefix, Reflect.get(value, 'prefix')) &&
    optional(flag, Reflect.get(value, 'tools')) &&
    optional(flag, Reflect.get(value, 'route')),
  near: fc.record(
    {
      registry: having(...REGISTRY).near,
      prefix: prefix.near,
      tools: flag.near,
      route: flag.near,
      other: fc.constant(1),
    },
    { requiredKeys: [] },
  ),
};

const timer = whole(MAX_TIMER);
const count = whole(Number.MAX_SAFE_INTEGER);
const ORIGINS = [
  'https://app.example.com',
  'http://localhost:3000',
  'null',
  'app.example.com',
  'https://app.example.com/',
  '*',
  '',
  7,
];
const REDIS = { sendCommand: () => Promise.reject(new Error('no Redis')) };
const SECRET = 'a secret of no less than 32 bytes';
/** __tests__/cluster/options.test.ts tests the options within `cluster`. */
const cluster: Shape = {
  accepts: (value) => isObject(value) && Reflect.get(value, 'secret') === SECRET,
  near: fc.constantFrom(
    { redis: REDIS, secret: SECRET },
    { redis: REDIS, secret: 'too short' },
    {},
    7,
    'redis',
    null,
    [],
  ),
};
const LOGGER = ['info', 'warn', 'error', 'child', 'isLevelEnabled'];

/** By option. */
export const SHAPES: Record<keyof McpRouterOptions, Shape> = {
  serverFactory: callable,
  ttl: timer,
  // Alone they contradict the default of `ttl`, or of `maxSessions`, when they are larger.
  orphanAfter: whole(1_800_000),
  orphanTtl: whole(1_800_000),
  maxLifetime: timer,
  requestTimeout: timer,
  openTimeout: timer,
  maxSessions: count,
  maxSessionsPerPrincipal: whole(10_000),
  maxAnonymousSessions: whole(10_000),
  maxRequestsPerSession: count,
  maxSubscriptions: count,
  stateless: flag,
  perRequest: {
    accepts: (value) =>
      flag.accepts(value) || (isObject(value) && !Array.isArray(value) && Object.keys(value).length === 0),
    near: fc.constantFrom(true, false, {}, [], { other: 1 }, 'true', 0, null),
  },
  // Without `perRequest`, `false` is refused.
  sessions: { accepts: (value) => value === true, near: flag.near },
  enableJsonResponse: flag,
  principal: callable,
  adoptAnonymous: flag,
  requirePrincipal: flag,
  resourceMetadataUrl: text(
    /^https?:\/\/[\w.:/-]+$/,
    'https://mcp.example.com/.well-known/oauth-protected-resource',
    'http://localhost:3000/meta',
    'https://a b',
    'https://a"b',
    'ftp://a.example',
    '/meta',
    '',
    7,
  ),
  allowedHosts: each(() => true, 'mcp.example.com', 'localhost:3000', '', 7, null, ['nested']),
  allowedOrigins: each((origin) => origin === 'null' || /^[a-z]+:\/\/[\w.:-]+$/.test(origin), ...ORIGINS),
  allowCredentials: flag,
  maxBodySize: count,
  // A value below the default of `maxBodySize` contradicts it.
  maxBodyMemory: {
    accepts: (value) => count.accepts(value) && Number(value) >= 4 * 1024 * 1024,
    near: fc.oneof(count.near, fc.constantFrom(4 * 1024 * 1024 - 1, 4 * 1024 * 1024)),
  },
  maxDepth: count,
  keepAlive: timer,
  retryInterval: {
    accepts: (value) => value === 0 || timer.accepts(value),
    near: timer.near,
  },
  pingInterval: timer,
  maxStreamBuffer: count,
  maxReplyMemory: count,
  eventStore: having('storeEvent', 'replayEventsAfter'),
  store: having('create', 'get', 'update', 'destroy', 'claim'),
  cluster,
  // Alone it contradicts the defaults of `ttl` and `orphanAfter` when it is larger.
  hibernateAfter: whole(1_739_999),
  staleSessions: text(/^(reject|reissue)$/, 'reject', 'reissue', 'Reject', 'reissue ', '', 7, true),
  metrics: orFalse(metrics),
  telemetry: having('instrument'),
  logger: orFalse(having(...LOGGER)),
  path: text(
    /^\/$|^(\/([A-Za-z0-9]|[-._~%!$&'()*+,;=:@])+)+$/,
    '/',
    '/mcp',
    '/a/b',
    '/mcp/',
    'mcp',
    '',
    '//',
    '/a//b',
    '/mcp?x',
    '/mcp#x',
    '/a b',
    7,
  ),
  sessionIdGenerator: callable,
  clock: having('now', 'setTimeout', 'clearTimeout'),
};
export const KEYS = Object.keys(SHAPES) as (keyof McpRouterOptions)[];
