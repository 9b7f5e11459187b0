import { readFileSync } from 'node:fs';
import { getHeapStatistics } from 'node:v8';
import fc from 'fast-check';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../src/runtime/clock.js';
import { mcpRouter, memoryEventStore, type McpRouterOptions } from '../src/index.js';
import { OPTIONS } from '../src/options/option-table.js';
import { resolveOptions } from '../src/options/resolve.js';
import { memoryStore } from '../src/stores/index.js';
import { KEYS, SHAPES } from './option-shapes.js';
import { FakeClock } from './support/fake-clock.js';
import { echoServer } from './support/harness.js';

const serverFactory = () => echoServer();
/** Takes what types would not let through, as callers in JavaScript do. */
const resolve = (options: object) => resolveOptions({ serverFactory, ...options });
const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});

function errorOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('each option', () => {
  test.each(KEYS)(
    '%s is accepted in its documented shape; anything else is a TypeError: the option, what it wants, what it got',
    (key) => {
      const { accepts, near } = SHAPES[key];
      fc.assert(
        fc.property(fc.oneof(near, anything), (value) => {
          const options = { serverFactory, [key]: value };
          const error = errorOf(() => resolveOptions(options));
          if (accepts(value) || (value === undefined && key !== 'serverFactory')) {
            expect(error).toBeUndefined();
            return;
          }
          expect(error).toBeInstanceOf(TypeError);
          expect((error as Error).message).toMatch(
            new RegExp(
              `^mcpRouter: (option ${key}[.a-z]* must be .+; got .+|unknown option (metrics|cluster|perRequest)\\..*; known are .+)$`,
              's',
            ),
          );
        }),
        { numRuns: 300 },
      );
    },
  );

  test.each(KEYS)('%s: undefined is the same as leaving it out', (key) => {
    if (key === 'serverFactory')
      expect(() => resolve({ serverFactory: undefined })).toThrow(/option serverFactory .* got undefined/);
    else expect(resolve({ [key]: undefined })).toEqual(resolve({}));
  });

  test('takes what it is made for', () => {
    const eventStore = memoryEventStore();
    const registry = new Registry();
    const logger = pino({ enabled: false });
    const clock = new FakeClock();
    expect(resolve({ eventStore, metrics: { registry, prefix: 'app_', route: false }, logger, clock })).toMatchObject({
      eventStore,
      logger,
      clock,
    });
  });

  test('is read where a class has it as a getter too', () => {
    class Settings {
      serverFactory = serverFactory;
      get ttl() {
        return -1;
      }
    }
    expect(() => resolveOptions(new Settings())).toThrow(
      'option ttl must be a whole number of milliseconds from 1 to 2147483647; got -1',
    );
  });
});

describe('the defaults', () => {
  // docs.test.ts holds the plain ones to docs/options.md.
  test('that are computed are those that docs/options.md describes', () => {
    const { sessionIdGenerator, ...defaults } = resolve({});
    expect(defaults).toMatchObject({
      orphanAfter: 60_000,
      orphanTtl: 1_800_000,
      maxSessions: 10_000,
      maxAnonymousSessions: 10_000,
      allowedOrigins: [],
      metrics: {},
      clock: systemClock,
    });
    expect(sessionIdGenerator()).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
    expect(sessionIdGenerator()).not.toBe(sessionIdGenerator());
  });

  test('are stated as they are in the TSDoc of each option', () => {
    const source = readFileSync('src/options/options.ts', 'utf8').split('interface McpEndpointOptions')[1]!;
    const stated = [...source.matchAll(/Default: ([\d,]+|none|false)[\s\S]*?\*\/\n {2}(\w+)\??:/g)].map(
      ([, value, name]) => [name!, value!],
    );
    expect(stated.length).toBeGreaterThan(15);
    const defaults = resolve({}) as unknown as Record<string, unknown>;
    for (const [name, value] of stated) {
      const wanted = { none: [undefined, []], false: [false] }[value!] ?? [Number(value!.replaceAll(',', ''))];
      expect([name, wanted]).toEqual([name, expect.arrayContaining([defaults[name!]])]);
    }
  });

  test.each([
    [{ ttl: 5_000 }, { orphanAfter: 5_000, orphanTtl: 5_000 }],
    [{ ttl: 90_000 }, { orphanAfter: 60_000, orphanTtl: 90_000 }],
    [{ orphanTtl: 5_000 }, { orphanAfter: 5_000, orphanTtl: 5_000 }],
    [
      { ttl: 5_000, orphanTtl: 2_000 },
      { orphanAfter: 2_000, orphanTtl: 2_000 },
    ],
    [{ orphanAfter: 1 }, { orphanAfter: 1, orphanTtl: 1_800_000 }],
  ])('of orphanAfter and orphanTtl follow the shorter ttl: %j', (given, expected) => {
    expect(resolve(given)).toMatchObject(expected);
  });
});

