import type { CoreEvents, OrphanCause } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { createMetrics } from '../../src/observe/prometheus/metrics.js';
import { startApp, type StartedApp } from '../example-app/start.js';
import { ensureDebianTool } from '../support/debian.js';
import { openSession } from '../support/harness.js';
import { NO_PARTY, levelsOf, sessionInfo } from '../support/session-info.js';
import { Prometheus, promtool } from '../support/prometheus.js';
import { until } from '../support/waiting.js';

/** Of each state some, so that no query gives the right number by chance. */
const ACTIVE = 3;
const STREAM_LOST = 2;
const IDLE = 1;

const orphans = (cause: OrphanCause, number: number) =>
  Array.from({ length: number }, () => sessionInfo({ state: 'orphaned', orphanCause: cause }));
// Here, as the metrics hold it weakly.
const SESSIONS = levelsOf([
  ...Array.from({ length: ACTIVE }, () => sessionInfo()),
  ...orphans('stream_lost', STREAM_LOST),
  ...orphans('idle', IDLE),
]);

function routerWithSessions() {
  const events = new Emitter<CoreEvents>((_name, error) => {
    throw error;
  });
  const metrics = createMetrics(events, SESSIONS, {});
  events.emit('requestSettled', { id: 1, method: 'tools/call' }, 'ok', 42, NO_PARTY);
  events.emit('requestSettled', { id: 1, method: '"}\n\\' }, 'error', 42, NO_PARTY);
  events.emit('rejected', 'atCapacity', NO_PARTY);
  return metrics;
}

/** The example app with real clients: some that stay, some that lost their stream, some that never had one. */
async function appWithClients(): Promise<StartedApp> {
  const app = await startApp({ MCP_ORPHAN_AFTER_MS: '200' });
  for (let n = 0; n < ACTIVE; n++) await (await app.connect()).listening;
  for (let n = 0; n < STREAM_LOST; n++) {
    const { client, listening } = await app.connect();
    await listening;
    await client.close();
  }
  for (let n = 0; n < IDLE; n++) await openSession(new URL('/mcp', app.url));
  return app;
}

const promtoolSays = (text: string) => promtool(['check', 'metrics'], text);

describe('Prometheus itself (the package of Debian)', () => {
  const cleanUp: (() => unknown)[] = [];
  // Downloads the package where it is not there yet.
  beforeAll(() => ensureDebianTool('promtool', 'prometheus'), 300_000);
  afterEach(async () => {
    for (const step of cleanUp.splice(0).reverse()) await step();
  });

  test('`promtool check metrics` finds no fault in the metrics', async () => {
    expect(await promtoolSays(await routerWithSessions().registry.metrics())).toEqual({ said: '', code: 0 });
  });

  test('scrapes the example app, which real clients use, and answers queries for both gauges', async () => {
    const app = await appWithClients();
    cleanUp.push(() => app.close());
    const metrics = await (await fetch(new URL('/metrics', app.url))).text();
    expect(await promtoolSays(metrics)).toEqual({ said: '', code: 0 });

    const prometheus = await Prometheus.start([new URL(app.url).host]);
    cleanUp.push(() => prometheus.stop());
    const ask = (expression: string) => prometheus.value(expression);
    // Prometheus' next scrape may come before the last session counts as orphaned.
    await until(
      'all orphaned sessions are counted',
      async () => (await ask('sum(mcp_sessions_orphaned)')) === STREAM_LOST + IDLE,
    );
    expect(await ask('up{job="mcp"}')).toBe(1);
    expect(await ask('mcp_sessions_active')).toBe(ACTIVE);
    expect(await ask('mcp_sessions_orphaned{cause="stream_lost"}')).toBe(STREAM_LOST);
    expect(await ask('mcp_sessions_orphaned{cause="idle"}')).toBe(IDLE);
    expect(await ask('mcp_server_operation_duration_seconds_count{mcp_method_name="initialize",outcome="ok"}')).toBe(
      ACTIVE + STREAM_LOST + IDLE,
    );
    expect(await ask('mcp_sessions_closed_total{reason="expired"}')).toBe(0);
  });
});
