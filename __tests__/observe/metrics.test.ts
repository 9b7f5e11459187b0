import { ClientRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import fc from 'fast-check';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import request from 'supertest';
import {
  REJECT_REASONS,
  RESUME_OUTCOMES,
  STREAM_ENDS,
  type CoreEvents,
  type Outcome,
  type SessionInfo,
} from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import type { SessionLevels } from '../../src/observe/prometheus/session-levels.js';
import { createMetrics } from '../../src/observe/prometheus/metrics.js';
import { parseExposition, valueOf } from '../support/exposition.js';
import { buildProgram } from '../support/program.js';
import { NO_PARTY, levelsOf, sessionInfo } from '../support/session-info.js';

const METHODS = ClientRequestSchema.options.map((schema) => schema.shape.method.value as string);
const OUTCOMES: readonly Outcome[] = ['ok', 'error', 'cancelled', 'timeout', 'closed'];

// Here, as the metrics hold them weakly.
const NONE = levelsOf([]);
const ONE = levelsOf([sessionInfo()]);
const OTHER = levelsOf([sessionInfo()]);

function failures(): { events: Emitter<CoreEvents>; seen: unknown[] } {
  const seen: unknown[] = [];
  const events = new Emitter<CoreEvents>((name, error) => seen.push([name, error]));
  events.on('failure', (what, error) => seen.push([what, error]));
  return { events, seen };
}

const throwing = () =>
  new Emitter<CoreEvents>((_name, error) => {
    throw error;
  });

function labelValues(text: string, metric: string, label: string): string[] {
  const samples = parseExposition(text).filter(({ name }) => name.replace(/_(bucket|sum|count)$/, '') === metric);
  return [...new Set(samples.flatMap(({ labels }) => labels[label] ?? []))].sort();
}

describe('before the first event', () => {
  test('every value of every label has a series at 0, so that queries find it', async () => {
    const text = await createMetrics(throwing(), NONE, {}).registry.metrics();
    expect(labelValues(text, 'mcp_sessions_orphaned', 'cause')).toEqual(['idle', 'stream_lost']);
    expect(labelValues(text, 'mcp_streams_open', 'kind')).toEqual(['request', 'standalone', 'subscription']);
    expect(labelValues(text, 'mcp_streams_closed_total', 'reason')).toEqual([...STREAM_ENDS].sort());
    expect(labelValues(text, 'mcp_streams_resumed_total', 'outcome')).toEqual([...RESUME_OUTCOMES].sort());
    expect(labelValues(text, 'mcp_sessions_closed_total', 'reason')).toEqual(
      ['deleted', 'evicted', 'expired', 'failed', 'lifetime', 'moved', 'shutdown'].sort(),
    );
    expect(labelValues(text, 'mcp_sessions_rejected_total', 'reason')).toEqual([...REJECT_REASONS].sort());
    expect(labelValues(text, 'mcp_server_operation_duration_seconds', 'outcome')).toEqual([...OUTCOMES].sort());
    const values = parseExposition(text).filter(({ name }) => name !== 'mcp_sessions_limit');
    expect(new Set(values.map(({ value }) => value))).toEqual(new Set([0]));
  });

  test('the methods are those that the SDK knows from clients, and `other`', async () => {
    const text = await createMetrics(throwing(), NONE, {}).registry.metrics();
    expect(labelValues(text, 'mcp_server_operation_duration_seconds', 'mcp_method_name')).toEqual(
      [...METHODS, 'other'].sort(),
    );
  });

  test('the registry has exactly the metrics of the router', async () => {
    const { registry } = createMetrics(throwing(), NONE, {});
    expect(registry.getMetricsAsArray().map(({ name }) => name)).toEqual([
      'mcp_sessions_active',
      'mcp_sessions_orphaned',
      'mcp_sessions_hibernated',
      'mcp_sessions_limit',
      'mcp_sessions_opened_total',
      'mcp_sessions_restored_total',
      'mcp_sessions_closed_total',
      'mcp_sessions_rejected_total',
      'mcp_server_session_duration_seconds',
      'mcp_streams_open',
      'mcp_streams_closed_total',
      'mcp_streams_resumed_total',
      'mcp_server_operation_duration_seconds',
      'mcp_log_lines_lost_total',
      'mcp_http_responses_total',
    ]);
  });

  test('the buckets of operations are those that OpenTelemetry advises for MCP; those of sessions go on to a day', async () => {
    const text = await createMetrics(throwing(), NONE, {}).registry.metrics();
    const buckets = (metric: string) => labelValues(text, metric, 'le');
    const advised = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300].map(String);
    expect(buckets('mcp_server_operation_duration_seconds')).toEqual([...advised, '+Inf'].sort());
    expect(buckets('mcp_server_session_duration_seconds')).toEqual(expect.arrayContaining([...advised, '86400']));
  });
});