describe('maxBodyMemory', () => {
  const quarter = Math.floor(getHeapStatistics().heap_size_limit / 4);

  test('is a quarter of the heap limit, 256 MiB at most and maxBodySize at least', () => {
    expect(resolve({}).maxBodyMemory).toBe(Math.max(4 * 1024 * 1024, Math.min(quarter, 256 * 1024 * 1024)));
    expect(resolve({ maxBodySize: 2 ** 40 }).maxBodyMemory).toBe(2 ** 40);
  });

  test('must be at least maxBodySize', () => {
    expect(() => resolve({ maxBodySize: 1_000, maxBodyMemory: 999 })).toThrow(
      'option maxBodyMemory must be at least maxBodySize (1000); got 999',
    );
  });
});

describe('the options as a whole', () => {
  test.each([undefined, null, 7, 'options', serverFactory, []])(
    'must be an object with serverFactory; got %p',
    (options) => {
      expect(() => resolveOptions(options as never)).toThrow(TypeError);
      expect(() => resolveOptions(options as never)).toThrow(/serverFactory.*; got /);
    },
  );

  test('must have no key that is unknown; the error names it and those that are known', () => {
    const inherited = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    const misspelt = ['Ttl', 'serverfactory', 'max_sessions', 'store', ''];
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom(...inherited, ...misspelt)), fc.anything(), (key, value) => {
        fc.pre(!KEYS.includes(key as never));
        // As JSON.parse makes it: an own key, also where it is `__proto__`.
        const options = Object.defineProperty({ serverFactory }, key, { value, enumerable: true });
        const error = errorOf(() => resolveOptions(options)) as Error;
        expect(error).toBeInstanceOf(TypeError);
        const [start, hint = '', end] = error.message.split(/( \(did you mean \w+\?\))?; known are /);
        expect([start, end]).toEqual([`mcpRouter: unknown option ${key}`, KEYS.join(', ')]);
        if (hint !== '') expect(KEYS).toContain(/mean (\w+)/.exec(hint)?.[1]);
      }),
    );
    expect(() => resolve({ metrics: { Prefix: 'x' } })).toThrow(
      'unknown option metrics.Prefix (did you mean metrics.prefix?); known are registry, prefix, tools, route',
    );
  });

  test('are frozen, and do not change when what was given does', () => {
    const allowedHosts = ['a.example'];
    const allowedOrigins = ['https://a.example'];
    const resolved = resolve({ allowedHosts, allowedOrigins });
    allowedHosts.push('evil.example');
    allowedOrigins.push('https://evil.example');
    expect(resolved).toMatchObject({ allowedHosts: ['a.example'], allowedOrigins: ['https://a.example'] });
    for (const frozen of [resolved, resolved.allowedHosts, resolved.allowedOrigins])
      expect(Object.isFrozen(frozen)).toBe(true);
  });

  test('refuse a delay that is longer than a timer of Node takes, which would fire at once', () => {
    expect(() => resolve({ ttl: 2 ** 31 })).toThrow(
      `option ttl must be a whole number of milliseconds from 1 to 2147483647; got ${2 ** 31}`,
    );
  });

  test('shows what it got in a way that can be read, whatever that is', () => {
    const endless: unknown[] = [];
    endless.push(endless, 'x', Symbol('y'), 5n);
    expect(() => resolve({ allowedHosts: endless })).toThrow('got an array (an array, "x", Symbol(y), 5)');
    expect(() => resolve({ ttl: '30m' })).toThrow('got "30m"');
    expect(() => resolve({ ttl: Object.create(null) })).toThrow('got an object');
    expect(() => resolve({ ttl: () => 5 })).toThrow('got a function');
  });
});

