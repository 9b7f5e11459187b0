import { EventEmitter, once } from 'node:events';
import http, { type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RequestHandler } from 'express';
import fc from 'fast-check';
import { systemClock } from '../../src/clock.js';
import { Refusal } from '../../src/errors.js';
import { BodyReader } from '../../src/http/body.js';
import { echoServer, initializeBody, JSON_HEADERS, post, start, type Harness } from '../support/harness.js';
import { chunked, RawSocket, requestBytes, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';
import { until } from '../support/waiting.js';

const HEADERS = Object.entries(JSON_HEADERS);
const CHUNKED = [...HEADERS, ['Transfer-Encoding', 'chunked']] as [string, string][];
const MAX = 10_000;

/** An `initialize` of exactly so many bytes, of which some are inside characters. */
function initializeOf(bytes: number): Buffer {
  const text = JSON.stringify({ ...initializeBody(), params: { ...initializeBody().params, title: 'é€😀' } });
  return Buffer.from(text.padEnd(bytes - (Buffer.byteLength(text) - text.length)));
}

describe('the size of a body', () => {
  let harness: Harness;
  let socket: RawSocket;
  beforeAll(async () => (harness = await start({ maxBodySize: MAX })));
  afterAll(() => harness.close());
  beforeEach(async () => (socket = await RawSocket.open(harness.url.port)));
  afterEach(() => socket.destroy());

  const send = (bytes: Buffer, coding: string): Promise<RawResponse> =>
    coding === 'chunked'
      ? socket.exchange('POST', '/mcp', CHUNKED, chunked(bytes.subarray(0, 4_000), bytes.subarray(4_000)))
      : socket.exchange('POST', '/mcp', HEADERS, bytes);

  describe.each(['Content-Length', 'chunked'])('%s', (coding) => {
    test('maxBodySize bytes are read', async () => {
      expect(await send(initializeOf(MAX), coding)).toMatchObject({ status: 200 });
    });

    test('one byte more gets 413, and the socket serves the next request', async () => {
      expectRow(await send(initializeOf(MAX + 1), coding), 'bodyTooLarge');
      expect(await send(initializeOf(MAX), coding)).toMatchObject({ status: 200 });
    });

    test('a client that writes 32 MB before it reads anything gets its 413, not a reset', async () => {
      const chunk = Buffer.alloc(64 * 1024, ' ');
      const chunks = Array.from({ length: 512 }, () => chunk);
      if (coding === 'chunked')
        await socket.write(Buffer.concat([requestBytes('POST', '/mcp', CHUNKED), chunked(...chunks)]));
      else await socket.write(requestBytes('POST', '/mcp', HEADERS, Buffer.concat(chunks)));
      expectRow(await socket.response(), 'bodyTooLarge');
      expect(await send(initializeOf(MAX), coding)).toMatchObject({ status: 200 });
    });
  });

  test('a declared length that is too large gets 413 before a byte of the body has come', async () => {
    await socket.write(requestBytes('POST', '/mcp', [...HEADERS, ['Content-Length', String(MAX + 1)]]));
    expectRow(await socket.response(), 'bodyTooLarge');
  });

  test('a chunked body that grows too large gets 413 before its end has come', async () => {
    const unfinished = chunked(Buffer.alloc(MAX + 1, ' ')).subarray(0, -'0\r\n\r\n'.length);
    await socket.write(Buffer.concat([requestBytes('POST', '/mcp', CHUNKED), unfinished]));
    expectRow(await socket.response(), 'bodyTooLarge');
  });
});

/** What became of each body that a server read. */
class Bodies {
  readonly outcomes: Promise<unknown>[] = [];
  readonly #begun = new EventEmitter();

  readonly #reader = new BodyReader({ maxBodySize: MAX, maxBodyMemory: 10 * MAX, maxDepth: 200, clock: systemClock });

  read(req: IncomingMessage): Promise<unknown> {
    const outcome = this.#reader.read(req).catch((error: unknown) => (error instanceof Refusal ? error.reason : error));
    this.outcomes.push(outcome);
    this.#begun.emit('read');
    return outcome;
  }

  async next(): Promise<unknown> {
    if (this.outcomes.length === 0) await once(this.#begun, 'read');
    return this.outcomes.shift();
  }
}

describe('a body on its way', () => {
  let server: http.Server;
  let socket: RawSocket;
  let bodies: Bodies;

  async function listen(listener: RequestListener): Promise<void> {
    server = http.createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    socket = await RawSocket.open((server.address() as AddressInfo).port);
  }
  beforeEach(() => (bodies = new Bodies()));
  afterEach(async () => {
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  test('may be cut anywhere, also inside a character (property)', async () => {
    await listen((req, res) => {
      void bodies.read(req).then((body) => res.end(JSON.stringify(body)));
    });
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue({ stringUnit: 'grapheme' }),
        fc.array(fc.nat(), { maxLength: 20 }),
        async (value, seeds) => {
          const bytes = Buffer.from(JSON.stringify(value));
          const cuts = [0, ...seeds.map((seed) => seed % bytes.length).sort((a, b) => a - b), bytes.length];
          const parts = cuts.slice(1).map((cut, index) => bytes.subarray(cuts[index], cut));
          const { body } = await socket.exchange('POST', '/', CHUNKED, chunked(...parts));
          expect(body).toBe(JSON.stringify(value));
          await bodies.next();
        },
      ),
    );
  });

  // Node, readable.setEncoding: chunks are strings from then on. An error that a listener throws ends the process.
  test.each<BufferEncoding>(['utf8', 'latin1', 'hex', 'base64'])(
    'is read in pieces after earlier middleware called setEncoding(%j)',
    async (encoding) => {
      await listen((req, res) => {
        req.setEncoding(encoding);
        void bodies.read(req).then((body) => res.end(JSON.stringify(body)));
      });
      const bytes = Buffer.from('{"text":"€uro, 😀"}');
      for (const cut of bytes.keys()) {
        const parts = chunked(bytes.subarray(0, cut), bytes.subarray(cut));
        expect((await socket.exchange('POST', '/', CHUNKED, parts)).body).toBe(bytes.toString());
      }
    },
  );

  test('is refused, without an uncaught error, when a chunk has an impossible type', async () => {
    await listen((req, res) => {
      void bodies
        .read(req)
        .then(String, String)
        .then((outcome) => res.end(outcome));
      req.emit('data', null);
    });
    expect((await socket.exchange('POST', '/', HEADERS, '{}')).body).toContain('TypeError');
  });

  test('waits for a client that stalls and goes on', async () => {
    const seen = new EventEmitter();
    await listen((req, res) => {
      req.once('data', () => seen.emit('half'));
      void bodies.read(req).then((body) => res.end(JSON.stringify(body)));
    });
    const bytes = requestBytes('POST', '/', HEADERS, '{"text":"€uro"}');
    const half = once(seen, 'half');
    await socket.write(bytes.subarray(0, -6));
    await half;
    await socket.write(bytes.subarray(-6));
    expect((await socket.response()).body).toBe('{"text":"€uro"}');
  });

  test.each<[string, [string, string][], Buffer]>([
    ['with a declared length', [...HEADERS, ['Content-Length', '100']], Buffer.from('{}')],
    ['chunked', CHUNKED, Buffer.from('2\r\n{}\r\n')],
  ])(
    'whose client disconnects half-way is given up, even if what has come is whole JSON: %s',
    async (_, headers, half) => {
      await listen((req) => {
        req.once('data', () => socket.destroy());
        void bodies.read(req);
      });
      await socket.write(Buffer.concat([requestBytes('POST', '/', headers), half]));
      expect(await bodies.next()).toBe('parseError');
    },
  );

  test('whose client disconnects while other middleware waits for something is given up', async () => {
    await listen((req) => {
      socket.destroy();
      req.once('close', () => void bodies.read(req));
      req.once('error', () => undefined);
    });
    await socket.write(Buffer.concat([requestBytes('POST', '/', CHUNKED), Buffer.from('2\r\n{}\r\n')]));
    expect(await bodies.next()).toBe('parseError');
  });
});

describe('maxBodyMemory', () => {
  let harness: Harness;
  let sockets: RawSocket[];
  beforeEach(async () => {
    harness = await start({ maxBodySize: MAX, maxBodyMemory: 2 * MAX });
    sockets = [];
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await harness.close();
  });

  const open = async (): Promise<RawSocket> => {
    const socket = await RawSocket.open(harness.url.port);
    sockets.push(socket);
    return socket;
  };
  /** Sends an `initialize` without its last byte. Resolves to the socket and that byte when the router has read the rest. */
  const slow = async (): Promise<{ socket: RawSocket; last: Buffer }> => {
    const socket = await open();
    const bytes = requestBytes('POST', '/mcp', HEADERS, initializeOf(MAX));
    const read = new Promise<void>((resolve) => {
      harness.http.once('request', (req: IncomingMessage) => {
        let length = 0;
        req.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length === MAX - 1) resolve();
        });
      });
    });
    await socket.write(bytes.subarray(0, -1));
    await read;
    return { socket, last: bytes.subarray(-1) };
  };
  const inPieces = async (): Promise<RawResponse> => {
    const body = initializeOf(MAX);
    return (await open()).exchange('POST', '/mcp', CHUNKED, chunked(body.subarray(0, 5_000), body.subarray(5_000)));
  };

  test('bounds the bytes of all incomplete bodies: one more gets 503, and its socket stays usable', async () => {
    await slow();
    await slow();
    const socket = await open();
    const body = initializeOf(MAX);
    const parts = chunked(body.subarray(0, 5_000), body.subarray(5_000));
    const refused = await socket.exchange('POST', '/mcp', CHUNKED, parts);
    expectRow(refused, 'bodiesAtCapacity');
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await socket.exchange('POST', '/mcp', HEADERS, JSON.stringify(initializeBody()))).toMatchObject({
      status: 200,
    });
  });

  test('does not apply to a body in one piece, so slow bodies block no other call', async () => {
    await slow();
    await slow();
    for (let n = 0; n < 3; n += 1) expect((await post(harness.url, initializeBody())).status).toBe(200);
  });

  test.each<[string, (half: Awaited<ReturnType<typeof slow>>) => Promise<unknown>]>([
    ['comes to its end', async ({ socket, last }) => (await socket.write(last), socket.response())],
    ['breaks off', ({ socket }) => Promise.resolve(socket.destroy())],
    ['grows too large', async ({ socket, last }) => socket.write(Buffer.concat([last, last]))],
  ])('is released when a body %s', async (_, finish) => {
    const halves = [await slow(), await slow()];
    expectRow(await inPieces(), 'bodiesAtCapacity');
    for (const half of halves) await finish(half);
    await until('it is free', async () => (await inPieces()).status === 200);
  });
});

test('an initialize whose client disconnects half-way opens nothing', async () => {
  const seen = new EventEmitter();
  let servers = 0;
  const factory = () => {
    servers += 1;
    return echoServer();
  };
  const watch: RequestHandler = (req, res, next) => {
    res.once('close', () => seen.emit('gone'));
    next();
    req.once('data', () => seen.emit('half'));
  };
  const harness = await start({ serverFactory: factory }, (app, router) => app.use('/mcp', watch, router));
  const socket = await RawSocket.open(harness.url.port);
  const [half, gone] = [once(seen, 'half'), once(seen, 'gone')];
  const body = JSON.stringify(initializeBody());
  await socket.write(requestBytes('POST', '/mcp', [...HEADERS, ['Content-Length', String(body.length + 1)]], body));
  await half;
  expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 0, orphaned: 0, hibernated: 0 });
  socket.destroy();
  await gone;
  await post(harness.url, initializeBody());
  expect(servers).toBe(1);
  expect(harness.router.sessions.stats()).toEqual({ initializing: 0, active: 1, orphaned: 0, hibernated: 0 });
  await harness.close();
});
