import { OURS_PER_REQUEST } from './list-per-request.mjs';

/**
 * The contenders, and their fields. Only the serving process loads a contender's module, so that no contender pays for the
 * imports of another.
 *
 * @typedef {object} Contender
 * @property {string} name
 * @property {string} title
 * @property {'ours' | 'sdk' | 'peer' | 'limit' | 'alone'} group
 * @property {string} module The file beside this one; its `start(options)` serves.
 * @property {object} [options] Further options of `start`.
 * @property {readonly string[]} [node] Options for Node itself.
 * @property {readonly Field[]} fields
 * @property {boolean} [cheap] Whether it takes a `serverFactory`, so that it can have a cheap one.
 * @property {boolean} [lowLevel] Whether it is also measured with a factory that makes the SDK's low-level `Server`.
 * @property {import('../tools/factories.mjs').FactoryStyle} [builds] What one without a factory itself builds for each session.
 * @property {number} [opening] Sessions opened at once, for a contender with slow opening.
 * @property {number} [starting] Time-out of the start in ms, for one that downloads files first.
 * @property {Readonly<Record<string, string>>} [remarks] Explanations of its figures, by workload.
 * @property {Readonly<Record<string, string>>} [fails] Reasons of known failures, by workload; the run still tries.
 *
 * @typedef {'call' | 'call-1' | 'sessions' | 'fanout' | 'many' | 'open-servers' | 'memory' | 'hibernation' | 'stateless' | 'stateless-modern' | 'per-request-call' | 'per-request-listen' | 'session-reference' | 'cluster' | 'cluster-hop' | 'cluster-notify' | 'layers'} Field
 * `call`: tools/call in many sessions, `call-1`: in one. `sessions`: what else a server with sessions does, `fanout`: only its notifications, `many`: with
 * many of them open, `open-servers`: the SDK's servers by themselves, `hibernation`: with most of them asleep. `stateless`: without any, `stateless-modern`: the same in the
 * protocol's next version (2026-07-28). `per-request-call`, `per-request-listen`: calls and subscriptions of that version,
 * `session-reference`: the same with sessions, for comparison. `cluster`: many nodes behind a balancer, `cluster-hop`,
 * `cluster-notify`: without one.
 * `layers`: its CPU time is split by layer.
 *
 * @typedef {object} Settings
 * @property {number} tools
 * @property {import('../tools/factories.mjs').FactoryStyle} factory
 *
 * @typedef {object} Running
 * @property {string} [url] The MCP endpoint; undefined without HTTP.
 * @property {(count: number) => Promise<void>} [hold] Builds and initializes servers until there are `count`.
 * @property {(order: { concurrency: number, ms: number }) => Promise<number>} [call] Calls them all in turn; resolves to the number of calls.
 * @property {(data: unknown) => Promise<unknown>} [notify] Sends every open session one log notification.
 * @property {() => unknown} [announce] Has every open session or subscription told that the tools have changed.
 * @property {() => Promise<void>} [hibernate] Puts every session to sleep.
 * @property {(count: number) => number} [build] Builds `count` servers, one after the other; returns the median in ms.
 * @property {() => Promise<number>} [cpu] CPU time so far in ms, of a contender with several processes.
 * @property {(from: number, count: number) => Promise<void>} [notifyTimed] Has one node send every session of all nodes `count` log notifications with the time of each.
 * @property {readonly string[]} [nodes] The URL of each node's own endpoint.
 * @property {() => Promise<number>} [redisCommands] Commands that Redis has run so far, this query included.
 */

const SESSIONS = ['call', 'call-1', 'sessions'];
const FULL = [...SESSIONS, 'many', 'memory'];

const ON_NODES = { module: 'cluster', starting: 300_000 };

