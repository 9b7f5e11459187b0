import fc from 'fast-check';
import { mcpRouter, type McpRouterOptions } from '../../src/index.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { memoryStore } from '../../src/stores/index.js';
import { echoServer } from '../support/harness.js';

const SECRET = 'hunter2-hunter2-hunter2-hunter2-hunter2';
const redis = { sendCommand: () => Promise.resolve(null) };
const cluster = { redis, secret: SECRET };

/** Takes what types would not let through, as callers in JavaScript do. */
const resolve = (options: object) => resolveOptions({ serverFactory: echoServer, cluster: options as never });

function errorOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

const MAX_TIMER = 2 ** 31 - 1;
const TIMERS = ['lease', 'renewInterval', 'fenceAfter', 'claimTimeout'] as const;

describe('each option of cluster (docs/scaling.md: times are options, checked against each other)', () => {
  const wrong: Record<string, unknown[]> = {
    redis: [undefined, null, 7, 'redis://127.0.0.1', () => redis],
    secret: [undefined, null, 7, {}, '', 'x'.repeat(31), 'ä'.repeat(15)],
    host: ['', 7, null, 'http://a', 'a b', '127.0.0.1/', ['a']],
    port: [-1, 65_536, 1.5, '7000', NaN, null],
    advertise: ['', 7, null, 'http://a', 'a:b/c'],
    ...Object.fromEntries(TIMERS.map((key) => [key, [0, -1, 1.5, NaN, Infinity, MAX_TIMER + 1, '5000', null]])),
    routing: ['', 'Forward', 'sticky', true, null],
  };

  test.each(Object.entries(wrong))('%s: a wrong value is a TypeError that names it', (key, values) => {
    for (const value of values) {
      const error = errorOf(() => resolve({ ...cluster, [key]: value })) as Error;
      expect([value, error]).toEqual([value, expect.any(TypeError)]);
      expect(error.message).toMatch(new RegExp(`^mcpRouter: option cluster\\.${key} must be `));
    }
  });

  test('redis: a wrong value within it is a TypeError of the router that names it', () => {
    const within = [
      [{}, 'client and sendCommand'],
      [{ ...redis, prefix: 'a{b}' }, 'prefix'],
      [{ ...redis, url: 'redis://127.0.0.1' }, 'unknown option url'],
      [{ client: {} }, 'client'],
    ] as const;
    for (const [value, named] of within) {
      const options = { serverFactory: echoServer, logger: false, cluster: { ...cluster, redis: value } };
      const error = errorOf(() => mcpRouter(options as unknown as McpRouterOptions)) as Error;
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('mcpRouter: option cluster.redis');
      expect(error.message).toContain(named);
    }
  });

  test('one that is unknown is refused, and those that are known are named', () => {
    expect(() => resolve({ ...cluster, secrets: [SECRET] })).toThrow(
      /^mcpRouter: unknown option cluster\.secrets \(did you mean cluster\.secret\?\); known are redis, secret, host, port, advertise, /,
    );
  });

  test.each([null, 7, true, [], () => cluster].map((value) => [value]))(
    'cluster must be an object; got %p',
    (value) => {
      const error = errorOf(() => resolve(value as never)) as Error;
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain('cluster');
    },
  );

  test('undefined is the same as leaving it out', () => {
    const left = Object.fromEntries(['host', 'port', 'advertise', 'routing', ...TIMERS].map((key) => [key, undefined]));
    expect(resolve({ ...cluster, ...left }).cluster).toEqual(resolve(cluster).cluster);
  });

  test('the defaults are those of docs/scaling.md, and are frozen', () => {
    const resolved = resolve(cluster).cluster;
    expect(resolved).toEqual({
      redis,
      secret: SECRET,
      host: '127.0.0.1',
      port: 0,
      advertise: '127.0.0.1',
      lease: 5_000,
      renewInterval: 1_500,
      fenceAfter: 3_300,
      claimTimeout: 10_000,
      routing: 'forward',
    });
    expect(Object.isFrozen(resolved)).toBe(true);
    expect(resolveOptions({ serverFactory: echoServer }).cluster).toBeUndefined();
  });

  test('the secret counts in bytes', () => {
    expect(() => resolve({ ...cluster, secret: 'ä'.repeat(16) })).not.toThrow();
  });
});

