import { pino } from 'pino';
import { start, type Harness } from '../support/harness.js';
import { call, send } from '../support/per-request.js';
import { valueOf } from '../support/exposition.js';
import { FakeClock } from '../support/fake-clock.js';
import { LogLines } from '../support/log-lines.js';
import { until } from '../support/waiting.js';
import { answersTo, askedBy } from './asked.js';
import { askingServer } from './asking-server.js';

const capabilities = { elicitation: {} };
const alice = { headers: { 'x-user': 'alice' }, capabilities };
let lines: LogLines;
let clock: FakeClock;
let harness: Harness;

beforeEach(async () => {
  lines = new LogLines();
  clock = new FakeClock();
  harness = await start({
    perRequest: { servers: 'principal' },
    principal: (req) => req.headers['x-user'] as string | undefined,
    serverFactory: () => askingServer(),
    logger: pino({}, lines),
    clock,
  });
});
afterEach(() => harness.close());

const metric = async (name: string, labels: Readonly<Record<string, string>> = {}) =>
  valueOf(await (await fetch(new URL('/mcp/metrics', harness.url))).text(), name, labels);

describe('the metrics of MCP 2026-07-28 (docs/operations.md, "Metrics")', () => {
  test('count its requests under their method, apart from those of sessions', async () => {
    const count = (era: string, method: string) =>
      metric('mcp_server_operation_duration_seconds_count', { era, mcp_method_name: method, outcome: 'ok' });
    await call(harness.url, 'add', { a: 1, b: 2 }, alice);
    await send(harness.url, 'server/discover', alice);
    const client = await harness.client();
    for (let n = 0; n < 2; n += 1) await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } });
    expect(await count('request', 'tools/call')).toBe(1);
    expect(await count('request', 'server/discover')).toBe(1);
    expect(await count('session', 'tools/call')).toBe(2);
    expect(await count('session', 'initialize')).toBe(1);
    expect(await count('request', 'initialize')).toBeUndefined();
  });

  test('show its servers and its calls that wait for their clients', async () => {
    const shown = async () => [
      await metric('mcp_per_request_suspended'),
      await metric('mcp_per_request_servers', { state: 'busy' }),
      await metric('mcp_per_request_servers', { state: 'idle' }),
    ];
    expect(await shown()).toEqual([0, 0, 0]);
    const asked = askedBy(await call(harness.url, 'once', {}, alice));
    await call(harness.url, 'add', { a: 1, b: 2 }, { ...alice, headers: { 'x-user': 'bob' } });
    expect(await shown()).toEqual([1, 1, 1]);
    const params = { requestState: asked.requestState, inputResponses: answersTo(asked, { only: 'x' }) };
    await call(harness.url, 'once', {}, { ...alice, params });
    expect(await shown()).toEqual([0, 0, 2]);
    clock.advance(60_000);
    expect(await shown()).toEqual([0, 0, 0]);
  });
});

test('the log line of a refused request has the name of its error (docs/operations.md, "Logs")', async () => {
  await call(harness.url, 'add', { a: 1, b: 2 }, alice);
  await send(harness.url, 'tools/list', { headers: { 'mcp-method': 'ping' } });
  await send(harness.url, 'x/y');
  await send(harness.url, 'tools/call', { params: { name: 'roots' } });
  const logged = () =>
    lines.all.filter(({ msg }) => msg === 'request completed').map(({ method, error }) => [method, error]);
  await until('all are logged', () => logged().length === 4);
  expect(logged()).toEqual([
    ['tools/call', undefined],
    ['tools/list', 'headerMismatch'],
    ['x/y', 'methodNotFound'],
    ['tools/call', 'missingCapability'],
  ]);
});