/** @type {readonly Contender[]} */
const OURS = [
  { name: 'router', title: 'ours, SSE', options: {}, fields: [...FULL, 'layers'], lowLevel: true },
  { name: 'router-notify', title: 'ours, SSE, router.notify', options: { byRouter: true }, fields: ['fanout'] },
  { name: 'router-json', title: 'ours, JSON', options: { json: true }, fields: SESSIONS },
  {
    name: 'router-fast',
    title: 'ours, SSE, createHttpServer',
    options: { fast: true },
    fields: [...FULL, 'layers'],
    lowLevel: true,
  },
  {
    name: 'router-fast-young',
    title: 'ours, SSE, createHttpServer, --max-semi-space-size=64',
    options: { fast: true },
    node: ['--max-semi-space-size=64'],
    fields: ['many'],
  },
  {
    name: 'router-fast-json',
    title: 'ours, JSON, createHttpServer',
    options: { fast: true, json: true },
    fields: SESSIONS,
  },
  { name: 'router-observed', title: 'ours, SSE, metrics and logs', options: { observed: true }, fields: ['call'] },
  ...['idle', 'unsampled', 'sampled'].map((traced) => ({
    name: `router-${traced}`,
    title: `ours, SSE, OpenTelemetry ${traced === 'idle' ? 'registered and not used' : traced}`,
    options: { traced },
    fields: ['call'],
  })),
  {
    name: 'router-json-observed',
    title: 'ours, JSON, metrics and logs',
    options: { json: true, observed: true },
    fields: ['call'],
  },
  {
    name: 'router-fast-observed',
    title: 'ours, SSE, createHttpServer, metrics and logs',
    options: { fast: true, observed: true },
    fields: ['call'],
  },
  {
    name: 'router-fast-json-observed',
    title: 'ours, JSON, createHttpServer, metrics and logs',
    options: { fast: true, json: true, observed: true },
    fields: ['call'],
  },
  { name: 'router-stateless', title: 'ours, stateless, SSE', options: { stateless: true }, fields: ['stateless'] },
  {
    name: 'router-stateless-fast',
    title: 'ours, stateless, SSE, createHttpServer',
    options: { stateless: true, fast: true },
    fields: ['stateless'],
  },
  {
    name: 'router-stateless-fast-json',
    title: 'ours, stateless, JSON, createHttpServer',
    options: { stateless: true, fast: true, json: true },
    fields: ['stateless'],
  },
  { name: 'router-hibernating', title: 'ours, SSE', module: 'hibernating', options: {}, fields: ['hibernation'] },
  {
    name: 'cluster-sticky',
    title: 'ours, 3 nodes, sticky routing',
    options: { balancer: { sticky: true } },
    fields: ['cluster'],
    ...ON_NODES,
  },
  {
    name: 'cluster-round-robin',
    title: 'ours, 3 nodes, round-robin',
    options: { balancer: { sticky: false } },
    fields: ['cluster'],
    ...ON_NODES,
  },
  {
    name: 'cluster-direct',
    title: 'ours, 3 nodes, no balancer',
    options: {},
    fields: ['cluster-hop', 'cluster-notify'],
    ...ON_NODES,
  },
]
  .map((entry) => ({ module: 'router', ...entry, cheap: true }))
  .concat(OURS_PER_REQUEST)
  .map((entry) => ({ ...entry, group: 'ours' }));

/** In JSON mode the SDK's transport drops progress notifications, because it has no stream for them. */
const DROPS_PROGRESS = { progress: 'drops what a call reports in JSON mode' };

/** @type {readonly Contender[]} */
const SDK = [
  {
    name: 'sdk',
    title: 'SDK v1 wiring, SSE',
    options: {},
    fields: [...FULL, 'layers', 'per-request-call', 'per-request-listen', 'session-reference'],
  },
  { name: 'sdk-json', title: 'SDK v1 wiring, JSON', options: { json: true }, fields: SESSIONS, fails: DROPS_PROGRESS },
  {
    name: 'sdk-fast',
    title: 'SDK v1 wiring, SSE, createHttpServer',
    options: { fast: true },
    fields: [...SESSIONS, 'many', 'layers'],
  },
  {
    name: 'sdk-fast-json',
    title: 'SDK v1 wiring, JSON, createHttpServer',
    options: { fast: true, json: true },
    fields: ['call'],
  },
  {
    name: 'sdk-observed',
    title: 'SDK v1 wiring, SSE, metrics and logs by hand',
    options: { observed: true },
    fields: ['call'],
  },
  {
    name: 'sdk-json-observed',
    title: 'SDK v1 wiring, JSON, metrics and logs by hand',
    options: { json: true, observed: true },
    fields: ['call'],
  },
  {
    name: 'sdk-fast-observed',
    title: 'SDK v1 wiring, SSE, createHttpServer, metrics and logs by hand',
    options: { fast: true, observed: true },
    fields: ['call'],
  },
]
  .map((entry) => ({ ...entry, module: 'sdk' }))
  .concat({ name: 'sdk-stateless', title: 'SDK v1 wiring, stateless', module: 'sdk-stateless', fields: ['stateless'] })
  .map((entry) => ({ ...entry, group: 'sdk', cheap: true }));

