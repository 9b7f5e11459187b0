import { EventEmitter, once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express';
import { type Logger, pino, stdSerializers } from 'pino';
import { pinoHttp } from 'pino-http';
import request from 'supertest';
import { createRequestLog } from '../../src/observe/logging/logging.js';
import { LogLines } from '../support/log-lines.js';

const ID = '3f2b8c1e-0d4a-4b7c-9a52-6a1f0e9d8c7b';
const SECRETS = { authorization: 'Bearer abcdefghijklmnop', cookie: 'sid=ponmlkjihgfedcba', 'mcp-session-id': ID };
const SECRET_TEXTS = ['abcdefghijklmnop', 'ponmlkjihgfedcba', 'qwertyuiopasdfgh', ID];
const QUERY = '?access_token=qwertyuiopasdfgh';

interface Logged {
  readonly app: Express;
  readonly lines: LogLines;
}

/** An app whose requests are logged, with the facts that the endpoint sets. */
function logged(
  make = (lines: LogLines): Logger => pino({}, lines),
  facts: object | null = { session: '3f2b8c1e', method: 'tools/call' },
): Logged {
  const lines = new LogLines();
  const log = createRequestLog(make(lines));
  const app = express();
  app.use((req, res, next) => {
    log(req, res);
    res.locals.mcp = facts;
    next();
  });
  return { app, lines };
}

/** A server that is closed when the test is done. */
const running: { close: () => void }[] = [];
afterEach(() => {
  for (const server of running.splice(0)) server.close();
});
async function listen(app: Express): Promise<number> {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  running.push({
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  });
  return (server.address() as AddressInfo).port;
}

test('a request is one line: session, RPC method, status, duration', async () => {
  const { app, lines } = logged();
  app.post('/mcp', (_req, res) => void res.status(202).end());
  await request(app).post(`/mcp${QUERY}`).set(SECRETS).send({});
  const [line, ...more] = await lines.atLeast(1);
  expect(more).toEqual([]);
  expect(line).toEqual({
    level: 30,
    time: expect.any(Number),
    pid: expect.any(Number),
    hostname: expect.any(String),
    req: { method: 'POST', url: '/mcp', remoteAddress: expect.stringMatching(/127\.0\.0\.1$/) },
    session: '3f2b8c1e',
    method: 'tools/call',
    res: { statusCode: 202 },
    responseTime: expect.any(Number),
    msg: 'request completed',
  });
});

test('the URL is the whole one, whatever the router is mounted at', async () => {
  const lines = new LogLines();
  const log = createRequestLog(pino({}, lines));
  const app = express().use(
    '/api',
    express.Router().use('/mcp', (req, res) => (log(req, res), void res.end())),
  );
  await request(app).get(`/api/mcp${QUERY}`);
  expect(await lines.atLeast(1)).toMatchObject([{ req: { url: '/api/mcp' } }]);
});

test.each([null, {}])(
  'a request without facts of the endpoint (%p) is logged without session and method',
  async (facts) => {
    const { app, lines } = logged(undefined, facts);
    app.get('/mcp', (_req, res) => void res.end());
    await request(app).get('/mcp');
    const [line] = await lines.atLeast(1);
    expect(line).toMatchObject({ msg: 'request completed' });
    expect(line).not.toHaveProperty('session');
    expect(line).not.toHaveProperty('method');
  },
);

test.each([
  [200, 'info'],
  [202, 'info'],
  [400, 'info'],
  [404, 'info'],
  [405, 'info'],
  [499, 'info'],
  [500, 'error'],
  [503, 'warn'],
] as const)('a %d is of level %s: only faults of the server are errors', async (status, level) => {
  const { app, lines } = logged();
  app.get('/mcp', (_req, res) => void res.status(status).end());
  await request(app).get('/mcp');
  const [line, ...more] = await lines.atLeast(1);
  expect(more).toEqual([]);
  expect(line).toMatchObject({ level: pino.levels.values[level], res: { statusCode: status }, session: '3f2b8c1e' });
  expect(line).not.toHaveProperty('err');
});

test('a long unknown RPC method is cut in the log', async () => {
  const { app, lines } = logged(undefined, { method: 'm'.repeat(4_000_000) });
  app.post('/mcp', (_req, res) => void res.end());
  await request(app).post('/mcp');
  await lines.atLeast(1);
  expect(lines.text.length).toBeLessThan(1000);
});

test("an SSE stream's line comes when it ends, with all the time that it was open", async () => {
  const { app, lines } = logged();
  const opened = new EventEmitter();
  app.get('/mcp', (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
    opened.emit('stream', res);
  });
  const stream = once(opened, 'stream') as Promise<[Response]>;
  const response = await fetch(`http://127.0.0.1:${await listen(app)}/mcp`);
  const [res] = await stream;
  const from = Date.now();
  while (Date.now() - from < 30) await new Promise((tick) => setTimeout(tick, 5));
  expect(lines.all).toEqual([]);
  res.end();
  await response.text();
  const [line] = await lines.atLeast(1);
  expect(line).toMatchObject({ level: 30, msg: 'request completed' });
  expect(line!.responseTime).toBeGreaterThanOrEqual(30);
});

test.each([200, 500])(
  'a client that leaves early is no error, not even of a reply that began with %d',
  async (status) => {
    const { app, lines } = logged();
    app.get('/mcp', (_req, res) => {
      res.writeHead(status, { 'Content-Type': 'text/event-stream' });
      res.write(': hello\n\n');
    });
    const socket = connect(await listen(app), '127.0.0.1');
    socket.write('GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    const all = await lines.atLeast(1);
    expect(all).toMatchObject([{ level: 30, session: '3f2b8c1e', msg: 'request aborted' }]);
    expect(all).toHaveLength(1);
  },
);

test('a client that leaves before there is any reply is no error', async () => {
  const { app, lines } = logged();
  const arrived = new EventEmitter();
  app.get('/mcp', () => arrived.emit('request'));
  const arrival = once(arrived, 'request');
  const socket = connect(await listen(app), '127.0.0.1');
  socket.write('GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await arrival;
  socket.destroy();
  expect(await lines.atLeast(1)).toMatchObject([{ level: 30, msg: 'request aborted' }]);
});

test('a reply that is written to after its end is an error, with its stack', async () => {
  const { app, lines } = logged();
  app.get('/mcp', (_req, res) => {
    res.on('error', () => undefined);
    // More than the socket takes at once, so that the reply is ended and not yet finished.
    res.end(Buffer.alloc(10_000_000));
    res.write('more');
  });
  const socket = connect(await listen(app), '127.0.0.1');
  socket.write('GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(await lines.atLeast(1)).toMatchObject([
    { level: 50, err: { code: 'ERR_STREAM_WRITE_AFTER_END', stack: expect.any(String) } },
  ]);
  socket.destroy();
});

test("an error that the app's error handler sets is logged without secrets", async () => {
  const { app, lines } = logged();
  app.get('/mcp', () => {
    throw Object.assign(new Error(`no ${ID} for ${SECRETS.authorization}`), { headers: SECRETS });
  });
  const onError: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) return next(error);
    res.err = error;
    res.status(500).end();
  };
  app.use(onError);
  await request(app).get('/mcp').set(SECRETS);
  const [line] = await lines.atLeast(1);
  expect(line).toMatchObject({ level: 50, err: { type: 'Error', message: 'no 3f2b8c1e for Bearer [redacted]' } });
  for (const secret of SECRET_TEXTS) expect(lines.text).not.toContain(secret);
});

