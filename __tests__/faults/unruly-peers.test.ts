import { EmptyResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { pino } from 'pino';
import { memoryEventStore, type McpServerLike } from '../../src/index.js';
import { initializeBody, messagesOf, post } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, scriptedServer, startScripted, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

let harness: Scripted;
afterEach(() => harness.close());

describe('a client', () => {
  describe.each(REPLIES)('(%s)', (_, options) => {
    // Spec 2025-11-25, schema.ts, CancelledNotification: `reason` is an optional string.
    test.each([5, { because: 'I can' }, null, ['x']])(
      'that cancels with the reason %j has its request cancelled all the same, and its ID free',
      async (reason) => {
        const aborted = new Deferred<unknown>();
        const started = new Deferred();
        const release = new Deferred();
        const hang: Method = async (_params, { signal }) => {
          signal.addEventListener('abort', () => aborted.resolve(signal.reason));
          started.resolve();
          await release.promise;
          return { from: 'the first' };
        };
        const second = new Deferred<object>();
        harness = await startScripted({ hang, next: () => second.promise }, options());
        const session = await harness.session();
        const first = session.request(1, 'hang').then(answerOf);
        await started.promise;
        await session.notify('notifications/cancelled', { requestId: 1, reason });
        await soon('the signal has aborted', aborted.promise);
        await soon('the reply has ended', first);

        const next = session.call(1, 'next');
        await until('it runs', () => harness.router.sessions.get(session.id)?.requests === 1);
        release.resolve();
        // A whole exchange later, the first has said what it had to say.
        await session.call('fence', 'ping');
        second.resolve({ from: 'the second' });
        expect(await soon('the second answer', next)).toMatchObject({ id: 1, result: { from: 'the second' } });
      },
    );
  });

  test('whose Mcp-Session-Id is one message does not take that message out of the log', async () => {
    const log = new LogLines();
    const serverFactory = (): never => {
      throw new Error('the database rejected the credentials of the user');
    };
    harness = await startScripted({}, { serverFactory, logger: pino({}, log) });
    expect((await post(harness.url, initializeBody(), { 'mcp-session-id': 'e' })).status).toBe(500);
    await until('the request is logged', () => log.text.includes('request completed'));
    const errors = log.all.map(({ err }) => err as { message: string; stack: string } | undefined);
    const [error] = errors.filter((err) => err !== undefined);
    expect(error?.message).toBe('the database rejected the credentials of the user');
    expect(error?.stack).toContain('unruly-peers.test.ts');
    expect(log.text).not.toContain('…');
  });
});

describe('a server', () => {
  test.each([false, true])(
    'that is stateless and asks its client: refused at once, and the client sees no question (JSON: %j)',
    async (enableJsonResponse) => {
      const ask: Method = async (_params, extra) => {
        const asked = extra.sendRequest({ method: 'ping' }, EmptyResultSchema, { timeout: 60_000 });
        return { refused: await asked.then(() => 'not at all', String) };
      };
      harness = await startScripted({ ask }, { stateless: true, enableJsonResponse });
      const response = await soon('the reply', post(harness.url, { jsonrpc: '2.0', id: 1, method: 'ask' }));
      const text = await soon('its end', response.text());
      expect(enableJsonResponse ? [JSON.parse(text)] : messagesOf(text)).toEqual([
        { jsonrpc: '2.0', id: 1, result: { refused: expect.stringContaining('cannot send requests') } },
      ]);
    },
  );

  test.each([
    ['without an event store', undefined],
    ['with an event store', memoryEventStore()],
  ])(
    'that asks without end before a stream is open has 32 requests held, and each other refused (%s)',
    async (_, eventStore) => {
      harness = await startScripted({}, { eventStore });
      const session = await harness.session();
      const refusals: string[] = [];
      const asked = Array.from({ length: 200 }, () =>
        harness.servers[0]!.ping().catch((error: unknown) => void refusals.push(String(error))),
      );
      await until('the others are refused', () => refusals.length >= 200 - 32);
      const stream = await session.stream();
      for (let n = 0; n < 32; n += 1) {
        const { id, method } = await soon('a request that was held', stream.message());
        expect(method).toBe('ping');
        await session.answer(id, {});
      }
      await soon('every one has an end', Promise.all(asked));
      expect(refusals).toHaveLength(200 - 32);
      expect(new Set(refusals)).toEqual(
        new Set(['Error: The client has no SSE stream open, and too many requests wait for one already']),
      );
    },
  );

  test.each([false, true])(
    'that is stateless and closes itself while it is being connected: 500 at once, and nothing is left (JSON: %j)',
    async (enableJsonResponse) => {
      const serverFactory = (): McpServerLike => {
        const server = scriptedServer({});
        return {
          connect: async (transport) => {
            await server.connect(transport);
            await server.close();
          },
          close: () => server.close(),
        };
      };
      harness = await startScripted({}, { serverFactory, stateless: true, enableJsonResponse });
      const response = await soon('the reply', post(harness.url, { jsonrpc: '2.0', id: 1, method: 'ping' }));
      expect(response.status).toBe(500);
      expect(await response.json()).toEqual({
        jsonrpc: '2.0',
        id: 1,
        error: { code: -32603, message: 'Internal error' },
      });
      expect(harness.log.text).toContain('closed itself');
      await soon('the router is closed', harness.router.close());
      expect(harness.clock.pending).toBe(0);
    },
  );
});

describe('an app that closes a session while it is being opened', () => {
  test('sends its client no shutdown error, and counts no rejected session', async () => {
    const called = new Deferred<string>();
    harness = await startScripted(
      {},
      { serverFactory: ({ sessionId }) => (called.resolve(sessionId!), new Promise<never>(() => undefined)) },
    );
    const reply = post(harness.url, initializeBody(7));
    await harness.router.sessions.close(await called.promise);
    const response = await soon('the reply', reply);
    expect([response.status, await response.json()]).toEqual([
      404,
      { jsonrpc: '2.0', id: 7, error: { code: -32001, message: 'Session not found' } },
    ]);
    const metrics = await (await fetch(new URL('/mcp/metrics', harness.url))).text();
    const rejected = [...metrics.matchAll(/^mcp_sessions_rejected_total\{.*\} (\d+)$/gm)].map(([, value]) => value);
    expect(rejected.length).toBeGreaterThan(0);
    expect(new Set(rejected)).toEqual(new Set(['0']));
    expect(harness.router.sessions.list()).toEqual([]);
  });
});
