import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http, { IncomingMessage, ServerResponse, type RequestListener } from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import type { NextFunction, Request, Response } from 'express';
import fc from 'fast-check';
import { createHttpServer, createHttpsServer } from '../../src/express/http-server.js';
import { EXPRESSES, type Express } from '../support/expresses.js';

type Create = (app: RequestListener, options?: http.ServerOptions) => http.Server;

const NODE: Create = (app, options = {}) => http.createServer(options, app);

/** Made for these tests alone, self-signed, for `localhost`, for a hundred years. */
const pem = (name: string) => join(__dirname, '../support/tls', name);
const certFile = pem('localhost-cert.pem');
const TLS = { key: readFileSync(pem('localhost-key.pem')), cert: readFileSync(certFile) };

/** Each pair: Node's own, which is the oracle, and ours. */
const PAIRS: [string, Create, Create][] = [
  ['HTTP', NODE, createHttpServer],
  [
    'HTTPS',
    (app, options) => https.createServer({ ...options, ...TLS }, app),
    (app, options) => createHttpsServer(app, { ...options, ...TLS }),
  ],
];

const servers: http.Server[] = [];

async function listen<Server extends http.Server>(server: Server): Promise<Server> {
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return server;
}

async function closeServers(): Promise<void> {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

async function connect(server: http.Server): Promise<net.Socket> {
  const { port } = server.address() as AddressInfo;
  const secure = server instanceof https.Server;
  const socket = secure ? tls.connect({ port, rejectUnauthorized: false }) : net.connect(port, '127.0.0.1');
  await once(socket, secure ? 'secureConnect' : 'connect');
  return socket.on('error', () => undefined);
}

/** All that the server sends until it closes the connection, but for the time of day. */
async function bytesOf(socket: net.Socket): Promise<string> {
  const bytes = Buffer.concat((await socket.toArray()) as Buffer[]).toString('latin1');
  return bytes.replace(/^Date: .*\r\n/gm, '');
}

async function send(server: http.Server, ...pieces: string[]): Promise<string> {
  const socket = await connect(server);
  const answer = bytesOf(socket);
  for (const piece of pieces) {
    socket.write(piece, 'latin1');
    await new Promise(setImmediate);
  }
  return answer;
}

/** The text of a request; the last of a connection says `Connection: close`. */
function text(requestLine: string, headers: string[] = [], body = ''): string {
  return [`${requestLine} HTTP/1.1`, 'Host: a.b.example.com', ...headers, '', body].join('\r\n');
}

/** What the app adds to the prototypes. */
interface Greeting extends Request {
  greeting(): string;
}
interface Celebrating extends Response {
  celebrate(body: string): void;
}

/** An app that shows all that it can see and do, so that any difference comes out in the bytes of its answers. */
function buildApp(express: Express): ReturnType<Express> {
  const app = express();
  app.set('trust proxy', 'loopback');
  Object.assign(app.request, {
    greeting(this: Request) {
      return `hello ${this.get('X-Name') ?? 'you'}`;
    },
  });
  Object.assign(app.response, {
    celebrate(this: Response, body: string) {
      return this.set('X-Party', 'yes').send(body);
    },
  });

  const show = (name: string, expected: ReturnType<Express>) => (req: Request, res: Response) =>
    res.json({
      name,
      seen: [req.method, req.url, req.originalUrl, req.baseUrl, req.path, req.query, req.params, req.headers],
      from: [req.ip, req.ips, req.protocol, req.secure, req.hostname, req.subdomains, req.xhr, req.fresh],
      asked: [req.get('x-name'), req.accepts(['json', 'html']), req.is('json'), req.range(100) ?? null],
      linked: [req.app === expected, res.app === expected, req.res === res, res.req === req, res.locals],
      born: [req instanceof IncomingMessage, res instanceof ServerResponse, req.constructor.name, res.constructor.name],
      prototypes: [Object.getPrototypeOf(req) === expected.request, Object.getPrototypeOf(res) === expected.response],
      own: [Object.keys(req).sort(), Object.keys(res).sort()],
      custom: typeof (req as { greeting?: unknown }).greeting,
    });

  app.get('/show/:id', show('show', app));
  app.get('/custom', (req, res) => {
    (res as Celebrating).celebrate((req as Greeting).greeting());
  });
  app.get('/redirect', (_req, res) => res.redirect(302, '/show/1'));
  app.get('/file', (_req, res) => res.sendFile(certFile));
  app.get('/download', (_req, res) => res.download(certFile, 'name.pem'));
  app.get('/text', (_req, res) => res.send('a text with an ETag'));
  app.get('/nothing', (_req, res) => res.sendStatus(204));
  app.get('/headers', (_req, res) => {
    res.cookie('a', '1').append('X-Many', ['1', '2']).links({ next: '/x' }).vary('X-Name').type('html');
    res.format({ 'text/plain': () => res.end('plain'), 'text/html': () => res.end('<p>') });
  });
  app.post('/echo', (req, res) => void req.pipe(res));
  app.post('/parsed', express.json(), (req, res) => res.json(req.body));
  app.get('/stream', async (_req, res) => {
    for (const part of ['one ', 'two ', 'three']) {
      res.write(part);
      await new Promise(setImmediate);
    }
    res.addTrailers({ 'X-Sum': '3' });
    res.end();
  });
  app.get('/hints', (_req, res) => {
    res.writeProcessing();
    res.writeEarlyHints({ link: '</a.css>; rel=preload' });
    res.end();
  });
  app.get('/throws', () => {
    throw Object.assign(new Error('thrown'), { status: 418 });
  });
  app.get('/unhandled', (_req, _res, next) =>
    next(Object.assign(new Error('hidden'), { stack: 'frames', status: 503 })),
  );

  const sub = express();
  Object.assign(sub.request, { greeting: 'of the mounted app' });
  sub.get('/show', show('mounted', sub));
  sub.get('/throws', () => {
    throw Object.assign(new Error('thrown in a mounted app'), { status: 418 });
  });
  app.use('/sub', sub);
  app.get('/sub/restored', show('restored', app));

  const router = express.Router({ mergeParams: true });
  router.get('/show', show('router', app));
  app.use('/router/:id', router);

  app.use((error: Error & { status?: number }, req: Request, res: Response, next: NextFunction) => {
    if (error.status === 503) next(error);
    else
      res
        .status(error.status ?? 500)
        .json({ handled: error.message, prototype: Object.getPrototypeOf(req) === app.request });
  });
  return app;
}

const PATHS = [
  ...[
    '/show/7?a=1&a=2&b[c]=3',
    '/custom',
    '/redirect',
    '/file',
    '/download',
    '/text',
    '/nothing',
    '/headers',
    '/stream',
  ],
  ...['/hints', '/throws', '/unhandled', '/sub/show?x=y', '/sub/throws', '/sub/restored', '/router/5/show', '/missing'],
  ...['/echo', '/parsed', '/show/%E0%A4%A', '/', '*'],
];

interface WireRequest {
  method: string;
  path: string;
  version: string;
  headers: string[];
  body: string | undefined;
  chunked: boolean;
}

const wireRequest: fc.Arbitrary<WireRequest> = fc.record({
  method: fc.constantFrom('GET', 'GET', 'HEAD', 'POST', 'POST', 'PUT', 'OPTIONS', 'DELETE'),
  path: fc.constantFrom(...PATHS),
  version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
  headers: fc.uniqueArray(
    fc.constantFrom(
      ...['X-Name: Ann', 'X-Forwarded-For: 203.0.113.7, 10.0.0.1', 'X-Forwarded-Proto: https', 'Range: bytes=5-20'],
      ...['If-None-Match: W/"13-Xod8WJ6rWYXEqZyHbaJ0IUBw3LA"', 'If-None-Match: *', 'Accept: text/html', 'Cookie: a=b'],
      ...['X-Requested-With: XMLHttpRequest', 'Expect: 100-continue', 'Content-Type: application/json', 'TE: trailers'],
      ...['Connection: keep-alive', 'X-Name: Bob'],
    ),
    { maxLength: 5 },
  ),
  body: fc.option(fc.oneof(fc.json({ maxDepth: 1 }), fc.string({ maxLength: 40 })), { nil: undefined }),
  chunked: fc.boolean(),
});

function wired({ method, path, version, headers, body, chunked }: WireRequest, last: boolean): string {
  const bytes = Buffer.from(body ?? '').toString('latin1');
  const inChunks = chunked && (version === '1.1' || !last) && bytes !== '';
  const framing = inChunks ? 'Transfer-Encoding: chunked' : `Content-Length: ${bytes.length}`;
  return [
    // Node treats bytes after an HTTP/1.0 request as an error and closes the socket, with or without the answer.
    `${method} ${path} HTTP/${last ? version : '1.1'}`,
    'Host: a.b.example.com',
    ...headers.filter((line) => !last || !line.startsWith('Connection')),
    ...(body === undefined ? [] : [framing]),
    ...(last ? ['Connection: close'] : []),
    '',
    inChunks ? `${bytes.length.toString(16)}\r\n${bytes}\r\n0\r\n\r\n` : bytes,
  ].join('\r\n');
}

/** Node writes `100 Continue` after it has read a request's head, even within the answer to another. So its place varies. */
function interimLast(answer: string): string {
  const [first, ...rest] = answer.split('HTTP/1.1 100 Continue\r\n\r\n');
  return `${[first, ...rest].join('')} and ${rest.length} times 100 Continue`;
}

describe.each(EXPRESSES)('%s', (_version, express) => {
  describe.each(PAIRS)('over %s', (_protocol, theirs, ours) => {
    let pair: [http.Server, http.Server];
    beforeAll(async () => {
      pair = [await listen(theirs(buildApp(express))), await listen(ours(buildApp(express)))];
    });
    afterAll(closeServers);

    /** The answer, which both servers give. */
    async function same(...pieces: string[]): Promise<string> {
      const [expected, answer] = await Promise.all(pair.map((server) => send(server, ...pieces)));
      expect(interimLast(answer!)).toBe(interimLast(expected!));
      return answer!;
    }

    test('any requests, pipelined on one connection, get the same bytes as from http.createServer', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(wireRequest, { minLength: 1, maxLength: 4 }), async (requests) => {
          const bytes = requests.map((request, index) => wired(request, index === requests.length - 1)).join('');
          expect(await same(bytes)).toMatch(/^HTTP\/1\.1 \d{3} /);
        }),
        { numRuns: 100 },
      );
    });

    test.each(PATHS)('GET and HEAD %s on one kept connection: the same bytes', async (path) => {
      await same(text(`HEAD ${path}`), text(`GET ${path}`), text(`GET ${path}`, ['Connection: close']));
    });

    test('the app sees and does all that Express gives it', async () => {
      const headers = ['X-Name: Ann', 'X-Forwarded-For: 203.0.113.7', 'X-Forwarded-Proto: https', 'Connection: close'];
      const answer = await same(text('GET /show/7?a=1', headers));
      expect(JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1))).toMatchObject({
        from: ['203.0.113.7', ['203.0.113.7'], 'https', true, 'a.b.example.com', ['b', 'a'], false, false],
        linked: [true, true, true, true, {}],
        born: [true, true, 'IncomingMessage', 'ServerResponse'],
        prototypes: [true, true],
      });
      expect(await same(text('GET /custom', headers))).toMatch(/^X-Party: yes\r\n[^]*hello Ann$/m);
      expect(await same(text('GET /redirect', headers))).toMatch(/^HTTP\/1\.1 302 [^]*Location: \/show\/1\r\n/);
      expect(await same(text('GET /file', headers))).toContain(TLS.cert.toString());
    });

    test('a mounted app gets its own prototypes, and the app that it is mounted in has its own back', async () => {
      const mounted = await same(text('GET /sub/show', ['Connection: close']));
      expect(mounted).toContain('"linked":[true,true,true,true,{}]');
      expect(mounted).toContain('"prototypes":[true,true]');
      expect(mounted).toContain('"custom":"string"');
      const restored = await same(text('GET /sub/restored', ['Connection: close']));
      expect(restored).toContain('"prototypes":[true,true]');
      expect(restored).toContain('"custom":"function"');
      expect(await same(text('GET /sub/throws', ['Connection: close']))).toContain(
        '{"handled":"thrown in a mounted app","prototype":true}',
      );
    });
  });
});

