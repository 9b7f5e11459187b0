import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CoreEvents, OrphanCause } from '../../src/events.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { createMetrics } from '../../src/observe/prometheus/metrics.js';
import { startApp, type StartedApp } from '../example-app/start.js';
import { ensureDebianTool } from '../support/debian.js';
import { openSession } from '../support/harness.js';
import { NO_PARTY, levelsOf, sessionInfo } from '../support/session-info.js';
import { freePort } from '../support/free-port.js';

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

async function promtoolSays(text: string): Promise<{ said: string; code: unknown }> {
  const promtool = execFile(await ensureDebianTool('promtool', 'prometheus'), ['check', 'metrics']);
  let said = '';
  promtool.stdout!.on('data', (chunk: string) => (said += chunk));
  promtool.stderr!.on('data', (chunk: string) => (said += chunk));
  promtool.stdin!.end(text);
  const [code] = await once(promtool, 'close');
  return { said, code };
}

/** The value of an instant query that has one result; undefined while it has none, or Prometheus does not answer yet. */
async function query(origin: string, expression: string): Promise<number | undefined> {
  const response = await fetch(`${origin}/api/v1/query?query=${encodeURIComponent(expression)}`).catch(() => undefined);
  if (response?.status !== 200) return undefined;
  const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
  const value = data.result[0]?.value[1];
  return value === undefined ? undefined : Number(value);
}

async function until(condition: () => Promise<boolean>, whatElse: () => string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 30 s: ${whatElse()}`);
    await new Promise((tick) => setTimeout(tick, 100));
  }
}

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

    const folder = await mkdtemp(join(tmpdir(), 'prometheus-'));
    cleanUp.push(() => rm(folder, { recursive: true }));
    const target = new URL(app.url).host;
    await writeFile(
      join(folder, 'prometheus.yml'),
      JSON.stringify({
        global: { scrape_interval: '1s' },
        scrape_configs: [{ job_name: 'mcp', static_configs: [{ targets: [target] }] }],
      }),
    );
    const origin = `127.0.0.1:${await freePort()}`;
    const prometheus = await start(folder, origin);
    cleanUp.push(prometheus.stop);

    const ask = (expression: string) => query(`http://${origin}`, expression);
    // Prometheus' next scrape may come before the last session counts as orphaned.
    const orphaned = async () => (await ask('sum(mcp_sessions_orphaned)')) === STREAM_LOST + IDLE;
    await until(orphaned, prometheus.said);
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

/** Starts a Prometheus that keeps everything in the folder, which holds its `prometheus.yml`. */
async function start(folder: string, address: string): Promise<{ said: () => string; stop: () => Promise<void> }> {
  const prometheus: ChildProcess = spawn(
    await ensureDebianTool('prometheus', 'prometheus'),
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  prometheus.stderr!.on('data', (text: Buffer) => (said += text.toString()));
  const exited = once(prometheus, 'exit');
  return {
    said: () => said,
    stop: async () => {
      prometheus.kill();
      await exited;
    },
  };
}