/** In mcp-framework. */
const OFFERS =
  'every answer is offered to every open session, and each that does not take it is a line on stderr, which no option turns off';

/** @type {readonly Contender[]} */
const PEERS = [
  {
    name: 'mcp-proxy',
    title: 'mcp-proxy',
    module: 'mcp-proxy',
    fields: [...FULL, 'per-request-call', 'per-request-listen'],
    cheap: true,
  },
  {
    name: 'fastmcp',
    title: 'fastmcp',
    module: 'fastmcp',
    fields: FULL,
    opening: 250,
    builds: 'low-level',
    remarks: {
      open: 'each `initialize` takes a second, in which it looks ten times whether the client has told its capabilities',
    },
  },
  {
    name: 'mcp-framework',
    title: 'mcp-framework',
    module: 'mcp-framework',
    fields: FULL,
    builds: 'low-level',
    remarks: Object.fromEntries(['call-100', 'large-result', 'large-argument', 'open'].map((work) => [work, OFFERS])),
    fails: {
      progress: 'what a call reports does not go out on its own reply',
      'open-sessions': 'every answer is offered to every open session, so that to open 10,000 takes too long',
    },
  },
  {
    name: 'mongodb',
    title: '@mongodb-js/mcp-http-runners',
    module: 'mongodb',
    fields: [...FULL, 'per-request-call'],
    cheap: true,
  },
  { name: 'v2', title: 'SDK v2, stateful node transport', module: 'v2', fields: FULL, cheap: true },
  {
    name: 'v2-handler',
    title: 'SDK v2 createMcpHandler, protocol 2025-11-25',
    module: 'v2-handler',
    fields: ['stateless'],
    cheap: true,
  },
  {
    name: 'v2-handler-modern',
    title: 'SDK v2 createMcpHandler, protocol 2026-07-28',
    module: 'v2-handler',
    fields: ['stateless', 'stateless-modern', 'per-request-call', 'per-request-listen'],
    cheap: true,
  },
  {
    name: 'mcp-proxy-stateless',
    title: 'mcp-proxy, stateless',
    module: 'mcp-proxy',
    options: { stateless: true },
    fields: ['stateless'],
    cheap: true,
  },
  {
    name: 'fastmcp-stateless',
    title: 'fastmcp, stateless',
    module: 'fastmcp',
    options: { stateless: true },
    fields: ['stateless'],
  },
].map((entry) => ({ ...entry, group: 'peer' }));

/** @type {readonly Contender[]} */
const LIMITS = [
  { name: 'express', title: 'bare Express, express.json()', module: 'express', options: {} },
  {
    name: 'express-fast',
    title: 'bare Express, express.json(), createHttpServer',
    module: 'express',
    options: { fast: true },
  },
  { name: 'node', title: 'bare node:http', module: 'node' },
].map((entry) => ({ ...entry, group: 'limit', fields: ['call', 'call-1'] }));

/** @type {Contender} */
const ALONE = {
  name: 'server-alone',
  title: 'SDK v1 server alone, on a transport that does nothing',
  group: 'alone',
  module: 'server-alone',
  fields: ['memory', 'open-servers'],
  cheap: true,
  lowLevel: true,
};

export const CONTENDERS = [...OURS, ...SDK, ...PEERS, ...LIMITS, ALONE];

/** The base of all ratios: the SDK's plain wiring over Express in SSE. */
export const BASE = 'sdk';
export const STATELESS_BASE = 'sdk-stateless';
/** The base for clusters. No peer has one, so ratios are to sticky routing, which needs no hops. */
export const CLUSTER_BASE = 'cluster-sticky';