describe('events', () => {
  test('a session that closes counts by its reason, and its age in seconds once it has ended', async () => {
    const events = throwing();
    const { registry } = createMetrics(events, NONE, {});
    events.emit('opened', sessionInfo());
    events.emit('closed', sessionInfo({ ageMs: 60_000 }), 'moved');
    events.emit('closed', sessionInfo({ ageMs: 90_000 }), 'expired');
    events.emit('ended', sessionInfo({ ageMs: 90_000 }), 'expired');
    const text = await registry.metrics();
    expect(valueOf(text, 'mcp_sessions_opened_total')).toBe(1);
    expect(valueOf(text, 'mcp_sessions_closed_total', { reason: 'expired' })).toBe(1);
    expect(valueOf(text, 'mcp_sessions_closed_total', { reason: 'deleted' })).toBe(0);
    expect(valueOf(text, 'mcp_server_session_duration_seconds_sum')).toBe(90);
    expect(valueOf(text, 'mcp_server_session_duration_seconds_bucket', { le: '60' })).toBe(0);
    expect(valueOf(text, 'mcp_server_session_duration_seconds_bucket', { le: '120' })).toBe(1);
  });

  test('a session built again from its record counts as restored, not as opened', async () => {
    const events = throwing();
    const { registry } = createMetrics(events, NONE, {});
    events.emit('restored', sessionInfo());
    const text = await registry.metrics();
    expect(valueOf(text, 'mcp_sessions_restored_total')).toBe(1);
    expect(valueOf(text, 'mcp_sessions_opened_total')).toBe(0);
  });

  test('a session that failed before it was open changes no metric', async () => {
    const events = throwing();
    const { registry } = createMetrics(events, NONE, {});
    const before = await registry.metrics();
    events.emit('closed', sessionInfo({ state: 'initializing' }), 'failed');
    expect(await registry.metrics()).toBe(before);
  });

  test('refusals count by the row of the error table', async () => {
    const events = throwing();
    const { registry } = createMetrics(events, NONE, {});
    events.emit('rejected', 'atCapacity', NO_PARTY);
    events.emit('rejected', 'atCapacity', NO_PARTY);
    events.emit('rejected', 'draining', NO_PARTY);
    const text = await registry.metrics();
    expect(valueOf(text, 'mcp_sessions_rejected_total', { reason: 'atCapacity' })).toBe(2);
    expect(valueOf(text, 'mcp_sessions_rejected_total', { reason: 'draining' })).toBe(1);
  });

  test('each pair of a method and an outcome is timed in seconds, apart from all others', async () => {
    const events = throwing();
    const { registry } = createMetrics(events, NONE, {});
    const pairs = METHODS.flatMap((method) => OUTCOMES.map((outcome) => ({ method, outcome })));
    pairs.forEach(({ method, outcome }, n) =>
      events.emit('requestSettled', { id: 1, method }, outcome, (n + 1) * 1000, NO_PARTY),
    );
    const samples = parseExposition(await registry.metrics()).filter(
      ({ name }) => name === 'mcp_server_operation_duration_seconds_sum',
    );
    const sums = pairs.map(({ method, outcome }) =>
      samples
        .filter(({ labels }) => labels.mcp_method_name === method && labels.outcome === outcome)
        .reduce((sum, { value }) => sum + value, 0),
    );
    expect(sums).toEqual(pairs.map((_pair, n) => n + 1));
  });

  test('an unknown method of a client becomes the label `other`, and every request is counted (property)', async () => {
    const method = fc.oneof(
      fc.string(),
      fc.constantFrom(...METHODS),
      fc.constantFrom('__proto__', 'constructor', 'hasOwnProperty', 'other', 'Tools/Call', 'tools/call ', '"\n{}'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(method, fc.constantFrom(...OUTCOMES))), async (requests) => {
        const events = throwing();
        const { registry } = createMetrics(events, NONE, {});
        for (const [name, outcome] of requests)
          events.emit('requestSettled', { id: 1, method: name }, outcome, 1, NO_PARTY);
        const text = await registry.metrics();
        expect(labelValues(text, 'mcp_server_operation_duration_seconds', 'mcp_method_name')).toEqual(
          [...METHODS, 'other'].sort(),
        );
        const counts = parseExposition(text).filter(
          (sample) => sample.name === 'mcp_server_operation_duration_seconds_count',
        );
        expect(counts.reduce((sum, { value }) => sum + value, 0)).toBe(requests.length);
        const others = counts.filter(({ labels }) => labels.mcp_method_name === 'other');
        expect(others.reduce((sum, { value }) => sum + value, 0)).toBe(
          requests.filter(([name]) => !METHODS.includes(name)).length,
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe('levels', () => {
  /** Held by the test for as long as it is not dropped. */
  const routers: SessionLevels[] = [];
  afterEach(() => routers.splice(0));

  function routerOf(registry: Registry, ...sessions: SessionInfo[]): SessionInfo[] {
    const levels = levelsOf(sessions);
    routers.push(levels);
    createMetrics(throwing(), levels, { registry }, { leaseAge: 0 });
    return sessions;
  }

  test('are read at each scrape: sessions in each state, and those that a node owns', async () => {
    const registry = new Registry();
    const sessions = routerOf(
      registry,
      sessionInfo({ state: 'initializing' }),
      sessionInfo(),
      sessionInfo({ state: 'orphaned', orphanCause: 'idle' }),
      sessionInfo({ state: 'hibernated', orphanCause: 'stream_lost' }),
      sessionInfo({ state: 'hibernated', orphanCause: 'idle' }),
    );
    const text = await registry.metrics();
    expect(valueOf(text, 'mcp_sessions_active')).toBe(1);
    expect(valueOf(text, 'mcp_sessions_orphaned', { cause: 'idle' })).toBe(1);
    expect(valueOf(text, 'mcp_sessions_orphaned', { cause: 'stream_lost' })).toBe(0);
    expect(valueOf(text, 'mcp_sessions_hibernated')).toBe(2);
    expect(valueOf(text, 'mcp_cluster_owned')).toBe(4);
    sessions.splice(0);
    const later = await registry.metrics();
    expect(valueOf(later, 'mcp_sessions_active')).toBe(0);
    expect(valueOf(later, 'mcp_sessions_orphaned', { cause: 'idle' })).toBe(0);
    expect(valueOf(later, 'mcp_sessions_hibernated')).toBe(0);
    expect(valueOf(later, 'mcp_cluster_owned')).toBe(0);
  });

  test('are right again after the registry was reset', async () => {
    const registry = new Registry();
    routerOf(registry, sessionInfo());
    registry.resetMetrics();
    expect(valueOf(await registry.metrics(), 'mcp_sessions_active')).toBe(1);
  });

  test('disappear with a router that the app no longer holds, as the registry does not hold it', async () => {
    // In a process of its own, as V8 may keep what other tests in a worker have used.
    const dropRouter = buildProgram('__tests__/observe/drop-router.ts');
    expect(await dropRouter([], ['--expose-gc'])).toBe('1\n');
  });

  test('a gauge of the app under one of their names is a TypeError, as nothing would set it', () => {
    const registry = new Registry();
    new Gauge({ name: 'mcp_sessions_active', help: 'x', registers: [registry] });
    expect(() => routerOf(registry)).toThrow('the registry holds a metric mcp_sessions_active already');
  });
});

describe('registries', () => {
  test('two routers in one registry add up, and the second leaves what the first has counted', async () => {
    const registry = new Registry();
    const [first, second] = [throwing(), throwing()];
    createMetrics(first, ONE, { registry });
    first.emit('opened', sessionInfo());
    first.emit('requestSettled', { id: 1, method: 'tools/call' }, 'ok', 20, NO_PARTY);
    first.emit('rejected', 'draining', NO_PARTY);
    first.emit('streamOpened', 'standalone', NO_PARTY);
    createMetrics(second, OTHER, { registry });
    second.emit('opened', sessionInfo());
    second.emit('requestSettled', { id: 1, method: 'tools/call' }, 'ok', 20, NO_PARTY);
    second.emit('streamOpened', 'standalone', NO_PARTY);

    const text = await registry.metrics();
    expect(valueOf(text, 'mcp_sessions_active')).toBe(2);
    expect(valueOf(text, 'mcp_sessions_limit')).toBe(ONE.caps.limit + OTHER.caps.limit);
    expect(valueOf(text, 'mcp_sessions_opened_total')).toBe(2);
    expect(valueOf(text, 'mcp_sessions_rejected_total', { reason: 'draining' })).toBe(1);
    expect(valueOf(text, 'mcp_streams_open', { kind: 'standalone' })).toBe(2);
    expect(
      valueOf(text, 'mcp_server_operation_duration_seconds_count', { mcp_method_name: 'tools/call', outcome: 'ok' }),
    ).toBe(2);
  });

  test('the age of the lease is that of the older one, and of no router that closes (docs/scaling.md)', async () => {
    const registry = new Registry();
    const nodes: { leaseAge: number | undefined }[] = [{ leaseAge: 500 }, { leaseAge: 2_000 }];
    for (const node of nodes) createMetrics(throwing(), ONE, { registry }, node);
    const age = async () => valueOf(await registry.metrics(), 'mcp_cluster_lease_age_seconds');
    expect(await age()).toBe(2);
    nodes[1]!.leaseAge = Infinity;
    expect(await age()).toBe(Infinity);
    nodes[1]!.leaseAge = undefined;
    expect(await age()).toBe(0.5);
    nodes[0]!.leaseAge = undefined;
    expect(await age()).toBe(Infinity);
  });

  test('without one of the app, each router has its own', async () => {
    const [first, second] = [throwing(), throwing()];
    const { registry } = createMetrics(first, ONE, {});
    const other = createMetrics(second, NONE, {}).registry;
    expect(valueOf(await registry.metrics(), 'mcp_sessions_active')).toBe(1);
    expect(valueOf(await other.metrics(), 'mcp_sessions_active')).toBe(0);
  });

  test('a prefix keeps two routers apart', async () => {
    const registry = new Registry();
    const [first, second] = [throwing(), throwing()];
    createMetrics(first, ONE, { registry, prefix: 'docs_' });
    createMetrics(second, NONE, { registry, prefix: 'mail_' });
    const text = await registry.metrics();
    expect(valueOf(text, 'docs_mcp_sessions_active')).toBe(1);
    expect(valueOf(text, 'mail_mcp_sessions_active')).toBe(0);
    expect(parseExposition(text).every(({ name }) => /^(docs|mail)_mcp_/.test(name))).toBe(true);
  });

  const foreign: [string, (registers: Registry[]) => unknown][] = [
    ['mcp_sessions_active', (registers) => new Counter({ name: 'mcp_sessions_active', help: 'x', registers })],
    [
      'mcp_sessions_active',
      (registers) => new Gauge({ name: 'mcp_sessions_active', help: 'x', labelNames: ['app'], registers }),
    ],
    ['mcp_sessions_orphaned', (registers) => new Gauge({ name: 'mcp_sessions_orphaned', help: 'x', registers })],
    [
      'mcp_sessions_orphaned',
      (registers) => new Gauge({ name: 'mcp_sessions_orphaned', help: 'x', labelNames: ['why'], registers }),
    ],
    [
      'mcp_sessions_closed_total',
      (registers) => new Counter({ name: 'mcp_sessions_closed_total', help: 'x', labelNames: ['why'], registers }),
    ],
    [
      'mcp_sessions_closed_total',
      (registers) =>
        new Counter({ name: 'mcp_sessions_closed_total', help: 'x', labelNames: ['reason', 'app'], registers }),
    ],
    [
      'mcp_server_operation_duration_seconds',
      (registers) =>
        new Histogram({
          name: 'mcp_server_operation_duration_seconds',
          help: 'x',
          labelNames: ['mcp_method_name', 'error_type'],
          registers,
        }),
    ],
  ];
  test.each(foreign)('another %s in the registry is a TypeError that names it', (name, define) => {
    const registry = new Registry();
    define([registry]);
    const create = () => createMetrics(throwing(), NONE, { registry });
    expect(create).toThrow(TypeError);
    expect(create).toThrow(`the registry holds a metric ${name} already`);
  });
});

describe('the handler', () => {
  test("answers GET in Prometheus' text format", async () => {
    const { handler } = createMetrics(throwing(), NONE, {});
    const response = await request(express().use('/metrics', handler)).get('/metrics');
    expect(response.status).toBe(200);
    expect(response.headers['content-type']).toBe(Registry.PROMETHEUS_CONTENT_TYPE);
    expect(response.text).toContain('# TYPE mcp_sessions_active gauge\nmcp_sessions_active 0\n');
  });

  test('answers HEAD without a body', async () => {
    const { handler } = createMetrics(throwing(), NONE, {});
    const response = await request(express().use('/metrics', handler)).head('/metrics');
    expect(response.status).toBe(200);
    expect(response.headers['content-type']).toBe(Registry.PROMETHEUS_CONTENT_TYPE);
    expect(response.text).toBeUndefined();
  });

  test.each(['post', 'put', 'delete', 'patch', 'options'] as const)('answers %s with 405 and Allow', async (method) => {
    const { handler } = createMetrics(throwing(), NONE, {});
    const response = await request(express().use('/metrics', handler))[method]('/metrics');
    expect(response.status).toBe(405);
    expect(response.headers.allow).toBe('GET, HEAD');
  });

  test('a collector of the app that fails is a 500 without its error, and a failure event with it', async () => {
    const registry = new Registry();
    const error = new Error('postgres://user:password@db');
    const collect = () => Promise.reject(error);
    new Gauge({ name: 'app_rows', help: 'x', registers: [registry], collect });
    const { events, seen } = failures();
    const { handler } = createMetrics(events, NONE, { registry });
    const response = await request(express().use('/metrics', handler)).get('/metrics');
    expect(response.status).toBe(500);
    expect(response.headers['content-type']).toMatch(/^text\/plain/);
    expect(response.text).toBe('Internal Server Error\n');
    expect(seen).toEqual([['metrics', error]]);
  });

  test('sends nothing if the app has answered by a time-out while a collector was awaited', async () => {
    const registry = new Registry();
    let collected = () => {};
    const collect = () => new Promise<void>((done) => (collected = done));
    new Gauge({ name: 'app_slow', help: 'x', registers: [registry], collect });
    const { events, seen } = failures();
    const { handler } = createMetrics(events, NONE, { registry });
    let handled: unknown;
    const app = express().use('/metrics', (req, res) => {
      handled = handler(req, res);
      res.status(504).send('too slow');
    });
    const response = await request(app).get('/metrics');
    collected();
    await handled;
    expect(response.status).toBe(504);
    expect(seen).toEqual([]);
  });
});