describe('contradictions', () => {
  test.each([
    [
      { lease: 4_159 },
      'lease must be at least 4160, 1.2 times fenceAfter (3300) and 200 ms, or two nodes might own a session; got 4159',
    ],
    [
      { fenceAfter: 4_001 },
      'lease must be at least 5002, 1.2 times fenceAfter (4001) and 200 ms, or two nodes might own a session; got 5000',
    ],
    [{ renewInterval: 1_651 }, 'renewInterval must be at most half of fenceAfter (3300), for a second try; got 1651'],
    [{ fenceAfter: 2_999 }, 'renewInterval must be at most half of fenceAfter (2999), for a second try; got 1500'],
    [
      { claimTimeout: 7_000 },
      'claimTimeout must be more than lease (5000), renewInterval (1500) and 500 ms for a restore together; got 7000',
    ],
    [
      { lease: 8_000 },
      'claimTimeout must be more than lease (8000), renewInterval (1500) and 500 ms for a restore together; got 10000',
    ],
    [{ host: '0.0.0.0' }, 'advertise must be given with host 0.0.0.0, by which no other node can reach this one'],
    [{ host: '::' }, 'advertise must be given with host ::, by which no other node can reach this one'],
    [
      { advertise: '0.0.0.0' },
      'advertise must be given with host 127.0.0.1, by which no other node can reach this one',
    ],
  ])('%j', (options, message) => {
    expect(errorOf(() => resolve({ ...cluster, ...options }))).toEqual(
      new TypeError(`mcpRouter: option cluster.${message}`),
    );
  });

  test.each([
    { lease: 4_160 },
    { fenceAfter: 4_000 },
    { renewInterval: 1_650 },
    { claimTimeout: 7_001 },
    { host: '0.0.0.0', advertise: 'node-1.internal' },
    { host: '::', advertise: 'fd00::1' },
    { host: '::1', port: 65_535 },
  ])('%j is none', (options) => {
    expect(() => resolve({ ...cluster, ...options })).not.toThrow();
  });

  test('accepted times leave no time in which two nodes own a session, and enough for a second try (property)', () => {
    const ms = (max: number) => fc.integer({ min: 1, max }).map((n) => 100 * n);
    let taken = 0;
    fc.assert(
      fc.property(ms(20), ms(5), ms(10), ms(40), (lease, renewInterval, fenceAfter, claimTimeout) => {
        const error = errorOf(() => resolve({ ...cluster, lease, renewInterval, fenceAfter, claimTimeout }));
        const times = lease >= 1.2 * fenceAfter + 200 && claimTimeout > lease + renewInterval + 500;
        const safe = times && renewInterval <= fenceAfter / 2;
        taken += Number(safe);
        expect(error === undefined).toBe(safe);
      }),
      { numRuns: 2_000 },
    );
    expect(taken).toBeGreaterThan(20);
  });

  test('cluster with store: a cluster keeps its records in its own Redis', () => {
    expect(() => resolveOptions({ serverFactory: echoServer, cluster, store: memoryStore() })).toThrow(
      /^mcpRouter: option store has no meaning with cluster/,
    );
  });

  test('cluster with stateless: it keeps no sessions that others could answer', () => {
    expect(() => resolveOptions({ serverFactory: echoServer, cluster, stateless: true })).toThrow(
      /^mcpRouter: option cluster has no meaning with stateless: true/,
    );
  });
});

describe('the secret', () => {
  test.each([
    ['too short', { secret: SECRET.slice(0, 20) }],
    ['in an array', { secret: [SECRET] }],
    ['as bytes', { secret: Buffer.from(SECRET) }],
    ['as a number', { secret: 1234567890 }],
    ['beside a mistake', { secret: SECRET, lease: 0 }],
    ['beside a contradiction', { secret: SECRET, claimTimeout: 1 }],
    ['beside an unknown option', { secret: SECRET, Secret: SECRET }],
  ])('is never shown in a message: %s', (_how, options) => {
    const error = errorOf(() => resolve({ redis, ...options })) as Error;
    expect(error).toBeInstanceOf(TypeError);
    expect(`${error.message} ${String(error.stack)}`).not.toMatch(/hunter2|1234567890/);
  });
});