describe('whatever is asked, no line shows a full session ID, credentials, or any header', () => {
  const loggers: [string, (lines: LogLines) => Logger][] = [
    ['a plain logger', (lines) => pino({ level: 'trace' }, lines)],
    [
      "a logger of the app's that shows headers elsewhere",
      (lines) => pino({ level: 'trace', serializers: { req: stdSerializers.req, res: stdSerializers.res } }, lines),
    ],
  ];
  test.each(loggers)('%s', async (_name, make) => {
    const { app, lines } = logged(make);
    const answer = (req: Request, res: Response) => {
      req.log.info('from the app, through the logger of the request');
      res.setHeader('Mcp-Session-Id', ID).setHeader('Set-Cookie', SECRETS.cookie);
      res.status(Number(req.query.status ?? 200)).json({ echo: SECRETS });
    };
    app.all('/mcp', answer);
    const asks = ['get', 'post', 'delete', 'put', 'patch', 'head', 'options'] as const;
    const statuses = [200, 202, 400, 401, 403, 404, 406, 409, 413, 415, 500, 503];
    for (const method of asks) {
      for (const status of statuses) await request(app)[method](`/mcp${QUERY}&status=${status}`).set(SECRETS);
    }
    await request(app).get(`/nowhere${QUERY}`).set(SECRETS);
    const all = await lines.atLeast(asks.length * statuses.length * 2 + 1);
    expect(all).toHaveLength(asks.length * statuses.length * 2 + 1);
    for (const secret of SECRET_TEXTS) expect(lines.text).not.toContain(secret);
    expect(lines.text).not.toMatch(/authorization|cookie|headers/i);
  });
});

describe('requests that the router does not log', () => {
  test('those of an app that logs them itself are left alone', async () => {
    const [apps, ours] = [new LogLines(), new LogLines()];
    const log = createRequestLog(pino({}, ours));
    const app = express().use(pinoHttp({}, apps));
    app.get('/mcp', (req, res) => {
      const theirs = req.log;
      log(req, res);
      expect(req.log).toBe(theirs);
      res.end();
    });
    await request(app).get('/mcp').expect(200);
    expect(await apps.atLeast(1)).toHaveLength(1);
    expect(ours.all).toEqual([]);
  });

  test.each([
    ['silent', pino({ enabled: false })],
    ['at a level that none of our lines has', pino({ level: 'fatal' })],
  ])('nothing is made for a request while the logger is %s', async (_name, logger) => {
    const log = createRequestLog(logger);
    const app = express();
    app.get('/mcp', (req, res) => {
      const before = [
        Reflect.ownKeys(req),
        Reflect.ownKeys(res),
        res.listenerCount('close'),
        res.listenerCount('finish'),
      ];
      log(req, res);
      expect([
        Reflect.ownKeys(req),
        Reflect.ownKeys(res),
        res.listenerCount('close'),
        res.listenerCount('finish'),
      ]).toEqual(before);
      res.end();
    });
    await request(app).get('/mcp').expect(200);
  });
});