describe.each(EXPRESSES)('%s: behaviour that the bytes do not show', (_version, express) => {
  afterEach(closeServers);

  /** Does the same with a server of each kind; gives what came of it, which is the same. */
  async function same<Result>(run: (create: Create) => Promise<Result>): Promise<Result> {
    const [expected, result] = [await run(NODE), await run(createHttpServer)];
    expect(result).toEqual(expected);
    return result;
  }

  test.each(PAIRS)(
    'over %s, requests and responses are created with the prototypes of the app, and Express changes nothing',
    async (_protocol, theirs, ours) => {
      const app = express();
      app.get('/', (_req, res) => void res.end());
      const seen = async (create: Create) => {
        const prototypes: boolean[] = [];
        const look = (req: IncomingMessage, res: ServerResponse) =>
          prototypes.push(Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response);
        const server = create(app).prependListener('request', look).on('request', look);
        await send(await listen(server), text('GET /', ['Connection: close']));
        return prototypes;
      };
      expect(await seen(ours)).toEqual([true, true, true, true]);
      expect(await seen(theirs)).toEqual([false, false, true, true]);
    },
  );

  test('the server of Node stays unchanged if Node makes its constructors classes', async () => {
    const actual = jest.requireActual<typeof http>('node:http');
    class Modern extends IncomingMessage {
      static override [Symbol.hasInstance]() {
        return true;
      }
    }
    let create: Create = NODE;
    jest.isolateModules(() => {
      jest.doMock('node:http', () => ({ ...actual, default: actual, __esModule: true, IncomingMessage: Modern }));
      create = jest.requireActual<{ createHttpServer: Create }>('../../src/express/http-server.js').createHttpServer;
      jest.dontMock('node:http');
    });
    expect(create).not.toBe(NODE);

    const app = express();
    app.get('/', (req, res) => void res.json(Object.getPrototypeOf(req) === app.request));
    const born: boolean[] = [];
    const server = create(app).prependListener('request', (req) => {
      born.push(Object.getPrototypeOf(req) === IncomingMessage.prototype);
    });
    expect(await send(await listen(server), text('GET /', ['Connection: close']))).toMatch(/true$/);
    expect(born).toEqual([true]);
  });

  test('no accessor of Express has the name of a field that Node sets, as it would catch the assignment', () => {
    const req = new IncomingMessage(new net.Socket());
    const caught = (born: object, prototype: object) =>
      Reflect.ownKeys(born).filter((key) => {
        let owner: object | null = prototype;
        while (owner !== null && !Object.hasOwn(owner, key)) owner = Object.getPrototypeOf(owner) as object | null;
        return owner !== null && Object.getOwnPropertyDescriptor(owner, key)?.writable !== true;
      });
    expect(caught({ ip: '' }, express.request)).toEqual(['ip']);
    expect(caught(req, express().request)).toEqual([]);
    expect(caught(new ServerResponse(req), express().response)).toEqual([]);
  });

  test('methods added to the prototypes later, and replaced prototypes, have effect', async () => {
    const answer = await same(async (create) => {
      const app = express();
      app.get('/', (req, res) => {
        (res as unknown as { reply(text: unknown): void }).reply((req as unknown as { late?: string }).late);
      });
      const server = await listen(create(app));
      Object.assign(app.request, { late: 'added' });
      Object.assign(app.response, {
        reply(this: Response, value: string) {
          this.send(value);
        },
      });
      const added = await send(server, text('GET /', ['Connection: close']));
      app.request = Object.create(app.request, { late: { value: 'replaced' } }) as Request;
      return [added, await send(server, text('GET /', ['Connection: close']))];
    });
    expect(answer).toEqual([expect.stringMatching(/added$/), expect.stringMatching(/replaced$/)]);
  });

  test('an app that is mounted in another after its server was made inherits from it', async () => {
    const answer = await same(async (create) => {
      const [app, parent] = [express(), express()];
      app.get('/', (req, res) => void res.send((req as unknown as { inherited?: string }).inherited));
      const server = await listen(create(app));
      Object.assign(parent.request, { inherited: 'from the parent' });
      parent.use('/child', app);
      return send(server, text('GET /', ['Connection: close']));
    });
    expect(answer).toMatch(/from the parent$/);
  });

  test.each([
    ['a plain function', () => (_req: IncomingMessage, res: ServerResponse) => void res.end('plain')],
    ['a router', () => express.Router() as unknown as RequestListener],
    ['a function around an app', () => (req: IncomingMessage, res: ServerResponse) => express()(req, res)],
    ['what only looks like an app', () => Object.assign(() => undefined, { request: {}, response: {} })],
  ])('%s gets the classes of Node', async (_, listener) => {
    const prototypes = await same(async (create) => {
      const server = await listen(create(listener()));
      const [handler] = server.listeners('request');
      expect(handler).toBeInstanceOf(Function);
      server.removeAllListeners('request').on('request', (req, res) => {
        res.end(String(Object.getPrototypeOf(req) === IncomingMessage.prototype && !('app' in res)));
      });
      return send(server, text('GET /', ['Connection: close']));
    });
    expect(prototypes).toMatch(/true$/);
  });

  test("an app on Bun gets Node's own classes, as Bun constructs messages differently", async () => {
    const { versions } = process;
    Object.defineProperty(process, 'versions', { value: { ...versions, bun: '1.4.5' }, configurable: true });
    try {
      const server = await listen(createHttpServer(express()));
      server.removeAllListeners('request').on('request', (req, res) => {
        res.end(String(Object.getPrototypeOf(req) === IncomingMessage.prototype && !('app' in res)));
      });
      expect(await send(server, text('GET /', ['Connection: close']))).toMatch(/true$/);
    } finally {
      Object.defineProperty(process, 'versions', { value: versions, configurable: true });
    }
  });

  test('options that Node passes to the messages reach them', async () => {
    const answer = await same(async (create) => {
      const app = express();
      app.get('/', (req, res) => {
        res.set('X-Reads', String(req.readableHighWaterMark));
        // For HEAD, against `rejectNonStandardBodyWrites`.
        expect(() => res.write('a body')).toThrow(expect.objectContaining({ code: 'ERR_HTTP_BODY_NOT_ALLOWED' }));
        res.end();
      });
      const server = await listen(create(app, { highWaterMark: 5_000, rejectNonStandardBodyWrites: true }));
      return send(server, text('HEAD /', ['Connection: close']));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*X-Reads: 5000\r\n/);
  });

  test('options go to Node unchanged, and the classes of the user replace those of the app', async () => {
    class Ours extends IncomingMessage {}
    class Answer<Req extends IncomingMessage> extends ServerResponse<Req> {}
    const result = await same(async (create) => {
      const app = express();
      app.get('/', (_req, res) => void res.end('ok'));
      const options = {
        maxHeaderSize: 1_000,
        keepAliveTimeout: 1_234,
        requireHostHeader: false,
        requestTimeout: 4_321,
      };
      const server = await listen(create(app, { ...options, IncomingMessage: Ours, ServerResponse: Answer }));
      const seen: unknown[] = [server instanceof http.Server, server.keepAliveTimeout, server.requestTimeout];
      server.prependListener('request', (req, res) => seen.push(req instanceof Ours, res instanceof Answer));
      seen.push(await send(server, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'));
      return [...seen, await send(server, text('GET /', [`X-Long: ${'x'.repeat(2_000)}`]))];
    });
    expect(result).toEqual([
      ...[true, 1_234, 4_321, true, true],
      expect.stringMatching(/^HTTP\/1\.1 200 OK/),
      expect.stringMatching(/^HTTP\/1\.1 431 /),
    ]);
  });
});
