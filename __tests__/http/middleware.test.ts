import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPError } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import compression from 'compression';
import cors from 'cors';
import { rateLimit } from 'express-rate-limit';
import session from 'express-session';
import helmet from 'helmet';
import type { McpRouterOptions } from '../../src/index.js';
import { EventStream } from '../support/event-stream.js';
import { echoCall, echoServer, openSession, post, start, type Harness } from '../support/harness.js';
import { RawSession } from '../support/raw-session.js';
import { REPLIES } from '../support/scripted.js';
import { Deferred, soon } from '../support/waiting.js';

// What apps mount before their routes. Each of these packages wraps the response or sets its headers. `compression` holds back
// what it compresses, except where `Cache-Control: no-transform` forbids it (RFC 9111, 5.2.2.6).

/** Requests that the rate limit lets through. */
const LIMIT = 20;
const LIMITED = { jsonrpc: '2.0', error: { code: -32000, message: 'Slow down' }, id: null };
const JSON_REPLY = { enableJsonResponse: true } satisfies Partial<McpRouterOptions>;

let harness: Harness;
let server: McpServer;
let released: Deferred;
const limiter = rateLimit({
  windowMs: 60 * 60_000,
  limit: LIMIT,
  message: LIMITED,
  keyGenerator: () => 'everyone',
  standardHeaders: 'draft-8',
});
const reset = () => limiter.resetKey('everyone');

/** Its tool `work` tells of progress, and then waits for the release. */
function workingServer(): McpServer {
  server = echoServer();
  server.registerTool('work', {}, async ({ _meta, sendNotification }) => {
    const progressToken = _meta!.progressToken!;
    await sendNotification({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
    await released.promise;
    return { content: [{ type: 'text', text: 'worked' }] };
  });
  return server;
}

async function startBehind(options: Partial<McpRouterOptions>): Promise<void> {
  released = new Deferred();
  reset();
  harness = await start({ serverFactory: workingServer, ...options }, (app, router) => {
    app.use(
      helmet(),
      cors({ origin: 'https://app.example', exposedHeaders: ['Mcp-Session-Id'] }),
      session({ secret: 'of the test', resave: false, saveUninitialized: true }),
      limiter,
      compression({ threshold: 0 }),
    );
    app.use('/mcp', router);
  });
}

afterEach(() => harness.close());

const HEADERS = {
  'strict-transport-security': /max-age/,
  'access-control-allow-origin': /^https:\/\/app\.example$/,
  'set-cookie': /^connect\.sid=/,
  'ratelimit-policy': /q=20/,
};

function expectHeadersOfAll({ headers }: Response): void {
  for (const [name, value] of Object.entries(HEADERS))
    expect([name, headers.get(name)]).toEqual([name, expect.stringMatching(value)]);
}

describe.each(REPLIES)(
  'behind compression, helmet, express-session, express-rate-limit and cors (%s)',
  (_, options) => {
    test('a client initializes, lists, and calls; progress arrives while the call runs', async () => {
      await startBehind(options());
      const client = await harness.client();
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo', 'work']);
      const progress: number[] = [];
      const call = client.callTool({ name: 'work' }, undefined, {
        onprogress: ({ progress: step }) => {
          progress.push(step);
          released.resolve();
        },
      });
      // The call ends by its progress alone: held back, it would never be released.
      expect(await soon('the answer', call)).toMatchObject({ content: [{ text: 'worked' }] });
      expect(progress).toEqual([1]);
    });

    test('an event of the standalone stream arrives at once, on a reply that is not compressed', async () => {
      await startBehind(options());
      const raw = await RawSession.open(harness.url);
      const response = await raw.get();
      expect(response.headers.get('content-encoding')).toBeNull();
      expectHeadersOfAll(response);
      const stream = new EventStream(response);
      for (const data of ['one', 'two']) {
        await server.sendLoggingMessage({ level: 'info', data });
        expect(await soon(`event ${data}`, stream.message())).toMatchObject({ params: { data } });
      }
    });

    test('a 429 of the rate limit reaches the client with its JSON body, and the session goes on after it', async () => {
      await startBehind(options());
      const client = await harness.client();
      const id = await openSession(harness.url);
      const call = () => post(harness.url, echoCall(1, 'hello'), { 'mcp-session-id': id });
      let response = await call();
      for (let n = 0; n < LIMIT && response.status === 200; n += 1) {
        await response.text();
        response = await call();
      }
      expect([response.status, await response.json()]).toEqual([429, LIMITED]);
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      const failure: unknown = await client.listTools().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(StreamableHTTPError);
      expect(failure).toMatchObject({ code: 429, message: expect.stringContaining('Slow down') as string });
      reset();
      expect((await client.listTools()).tools).toHaveLength(2);
      expect((await call()).status).toBe(200);
    });
  },
);

test('a JSON answer is compressed by compression, and a client reads it', async () => {
  await startBehind(JSON_REPLY);
  const id = await openSession(harness.url);
  const response = await post(harness.url, echoCall(1, 'hello'), { 'mcp-session-id': id, 'accept-encoding': 'gzip' });
  expect(response.headers.get('content-encoding')).toBe('gzip');
  expectHeadersOfAll(response);
  expect(await response.json()).toMatchObject({ id: 1, result: { content: [{ text: 'hello' }] } });
});
