import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RedisServer } from '../support/redis-server.js';
import { soon, until } from '../support/waiting.js';
import { AppProcesses, type AppProcess } from './app-process.js';
import { LastingClient } from './lasting-clients.js';

/** `npm run check:long` sets more. */
const V1_CLIENTS = Number(process.env.RESTART_CLIENTS ?? 8);
const V2_CLIENTS = Math.ceil(V1_CLIENTS / 10);
const ALL = V1_CLIENTS + V2_CLIENTS;

const processes = new AppProcesses();
beforeAll(() => processes.build());

let clients: LastingClient[] = [];
afterEach(async () => {
  await Promise.all(clients.map(({ sdk }) => sdk.close()));
  clients = [];
  await processes.killAll();
});

const inAll = <T>(act: (client: LastingClient, index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(clients.map(act));

/** Starts the app again on the same port, as a process manager does. */
async function startAgain(url: string, env: Record<string, string>): Promise<AppProcess> {
  const app = processes.start(['--port', new URL(url).port], env);
  await app.url();
  return app;
}

/** What the server itself says. */
async function metric(url: string, sample: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${sample} `))
      ?.slice(sample.length + 1),
  );
}

const streamsOpen = (url: string): Promise<void> =>
  until('all GET streams are open', async () => (await metric(url, 'mcp_streams_open{kind="standalone"}')) === ALL);

const notesOf = (index: number, more: string[] = []): string =>
  [`first of ${index}`, `second of ${index}`, ...more].map((text, at) => `${at + 1}: ${text}`).join('\n');

/** Has each client leave in its session all that is to be there again after a restart. */
async function connectAll(url: string): Promise<void> {
  clients = await Promise.all([
    ...Array.from({ length: V1_CLIENTS }, () => LastingClient.v1(url)),
    ...Array.from({ length: V2_CLIENTS }, () => LastingClient.v2(url)),
  ]);
  await inAll(async (client, index) => {
    await client.call('add_note', { text: `first of ${index}` });
    await client.call('add_note', { text: `second of ${index}` });
    await client.sdk.setLoggingLevel('warning');
    await client.sdk.subscribeResource({ uri: 'notes://1' });
  });
  await streamsOpen(url);
}

/** Everything is as the clients left it: notes, log level, subscriptions, and GET streams to hear of them. */
async function expectAllThere(url: string, more: string[] = []): Promise<void> {
  expect(await inAll((client) => client.call('list_notes'))).toEqual(clients.map((_, index) => notesOf(index, more)));
  await streamsOpen(url);
  await inAll(async (client, index) => {
    client.logged.length = client.updated.length = 0;
    await client.call('announce', { text: 'below', level: 'notice' });
    await client.call('edit_note', { id: '2', text: `second of ${index}` });
    await client.call('edit_note', { id: '1', text: `first of ${index}` });
    await client.call('announce', { text: 'at', level: 'warning' });
  });
  // A stream keeps its order: what was announced last comes last.
  await until('all have heard', () => clients.every(({ logged }) => logged.at(-1) === 'at'));
  for (const { logged, updated } of clients)
    expect({ logged, updated }).toEqual({ logged: ['at'], updated: ['notes://1'] });
}

/** Each session is restored once, and no client got an error. */
async function expectRestoredOnce(url: string): Promise<void> {
  expect(await metric(url, 'mcp_sessions_restored_total')).toBe(ALL);
  expect(await metric(url, 'mcp_sessions_active')).toBe(ALL);
  const text = await (await fetch(`${url}/metrics`)).text();
  expect(text.split('\n').filter((line) => /^mcp_sessions_rejected_total\{.*\} (?!0$)/.test(line))).toEqual([]);
}

/** Where sessions are recorded, for a test of its own. */
interface Home {
  readonly env: Record<string, string>;
  close(): Promise<void>;
}

const HOMES: [string, () => Promise<Home>][] = [
  [
    'a file store',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'restart-'));
      const env = { MCP_SESSION_STORE: 'file', MCP_SESSION_FILE: join(folder, 'sessions') };
      return { env, close: () => rm(folder, { recursive: true }) };
    },
  ],
  [
    'Redis',
    async () => {
      const redis = await RedisServer.start();
      return { env: { MCP_SESSION_STORE: 'redis', MCP_REDIS_URL: redis.url }, close: () => redis.stop() };
    },
  ],
];

describe.each(HOMES)('with %s', (_name, open) => {
  let home: Home;
  let env: Record<string, string>;
  beforeEach(async () => {
    home = await open();
    ({ env } = home);
  });
  afterEach(() => home.close());

  it('every client goes on after kill -9, twice over, with notes, log level, subscription and GET stream', async () => {
    let app = processes.start(['--port', '0'], env);
    const url = await app.url();
    await connectAll(url);
    const told: string[] = [];
    for (const text of ['told just before it died', 'and once more']) {
      await inAll((client) => client.call('add_note', { text }));
      app.child.kill('SIGKILL');
      told.push(text);
      await app.exited;
      app = await startAgain(url, env);
      await expectAllThere(url, told);
      await expectRestoredOnce(url);
    }
  });

  it('every client goes on after SIGTERM, and calls that were in flight finish first', async () => {
    const app = processes.start(['--port', '0'], env);
    const url = await app.url();
    await connectAll(url);
    let signalled = false;
    const signal = (): void => void (signalled ||= app.child.kill('SIGTERM'));
    const inFlight = Promise.all(
      [...clients.slice(0, 3), ...clients.slice(-3)].map((client) => client.countdown(signal)),
    );
    expect(await inFlight).toEqual(
      Array(6).fill(expect.objectContaining({ content: [{ type: 'text', text: 'Counted down from 2.' }] })),
    );
    expect(await soon('it ends', app.exited)).toMatchObject({ code: 0, signal: null });
    await startAgain(url, env);
    await expectAllThere(url);
    await expectRestoredOnce(url);
  });
});

it('without a store, MCP_STALE_SESSIONS=reissue costs each client one error, and then it goes on in a new session', async () => {
  const env = { MCP_STALE_SESSIONS: 'reissue' };
  const app = processes.start(['--port', '0'], env);
  const url = await app.url();
  clients = await Promise.all(Array.from({ length: V1_CLIENTS }, () => LastingClient.v1(url)));
  await inAll((client) => client.call('add_note', { text: 'of the old session' }));
  app.child.kill('SIGKILL');
  await app.exited;
  await startAgain(url, env);
  const failed = await inAll((client) => client.call('list_notes').catch((error: unknown) => error));
  expect(failed).toEqual(clients.map(() => expect.objectContaining({ code: 404 })));
  expect(await inAll((client) => client.call('list_notes'))).toEqual(clients.map(() => 'This session has no notes.'));
  await inAll((client, index) => client.call('add_note', { text: `of ${index}` }));
  expect(await inAll((client) => client.call('list_notes'))).toEqual(clients.map((_, index) => `1: of ${index}`));
});