describe('contradictions', () => {
  test.each(KEYS.filter((key) => key !== 'stateless'))('stateless takes %s unless it speaks of sessions', (key) => {
    const { near, accepts } = SHAPES[key];
    const [value] = fc.sample(near.filter(accepts), 1);
    const given = { serverFactory, [key]: value };
    expect(() => resolveOptions({ ...given, stateless: false })).not.toThrow();
    expect(() => resolve({ [key]: undefined, serverFactory, stateless: true })).not.toThrow();
    const error = errorOf(() => resolveOptions({ ...given, stateless: true }));
    const refusal = `mcpRouter: option ${key} has no meaning with stateless: true, which keeps no sessions; leave out one of them`;
    expect(error).toEqual(OPTIONS.get(key)!.sessionsOnly ? new TypeError(refusal) : undefined);
  });

  test.each([
    [{ ttl: 1_000, orphanAfter: 1_001 }, 'option orphanAfter must be at most ttl (1000); got 1001'],
    [{ ttl: 1_000, orphanTtl: 1_001 }, 'option orphanTtl must be at most ttl (1000); got 1001'],
    [{ orphanTtl: 1_000, orphanAfter: 1_001 }, 'option orphanAfter must be at most orphanTtl (1000); got 1001'],
    [
      { maxSessions: 5, maxSessionsPerPrincipal: 6 },
      'option maxSessionsPerPrincipal must be at most maxSessions (5); got 6',
    ],
    [{ maxSessions: 5, maxAnonymousSessions: 6 }, 'option maxAnonymousSessions must be at most maxSessions (5); got 6'],
    [
      { maxSessionsPerPrincipal: 10_001 },
      'option maxSessionsPerPrincipal must be at most maxSessions (10000); got 10001',
    ],
    [
      { path: '/metrics' },
      'option path must not be /metrics, where the metrics are served, unless metrics.route is false',
    ],
  ])('%j', (options, message) => {
    expect(() => resolve(options)).toThrow(new TypeError(`mcpRouter: ${message}`));
  });

  test.each([
    { ttl: 1_000, orphanAfter: 1_000, orphanTtl: 1_000 },
    { maxSessions: 5, maxSessionsPerPrincipal: 5, maxAnonymousSessions: 5 },
    { path: '/metrics', metrics: { route: false } },
    { path: '/metrics', metrics: false },
  ])('%j is none', (options) => {
    expect(() => resolve(options)).not.toThrow();
  });
});

describe('mcpRouter', () => {
  test.each([
    [{ ttl: '1000' }, 'option ttl must be'],
    [{ Ttl: 1_000 }, 'unknown option Ttl (did you mean ttl?)'],
    [{ maxSesions: 5 }, 'unknown option maxSesions (did you mean maxSessions?)'],
    [{ max_body_size: 5 }, 'unknown option max_body_size (did you mean maxBodySize?)'],
    [{ sessionTimeout: 5 }, 'unknown option sessionTimeout; known are'],
    [{ allowedHosts: ['https://mcp.example.com'] }, 'option allowedHosts must hold'],
    [{ metrics: { prefix: '5' } }, 'option metrics.prefix must be'],
  ])('throws at construction: %j', (options, message) => {
    const error = errorOf(() => mcpRouter({ serverFactory, logger: false, ...options } as McpRouterOptions));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(message);
  });
});

