import { resolve } from 'node:path';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { redisEventStore } from '../../src/stores/redis.js';
import type { SendCommand } from '../../src/stores/redis.js';
import { AnyNodeSession } from '../cluster/any-node.js';
import { InProcessCluster, type InProcessNode } from '../cluster/in-process.js';
import { askingServer } from '../endpoint/asking-server.js';
import { EventStream } from '../support/event-stream.js';
import { parseExposition } from '../support/exposition.js';
import { echoCall, openSession, post } from '../support/harness.js';
import { call, send, subscribe } from '../support/per-request.js';
import { Prometheus } from '../support/prometheus.js';
import { RawSession } from '../support/raw-session.js';
import { StalledReader } from '../support/stalled-reader.js';
import { until } from '../support/waiting.js';
import { FOLDER, metricsIn, panels, queryOf, rules } from './observability.js';

const KIB = 1024;
const RULES = resolve(FOLDER, 'rules.yml');

let cluster: InProcessCluster;
let nodes: InProcessNode[];
let prometheus: Prometheus;
/** Whether Redis answers node `c`. */
let reachable: boolean;
const hangUp = new AbortController();
const registries: Registry[] = [];

/** Redis for one node, as long as it is reachable. */
const cuttable =
  (send: SendCommand): SendCommand =>
  (...command) =>
    reachable ? send(...command) : Promise.reject(new Error('unreachable'));

beforeAll(async () => {
  cluster = await InProcessCluster.start();
  reachable = true;
  const eventStore = redisEventStore({ sendCommand: cluster.ask, prefix: cluster.prefix });
  nodes = await Promise.all(
    ['a', 'b', 'c'].map((name) => {
      const registry = new Registry();
      registries.push(registry);
      collectDefaultMetrics({ register: registry });
      return cluster.node({
        name,
        perRequest: true,
        serverFactory: () => askingServer(),
        eventStore,
        maxStreamBuffer: 128 * KIB,
        metrics: { registry, tools: true },
        ...(name === 'c' && { tap: cuttable }),
      });
    }),
  );
  prometheus = await Prometheus.start(
    nodes.map(({ url }) => url.host),
    [RULES],
  );
}, 300_000);
afterAll(async () => {
  hangUp.abort();
  await prometheus.stop();
  await cluster.stop();
  for (const registry of registries) registry.clear();
});

/** What clients do at the three nodes: sessions of one node used at another, both eras, refusals of each kind. */
async function useNodes(): Promise<void> {
  const [a, b] = nodes as [InProcessNode, InProcessNode];
  const session = await AnyNodeSession.open(a.url);
  for (const { url } of [a, b]) await (await session.request(url, 'add', { a: 1, b: 2 })).text();
  await (await session.request(a.url, 'no such tool')).text();
  const leave = new AbortController();
  const stream = new EventStream(await session.get(a.url, {}, leave.signal));
  const { id } = (await stream.block())!;
  leave.abort();
  const resumed = await session.get(a.url, { 'last-event-id': id! });
  await resumed.body!.cancel();
  await session.get(b.url, { 'last-event-id': 'no-such-event' });
  await (await session.delete(b.url)).text();
  await openSession(b.url);
  await post(a.url, '{');
  await post(a.url, echoCall(1, 'x'), { origin: 'https://evil.example' });
  await post(b.url, echoCall(1, 'x'), { 'mcp-session-id': session.id });
  await call(a.url, 'add', { a: 1, b: 2 });
  await call(a.url, 'once', {}, { capabilities: { elicitation: {} } });
  await send(b.url, 'tools/list', { headers: { 'mcp-method': 'ping' } });
}

/** Sends a client that does not read more than may wait for it. */
async function outrunReader({ url, http, router }: InProcessNode): Promise<void> {
  const session = await RawSession.open(url);
  const reader = await StalledReader.open(http, session);
  await until('the stream is open', () => reader.res.headersSent);
  const params = { level: 'info', data: 'x'.repeat(64 * KIB) };
  while (!reader.res.closed)
    await router.notify.send({ method: 'notifications/message', params }, { session: session.id });
}

/** Cuts a node off until it has fenced itself. */
async function fence(node: InProcessNode): Promise<void> {
  await openSession(node.url);
  reachable = false;
  await until('it has fenced itself', () => node.lines('cluster node fenced: its sessions are let go of').length > 0);
  await post(node.url, echoCall(1, 'x'));
  reachable = true;
}

/** Panels and queries without a series, or with series that have no value. */
async function emptyQueries(): Promise<string[]> {
  const empty: string[] = [];
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      const series = (await prometheus.query(queryOf(expr, '30s'))) ?? [];
      if (series.every(({ value }) => Number.isNaN(value))) empty.push(`${title}: ${expr}`);
    }
  }
  return empty;
}

const scraped = async (): Promise<number> => (await prometheus.value('count(mcp_sessions_active)')) ?? 0;

test('three nodes of a cluster, used by real clients, give every panel of the dashboard series; all rules are evaluated', async () => {
  await until('Prometheus has scraped all nodes', async () => (await scraped()) === nodes.length);
  await subscribe(nodes[0]!.url, { toolsListChanged: true }, { signal: hangUp.signal });
  await outrunReader(nodes[1]!);
  await fence(nodes[2]!);
  let empty: string[] = [];
  await until('every panel has series', async () => {
    await useNodes();
    empty = await emptyQueries();
    return empty.length === 0;
  }).catch((error: unknown) => {
    throw new Error(`no series: ${empty.join('\n')}\n${prometheus.said}`, { cause: error });
  });

  const slow = 'sum(mcp_streams_closed_total{reason="slow_reader"})';
  const lost = 'sum(mcp_streams_resumed_total{outcome="lost"})';
  const refused = 'sum(mcp_http_responses_total{error="originNotAllowed"})';
  for (const query of [slow, lost, refused]) expect(await prometheus.value(query)).toBeGreaterThan(0);

  await until('every rule was evaluated', async () =>
    (await prometheus.rules()).every(({ health }) => health !== 'unknown'),
  );
  const evaluated = await prometheus.rules();
  expect(evaluated.filter(({ health }) => health !== 'ok')).toEqual([]);
  expect(evaluated).toHaveLength([...rules.matchAll(/^ +- (alert|record): /gm)].length);
  const firing = evaluated.filter(({ alerts = [] }) => alerts.some(({ state }) => state === 'firing'));
  expect(firing.map(({ name }) => name)).toContain('McpNodeFenced');
}, 240_000);

test('each metric in the dashboard and in the rules is one that the nodes have', async () => {
  const known = new Set(parseExposition(await nodes[0]!.metrics()).map(({ name }) => name));
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const expressions = rules.replaceAll(/^ *(#|- alert:|- record:|summary:|runbook:).*$/gm, '');
  const used = metricsIn([...queries, expressions].join('\n'));
  expect(used.length).toBeGreaterThan(20);
  expect(used.filter((name) => !known.has(name))).toEqual([]);
});
