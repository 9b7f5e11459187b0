import { EventStream } from '../support/event-stream.js';
import { post } from '../support/harness.js';
import { answerOf } from '../support/raw-session.js';
import { REPLIES, startScripted, type Extra, type Method, type Scripted } from '../support/scripted.js';
import { Deferred, soon, until } from '../support/waiting.js';

// An unhandled rejection or an uncaught exception anywhere in the process fails the test that it falls into (jest-circus),
// so that each of these also says that there was none.

let harness: Scripted;
afterEach(() => harness.close());

const INTERNAL = { code: -32603, message: 'Internal error' };

const circular: Record<string, unknown> = {};
circular.self = circular;

/** Results that are none: JSON cannot say them, or JSON-RPC 2.0, 5 and MCP (a result is an object) do not allow them. */
const UNSENDABLE: [what: string, result: unknown][] = [
  ['has a BigInt', { n: 1n }],
  ['is circular', circular],
  ['has a toJSON that throws', { toJSON: () => fail(new Error('secret')) }],
  ['is undefined', undefined],
  ['is null', null],
  ['is a number', 5],
  ['is a string', 'text'],
  ['is an array', []],
];

const talkFirst =
  (then: Method): Method =>
  async (params, extra, server) => {
    await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
    return then(params, extra, server);
  };

describe.each([...REPLIES, ['stateless', () => ({ stateless: true })] as const])(
  'an answer that fails (%s)',
  (_, options) => {
    /** A client of whichever mode: stateless ones have no session. */
    const startClient = async (methods: Record<string, Method>) => {
      harness = await startScripted(methods, options());
      if (harness.router.sessions.stats().active === 0 && 'stateless' in options()) {
        const request = (id: number, method: string) => post(harness.url, { jsonrpc: '2.0', id, method });
        return { request, call: async (id: number, method: string) => answerOf(await request(id, method)) };
      }
      return harness.session();
    };

    test.each(UNSENDABLE)(
      'as its result %s: an error, the cause to the log, and the ID is free',
      async (_what, result) => {
        const client = await startClient({ work: () => result });
        const answer = await soon('the answer', client.call(1, 'work'));
        expect(answer).toEqual({ jsonrpc: '2.0', id: 1, error: INTERNAL });
        expect(harness.log.text).toContain('work');
        expect(await client.call(1, 'ping')).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
      },
    );

    test.each(UNSENDABLE)(
      'as its result %s, after SSE began: the stream ends with the error',
      async (_what, result) => {
        const client = await startClient({ work: talkFirst(() => result) });
        const stream = new EventStream(await client.request(1, 'work'));
        expect(await soon('the stream has ended', stream.messages())).toEqual([
          expect.objectContaining({ method: 'notifications/message' }),
          { jsonrpc: '2.0', id: 1, error: INTERNAL },
        ]);
      },
    );

    test('as its handler throws after SSE began: the stream ends with the error', async () => {
      const client = await startClient({
        work: talkFirst(() => fail(Object.assign(new Error('broken'), { code: -32042 }))),
      });
      const stream = new EventStream(await client.request(1, 'work'));
      const messages = await soon('the stream has ended', stream.messages());
      expect(messages.slice(1)).toEqual([{ jsonrpc: '2.0', id: 1, error: { code: -32042, message: 'broken' } }]);
      expect(harness.log.all).toEqual([]);
    });

    test('as its error has data that JSON cannot hold: an error without the data', async () => {
      const client = await startClient({ work: () => fail(Object.assign(new Error('broken'), { data: { n: 1n } })) });
      expect(await soon('the answer', client.call(1, 'work'))).toEqual({ jsonrpc: '2.0', id: 1, error: INTERNAL });
    });

    test('as its handler throws a value that is no Error: an error', async () => {
      const client = await startClient({ work: () => fail({ some: 'object' }) });
      expect(await soon('the answer', client.call(1, 'work'))).toEqual({ jsonrpc: '2.0', id: 1, error: INTERNAL });
    });

    test('as a notification has params that JSON cannot hold: the notification rejects, and the call goes on', async () => {
      const told = new Deferred<unknown>();
      const work = async (_params: unknown, extra: Extra) => {
        const params = { level: 'info' as const, data: 1n };
        await extra.sendNotification({ method: 'notifications/message', params }).catch(told.resolve);
        return {};
      };
      const client = await startClient({ work });
      expect(await client.call(1, 'work')).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
      expect(String(await told.promise)).toContain('BigInt');
    });
  },
);

describe.each(REPLIES)('a reply that other middleware has ended (%s)', (_, options) => {
  test('gets no more bytes, and its request settles with its handler', async () => {
    const release = new Deferred<object>();
    const began = new Deferred<() => void>();
    harness = await startScripted({ work: talkFirst(() => release.promise) }, options(), undefined, (app, router) => {
      app.use('/mcp', (req, res, next) => {
        // As a time-out of the app's would.
        if (req.headers['x-cut'] !== undefined)
          began.resolve(() => (res.headersSent ? res.end() : res.writeHead(503).end('cut')));
        next();
      });
      app.use('/mcp', router);
    });
    const session = await harness.session();
    const cut = post(harness.url, { jsonrpc: '2.0', id: 1, method: 'work' }, { ...session.headers, 'x-cut': '1' });
    (await began.promise)();
    const response = await cut;
    expect([response.status, await response.text()]).toEqual([503, 'cut']);
    await until('it runs', () => harness.router.sessions.get(session.id)?.requests === 1);
    release.resolve({});
    await until('it is settled', () => harness.router.sessions.get(session.id)?.requests === 0);
    expect(await session.call(1, 'ping')).toMatchObject({ result: {} });
  });
});

function fail(error: unknown): never {
  throw error;
}
