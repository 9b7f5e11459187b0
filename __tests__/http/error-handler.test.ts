import { EventEmitter, once } from 'node:events';
import express, { type Express, type RequestHandler } from 'express';
import { pinoHttp } from 'pino-http';
import { Refusal } from '../../src/errors.js';
import { mcpErrorHandler, type McpRouter } from '../../src/index.js';
import { echoServer, initializeBody, JSON_HEADERS, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { chunked, RawSocket, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';

const SECRET = 'SECRET-51c0';
const HEADERS = Object.entries(JSON_HEADERS);

let harness: Harness;
let socket: RawSocket;
const mounted = async (...before: RequestHandler[]) => {
  const mount = (app: Express, router: McpRouter) => app.use('/mcp', ...before, router, mcpErrorHandler());
  harness = await start({}, mount);
  socket = await RawSocket.open(harness.url.port);
};
afterEach(async () => {
  socket.destroy();
  await harness.close();
});

const initialize = (headers: [string, string][] = HEADERS, body: string | Buffer = JSON.stringify(initializeBody())) =>
  socket.exchange('POST', '/mcp', headers, body);

function expectJson({ headers, body }: RawResponse): void {
  expect(headers.get('content-type')).toBe('application/json');
  expect(body).not.toMatch(/<|SECRET|\n\s+at /);
}

describe('mcpErrorHandler() makes JSON-RPC of what express.json() throws, where Express would send HTML', () => {
  beforeEach(() => mounted(express.json({ limit: 1_000 })));
  afterEach(async () => {
    // The socket goes on, and so does the app.
    expect(await initialize()).toMatchObject({ status: 200 });
  });

  test('bad JSON is a parse error', async () => {
    const response = await initialize(HEADERS, '{"jsonrpc":');
    expectRow(response, 'parseError');
    expectJson(response);
  });

  test('JSON that is neither object nor array, which express.json() takes for bad, is a parse error', async () => {
    expectRow(await initialize(HEADERS, '17'), 'parseError');
  });

  test('a body past its limit is too large', async () => {
    const response = await initialize(HEADERS, Buffer.alloc(1_001, ' '));
    expectRow(response, 'bodyTooLarge');
    expectJson(response);
  });

  test('so is a chunked one', async () => {
    const headers = [...HEADERS, ['Transfer-Encoding', 'chunked']] as [string, string][];
    expectRow(await initialize(headers, chunked(Buffer.alloc(1_001, ' '))), 'bodyTooLarge');
  });

  test.each(['iso-8859-1', 'x-unknown'])('charset %s is an unsupported media type', async (charset) => {
    const headers: [string, string][] = [
      ['Accept', '*/*'],
      ['Content-Type', `application/json; charset=${charset}`],
    ];
    const response = await initialize(headers);
    expectRow(response, 'unsupportedMediaType');
    expectJson(response);
  });

  test('an unknown Content-Encoding is an unsupported media type', async () => {
    expectRow(await initialize([...HEADERS, ['Content-Encoding', 'zip']]), 'unsupportedMediaType');
  });

  // Express 4 knows no Brotli.
  const codings = process.env.EXPRESS === '4' ? ['gzip', 'deflate'] : ['gzip', 'deflate', 'br'];
  test.each(codings)('a body that is not the %s that it should be is a parse error', async (coding) => {
    const response = await initialize([...HEADERS, ['Content-Encoding', coding]], 'something else');
    expectRow(response, 'parseError');
    expectJson(response);
  });
});

describe('mcpErrorHandler() and what other middleware throws', () => {
  test.each<[string, unknown]>([
    ['an Error', new TypeError(SECRET)],
    ['an error with a status of the server', Object.assign(new Error(SECRET), { status: 502, expose: true })],
    ['an error with a status that is none', Object.assign(new Error(SECRET), { status: 4040 })],
    ['a string', SECRET],
    ['an object', { message: SECRET, toString: undefined }],
    ['an object without prototype', Object.assign(Object.create(null) as object, { type: { toString: 1 } })],
  ])('%s is an internal error, without a word of what it was', async (_, thrown) => {
    await mounted((_req, _res, next) => next(thrown));
    const response = await initialize();
    expectRow(response, 'internalError');
    expectJson(response);
  });

  test.each([
    [401, 'Unauthorized'],
    [403, 'Forbidden'],
    [400, 'Bad Request'],
    [429, 'Too Many Requests'],
    [499, 'Bad Request'],
  ])(
    'what other middleware refuses on purpose with %d stays that, and says no more than its name',
    async (status, name) => {
      const error = Object.assign(new Error(SECRET), { status, type: SECRET, expose: true });
      await mounted((_req, _res, next) => next(error));
      const response = await initialize();
      expect(response.status).toBe(status);
      expectJson(response);
      expect(JSON.parse(response.body)).toEqual({ jsonrpc: '2.0', error: { code: -32000, message: name }, id: null });
    },
  );

  test('a refusal of the router is that row, with its ID and headers', async () => {
    await mounted((_req, _res, next) => next(new Refusal('draining', { id: 7 })));
    const response = await initialize();
    expectRow(response, 'draining');
    expect(JSON.parse(response.body)).toMatchObject({ id: 7 });
    expect(response.headers.get('retry-after')).toBe('5');
  });

  test('the log of the app says what it was', async () => {
    const lines = new LogLines();
    await mounted(pinoHttp({}, lines), () => {
      throw new Error(SECRET);
    });
    expectRow(await initialize(), 'internalError');
    await lines.atLeast(1);
    expect(lines.text).toContain(SECRET);
  });

  test('half an answer is broken off, not ended: no status is sent again, and it does not pass for whole', async () => {
    const errors: unknown[] = [];
    const mount = (app: Express, router: McpRouter) =>
      app.use('/mcp', half, router, mcpErrorHandler(), ((error: unknown, _req, res, _next) => {
        errors.push(error);
        res.destroy();
      }) as express.ErrorRequestHandler);
    const half: RequestHandler = (_req, res, next) => {
      res.writeHead(200, { 'Content-Type': 'application/json' }).write('{"half":', () => next(new Error(SECRET)));
    };
    harness = await start({}, mount);
    socket = await RawSocket.open(harness.url.port);
    await expect(initialize()).rejects.toThrow('the socket ended before a response did');
    expect(errors).toEqual([new Error(SECRET)]);
  });
});

describe('the router behind middleware that has answered already, and went on all the same', () => {
  test('sends nothing more, and keeps no session', async () => {
    const asked = new EventEmitter();
    const serverFactory = () => {
      asked.emit('server');
      return echoServer();
    };
    const answer: RequestHandler = (_req, res, next) => {
      res.json({ the: 'app' });
      next();
    };
    harness = await start({ serverFactory }, (app, router) => app.use('/mcp', answer, router));
    socket = await RawSocket.open(harness.url.port);
    const opening = once(asked, 'server');
    expect(await initialize()).toMatchObject({ status: 200, body: '{"the":"app"}' });
    await opening;
    while (harness.router.sessions.list().length > 0) await new Promise(setImmediate);
    expect(await initialize()).toMatchObject({ status: 200, body: '{"the":"app"}' });
  });
});