describe('perRequest', () => {
  test('has a default for each of its own options', () => {
    const defaults = {
      servers: 'request',
      maxServers: 1_000,
      maxServersPerPrincipal: 20,
      serverIdle: 60_000,
      suspendTtl: 600_000,
      maxSuspended: 1_000,
      maxSuspendedPerPrincipal: 20,
      maxSuspendedAnonymous: 1_000,
      maxSubscriptions: 1_024,
      maxSubscriptionsPerPrincipal: 20,
      maxSubscriptionsAnonymous: 1_024,
      cacheHints: new Map(),
      sdk: undefined,
    };
    expect(resolve({}).perRequest).toBe(false);
    expect(resolve({ perRequest: false }).perRequest).toBe(false);
    expect(resolve({ perRequest: true }).perRequest).toEqual(defaults);
    expect(resolve({ perRequest: { servers: 'request', maxSuspended: 7 } }).perRequest).toEqual({
      ...defaults,
      maxSuspended: 7,
      maxSuspendedAnonymous: 7,
    });
    expect(resolve({ perRequest: { maxSubscriptions: 7 } }).perRequest).toMatchObject({ maxSubscriptionsAnonymous: 7 });
    const cacheHints = { 'tools/list': { ttlMs: 5 }, 'prompts/list': { cacheScope: 'public' } };
    expect(resolve({ perRequest: { cacheHints } }).perRequest).toMatchObject({
      cacheHints: new Map([
        ['tools/list', { ttlMs: 5, cacheScope: 'private' }],
        ['prompts/list', { ttlMs: 0, cacheScope: 'public' }],
      ]),
    });
  });

  test.each<[object, string]>([
    [{ servers: 'session' }, "option perRequest.servers must be 'request' or 'principal'"],
    [{ maxServers: 0 }, 'option perRequest.maxServers must be'],
    [{ maxServersPerPrincipal: 0 }, 'option perRequest.maxServersPerPrincipal must be'],
    [{ serverIdle: 0.5 }, 'option perRequest.serverIdle must be'],
    [{ suspendTtl: 0 }, 'option perRequest.suspendTtl must be'],
    [{ maxSuspended: 0.5 }, 'option perRequest.maxSuspended must be'],
    [{ maxSubscriptions: 0 }, 'option perRequest.maxSubscriptions must be'],
    [{ cacheHints: [] }, 'option perRequest.cacheHints must be'],
    [{ cacheHints: { 'tools/list': { ttlMs: -1 } } }, "option perRequest.cacheHints['tools/list'].ttlMs must be"],
    [{ cacheHints: { x: { cacheScope: 'shared' } } }, "option perRequest.cacheHints['x'].cacheScope must be"],
    [{ other: 1 }, 'unknown option perRequest.other'],
  ])('is refused with %j', (perRequest, message) => {
    expect(() => resolve({ perRequest })).toThrow(message);
  });

  test('may be all that is served: `sessions: false` needs it, and takes no option of sessions', () => {
    expect(resolve({}).sessions).toBe(true);
    expect(resolve({ sessions: false, perRequest: true }).sessions).toBe(false);
    const wrong: [Partial<McpRouterOptions>, string][] = [
      [{ perRequest: false }, 'option sessions must be true without perRequest, or no client is served; got false'],
      [{ stateless: true }, 'option stateless has no meaning with sessions: false'],
      [{ hibernateAfter: 1 }, 'option hibernateAfter has no meaning with sessions: false'],
      [{ maxSessions: 1 }, 'option maxSessions has no meaning with sessions: false'],
    ];
    for (const [options, message] of wrong) {
      expect(() => resolve({ sessions: false, perRequest: true, ...options })).toThrow(message);
    }
  });

  test('takes the options that keep the state of principals without sessions, too', () => {
    const options = { perRequest: true, ttl: 60_000, store: memoryStore() };
    expect(() => resolve({ ...options, sessions: false })).not.toThrow();
    expect(() => resolve({ ...options, stateless: true })).not.toThrow();
    expect(() => resolve({ ...options, perRequest: false, stateless: true })).toThrow('option ttl has no meaning');
  });

  test('is for a cluster, too', () => {
    const cluster = { redis: { sendCommand: () => Promise.resolve() }, secret: 'a secret of no less than 32 bytes' };
    expect(() => resolve({ cluster, perRequest: true })).not.toThrow();
  });
});
