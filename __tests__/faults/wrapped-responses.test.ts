import type { ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { memoryEventStore, type McpRouterOptions } from '../../src/index.js';
import { initializeBody, post } from '../support/harness.js';
import { RawSession } from '../support/raw-session.js';
import { REPLIES, startScripted, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// Middleware that compresses, times or logs puts its own `writeHead` over that of the response. Some forget that Node's
// returns the response (http, `response.writeHead`), and any may throw. A rejection that nobody handles fails a test here.

let harness: Scripted;
afterEach(() => harness.close());

/** Wraps the response to each request that has an `x-wrapped` header. */
const wrapping =
  (wrap: (res: ServerResponse) => void): RequestHandler =>
  (req, res, next) => {
    if (req.headers['x-wrapped'] !== undefined) wrap(res);
    next();
  };

const WRAPPED = { 'x-wrapped': '1' };

const startWrapped = async (
  wrap: (res: ServerResponse) => void,
  options: Partial<McpRouterOptions>,
  methods: Readonly<Record<string, Method>> = {},
) => {
  harness = await startScripted(methods, options, undefined, (app, router) => app.use('/mcp', wrapping(wrap), router));
};

/** The session, as spoken to through the wrapped response. */
const wrapped = (session: RawSession): RawSession =>
  Object.create(session, { headers: { value: { ...session.headers, ...WRAPPED } } }) as RawSession;

const begin: Method = async (_params, extra) => {
  await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
  return { done: true };
};

describe.each(REPLIES)('a response whose writeHead does not return it (%s)', (_, options) => {
  const forgetThis = (res: ServerResponse): void => {
    const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => ServerResponse;
    res.writeHead = ((...args: unknown[]) => void writeHead(...args)) as never;
  };

  test('serves as any other: initialize, a call, a stream, an error', async () => {
    await startWrapped(forgetThis, options(), { begin });
    const session = await RawSession.open(harness.url, { headers: WRAPPED });
    expect(await session.call(1, 'ping')).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
    expect(await session.call(2, 'begin')).toEqual({ jsonrpc: '2.0', id: 2, result: { done: true } });
    const stream = await session.stream();
    await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'outside' });
    expect(await stream.message()).toMatchObject({ params: { data: 'outside' } });
    const refused = await session.post({ nonsense: true });
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { code: -32600 } }]);
    expect(harness.log.text).not.toContain('TypeError');
  });
});

describe.each(REPLIES)('a response whose writeHead throws (%s)', (_, options) => {
  const fail = (res: ServerResponse): void => {
    res.writeHead = () => {
      throw new Error('a broken middleware');
    };
  };

  /** What such a response is to its client. */
  const expectHungUp = (reply: Promise<Response>) =>
    expect(
      soon(
        'the reply is broken off',
        reply.then((response) => response.text()),
      ),
    ).rejects.toThrow(/fetch failed|terminated/);

  const expectToExpire = async (session: RawSession) => {
    expect(harness.router.sessions.get(session.id)?.requests).toBe(0);
    await harness.unattached(session);
    harness.clock.advance(30 * 60_000);
    expect(harness.router.sessions.list()).toEqual([]);
    await until('no timer is left', () => harness.clock.pending === 0);
    expect(harness.log.text).toContain('a broken middleware');
  };

  test('costs its client the answer only: other calls go on, and the session expires in time', async () => {
    const release = new Deferred<object>();
    await startWrapped(fail, options(), { begin, work: () => release.promise });
    const session = await harness.session();
    const other = session.call('other', 'work');
    await until('it runs', () => harness.router.sessions.get(session.id)?.requests === 1);
    for (const method of ['ping', 'begin']) await expectHungUp(wrapped(session).request(1, method));
    await until('they are settled', () => harness.router.sessions.get(session.id)?.requests === 1);
    release.resolve({ done: true });
    expect(await soon('the other answer', other)).toMatchObject({ result: { done: true } });
    expect(await session.call(1, 'ping')).toMatchObject({ result: {} });
    await expectToExpire(session);
  });

  test('leaves no session behind if it had the session ID', async () => {
    await startWrapped(fail, options());
    await expectHungUp(post(harness.url, initializeBody(), WRAPPED));
    await until('nothing is left', () => harness.router.sessions.list().length === 0);
    expect(harness.serversOpen()).toBe(0);
  });

  test('does not hold its session as a standalone stream, and the next one opens', async () => {
    await startWrapped(fail, options());
    const session = await harness.session();
    await expectHungUp(wrapped(session).get());
    await harness.unattached(session);
    const hangUp = new AbortController();
    await session.stream(undefined, hangUp.signal);
    hangUp.abort();
    await expectToExpire(session);
  });

  test('costs no more when the keep-alive begins the reply', async () => {
    const started = new Deferred();
    const release = new Deferred<object>();
    await startWrapped(fail, { ...options(), keepAlive: 10_000 }, { work: () => (started.resolve(), release.promise) });
    const session = await harness.session({ version: '2025-06-18' });
    const reply = expectHungUp(wrapped(session).request(1, 'work'));
    await started.promise;
    harness.clock.advance(10_000);
    release.resolve({ done: true });
    await reply;
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    await expectToExpire(session);
  });

  test('costs no more when the reply is an error', async () => {
    await startWrapped(fail, options());
    await expectHungUp(post(harness.url, { nonsense: true }, WRAPPED));
    expect(harness.log.text).toContain('a broken middleware');
    const session = await harness.session();
    expect(await session.call(1, 'ping')).toMatchObject({ result: {} });
  });
});

test('a resume on a response whose writeHead throws leaves the stream to the next one, and to the end of the session', async () => {
  const fail = (res: ServerResponse): void => {
    res.writeHead = () => {
      throw new Error('a broken middleware');
    };
  };
  await startWrapped(fail, { eventStore: memoryEventStore(), maxLifetime: 60_000 });
  const session = await harness.session();
  const lastEventId = await harness.openAndLose(session);
  await harness.servers[0]!.sendLoggingMessage({ level: 'info', data: 'missed' });
  await expect(soon('the reply is broken off', wrapped(session).get(lastEventId))).rejects.toThrow('fetch failed');
  await harness.unattached(session);
  await session.stream();
  const resumed = await session.stream(lastEventId);
  expect(await resumed.message()).toMatchObject({ params: { data: 'missed' } });
  harness.clock.advance(60_000);
  await soon('the stream has ended', resumed.blocks());
  await until('the session has ended', () => harness.router.sessions.list().length === 0);
});
