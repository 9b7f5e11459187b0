import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { initializeBody, messagesOf, openSession, post } from '../support/harness.js';
import { RedisServer } from '../support/redis-server.js';
import { soon, until } from '../support/waiting.js';
import { AppProcesses, type AppProcess } from './app-process.js';

/** What a Redis that is back may take to be used again. */
const BACK_WITHIN_MS = 20_000;

const processes = new AppProcesses();
let redis: RedisServer;
let env: Record<string, string>;
beforeAll(async () => {
  processes.build();
  redis = await RedisServer.start({ appendOnly: true });
  env = { MCP_SESSION_STORE: 'redis', MCP_REDIS_URL: redis.url };
});
beforeEach(() => redis.restart());
afterEach(() => processes.killAll());
afterAll(() => redis.stop());

async function started(other: Record<string, string> = {}): Promise<{ app: AppProcess; url: URL }> {
  const app = processes.start(['--port', '0'], { ...env, ...other });
  return { app, url: new URL('/mcp', await app.url()) };
}

const initialize = (url: URL): Promise<Response> => post(url, initializeBody());

function call(url: URL, session: string, name: string, args: Record<string, unknown> = {}): Promise<Response> {
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } };
  return post(url, message, { 'mcp-session-id': session });
}

/** What a tool said. */
async function said(response: Response): Promise<string> {
  const [answer] = messagesOf(await response.text()) as { result: { content: { text: string }[] } }[];
  return answer?.result.content[0]?.text ?? '';
}

/** Soon, as nothing is left to wait for Redis; where Redis seems to be there, the router waits for five seconds. */
async function expectUnavailable(asked: Promise<Response>, withinMs = 4_000): Promise<void> {
  const since = performance.now();
  const response = await soon('it is answered', asked);
  expect(performance.now() - since).toBeLessThan(withinMs);
  expect(response.status).toBe(503);
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await response.json()).toMatchObject({ error: { message: 'Service Unavailable: the store does not answer' } });
}

/** From now on: that until Redis is used again there is 503 and nothing else, and not for long. */
async function expectBackSoon(ask: () => Promise<Response>): Promise<Response> {
  const since = performance.now();
  let response!: Response;
  await until('Redis is used again', async () => {
    response = await ask();
    if (response.status === 503) await response.text();
    else expect(response.status).toBe(200);
    return response.ok;
  });
  expect(performance.now() - since).toBeLessThan(BACK_WITHIN_MS);
  return response;
}

const logged = (app: AppProcess, message: string): unknown[] =>
  app.lines().flatMap(({ msg, level }) => (msg === message ? [level] : []));

it('a start does not wait for Redis: 503 with Retry-After until it comes, then sessions within two seconds', async () => {
  await redis.kill();
  const { app, url } = await started();
  expect((await fetch(new URL('/healthz', url))).status).toBe(200);
  await expectUnavailable(initialize(url));
  await redis.restart();
  await expectBackSoon(() => initialize(url));
  expect(logged(app, 'Redis is away')).toEqual([50]);
  expect(logged(app, 'Redis is there')).toEqual([30]);
});

it('an app that starts while Redis is away answers no session with 404', async () => {
  const { app, url } = await started();
  const session = await openSession(url);
  await said(await call(url, session, 'add_note', { text: 'milk' }));
  app.child.kill('SIGKILL');
  await Promise.all([app.exited, redis.kill()]);
  await processes.start(['--port', url.port], env).url();
  const headers = { 'mcp-session-id': session, accept: 'text/event-stream' };
  await expectUnavailable(call(url, session, 'list_notes'));
  await expectUnavailable(fetch(url, { headers }));
  await expectUnavailable(fetch(url, { headers, method: 'DELETE' }));
  await redis.restart();
  expect(await said(await expectBackSoon(() => call(url, session, 'list_notes')))).toBe('1: milk');
});

it('sessions go on while Redis is away; a note that is not saved is said to be so, and is with the next one', async () => {
  const { app, url } = await started();
  const session = await openSession(url);
  await redis.kill();
  await expectUnavailable(initialize(url));
  expect(await said(await call(url, session, 'add_note', { text: 'milk' }))).toBe(
    'Added note 1. It is not saved yet, and would be lost if the server ended now.',
  );
  expect(await said(await call(url, session, 'list_notes'))).toBe('1: milk');
  await redis.restart();
  await expectBackSoon(() => initialize(url));
  expect(await said(await call(url, session, 'add_note', { text: 'bread' }))).toBe('Added note 2.');
  app.child.kill('SIGKILL');
  await app.exited;
  await processes.start(['--port', url.port], env).url();
  expect(await said(await call(url, session, 'list_notes'))).toBe('1: milk\n2: bread');
});

it('a Redis that hangs gets 503 too, and is used again as soon as it answers', async () => {
  const { url } = await started();
  await initialize(url);
  redis.pause();
  try {
    await expectUnavailable(initialize(url), 20_000);
  } finally {
    redis.resume();
  }
  await expectBackSoon(() => initialize(url));
});

it('a connection that died without a word is given up for a new one', async () => {
  const silent = new Set<Socket>();
  const proxy = createServer((near) => {
    const far = connect(redis.port, '127.0.0.1');
    silent.add(near).add(far);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on('error', () => socket.destroy());
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const { port } = proxy.address() as AddressInfo;
  const { app, url } = await started({ MCP_REDIS_URL: `redis://127.0.0.1:${port}` });
  for (const socket of silent) socket.unpipe();
  await expectUnavailable(initialize(url), 20_000);
  await expectBackSoon(() => initialize(url));
  app.child.kill('SIGKILL');
  await app.exited;
  for (const socket of silent) socket.destroy();
  proxy.close();
});

it('SIGTERM ends the app while Redis is away', async () => {
  const { app, url } = await started();
  await openSession(url);
  await redis.kill();
  app.child.kill('SIGTERM');
  expect(await soon('it ends', app.exited)).toMatchObject({ code: 0, signal: null });
});
