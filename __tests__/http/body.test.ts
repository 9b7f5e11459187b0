import { EventEmitter, once } from 'node:events';
import http, { type IncomingMessage, type RequestListener } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { RequestHandler } from 'express';
import fc from 'fast-check';
import { systemClock } from '../../src/runtime/clock.js';
import { LifecyclePhase } from '../../src/runtime/lifecycle-phase.js';
import { Refusal } from '../../src/errors.js';
import { BodyReader } from '../../src/http/body.js';
import { clientRequest } from '../../src/http/mcp-request.js';
import { echoServer, initializeBody, JSON_HEADERS, post, start, type Harness } from '../support/harness.js';
import { chunked, RawSocket, requestBytes, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';
import { soon } from '../support/waiting.js';

const HEADERS = Object.entries(JSON_HEADERS);
const CHUNKED = [...HEADERS, ['Transfer-Encoding', 'chunked']] as [string, string][];
const MAX = 10_000;

/** An `initialize` of exactly so many bytes, with characters of several bytes. */
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

  // RFC 9112, 9.6. HAProxy with `http-server-close` asks for the close in each request.
  test('a refused body is read before its connection closes, so that no reset loses the reply', async () => {
    const client = connect(Number(harness.url.port), '127.0.0.1');
    const reply = text(client);
    const request = requestBytes('POST', '/mcp', [...HEADERS, ['Connection', 'close']], Buffer.alloc(4_000_000, ' '));
    const written = new Promise((resolve) => client.end(request, resolve as () => void));
    expect(await soon('the reply ends', reply)).toMatch(/^HTTP\/1.1 413 /);
    expect(await written).toBeNull();
  });

  test('a refused body that stops half-way is read no longer than a pause of 2 s', async () => {
    const head = [...HEADERS, ['Connection', 'close'], ['Content-Length', String(MAX + 1)]] as [string, string][];
    await socket.write(requestBytes('POST', '/mcp', head));
    await socket.write('{');
    expectRow(await socket.response(), 'bodyTooLarge');
    await soon('the router ends the connection', socket.end());
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

  readonly #reader: BodyReader;

  constructor(maxBodyMemory = 10 * MAX) {
    const options = { maxBodySize: MAX, maxBodyMemory, maxDepth: 200, clock: systemClock };
    this.#reader = new BodyReader(options, new LifecyclePhase());
  }

  read(req: IncomingMessage): Promise<unknown> {
    const outcome = this.#reader
      .read(clientRequest(req))
      .then(({ value }) => value)
      .catch((error: unknown) => (error instanceof Refusal ? error.reason : error));
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
    'is abandoned when its client disconnects half-way, even if the received bytes are complete JSON: %s',
    async (_, headers, half) => {
      await listen((req) => {
        req.once('data', () => socket.destroy());
        void bodies.read(req);
      });
      await socket.write(Buffer.concat([requestBytes('POST', '/', headers), half]));
      expect(await bodies.next()).toBe('parseError');
    },
  );

  test('that alone needs more than maxBodyMemory gets 503, and takes no memory from others', async () => {
    bodies = new Bodies(1_000);
    const seen = new EventEmitter();
    await listen((req, res) => {
      req.once('data', () => seen.emit('half'));
      void bodies.read(req).then((outcome) => res.end(JSON.stringify(outcome)));
    });
    const other = await RawSocket.open((server.address() as AddressInfo).port);
    const bytes = requestBytes('POST', '/', HEADERS, '{"text":"€uro"}');
    const half = once(seen, 'half');
    await other.write(bytes.subarray(0, -6));
    await half;
    const large = chunked(Buffer.alloc(600, ' '), Buffer.alloc(600, ' '));
    expect((await socket.exchange('POST', '/', CHUNKED, large)).body).toBe('"bodiesAtCapacity"');
    await other.write(bytes.subarray(-6));
    expect((await other.response()).body).toBe('{"text":"€uro"}');
    other.destroy();
  });

  test('is abandoned when its client disconnects while other middleware waits', async () => {
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
  /** Sends a part of a request. Resolves when the router has read so many bytes of the body. */
  const write = async (socket: RawSocket, part: Buffer, bytes: number): Promise<IncomingMessage> => {
    const read = new Promise<IncomingMessage>((resolve) => {
      harness.http.once('request', (req: IncomingMessage) => void hasRead(req, bytes).then(() => resolve(req)));
    });
    await socket.write(part);
    return read;
  };
  const hasRead = (req: IncomingMessage, bytes: number): Promise<void> =>
    new Promise((resolve) => {
      let length = 0;
      req.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length === bytes) resolve();
      });
    });
  interface Slow {
    readonly socket: RawSocket;
    readonly req: IncomingMessage;
    readonly rest: Buffer;
  }
  /** Sends an `initialize` without its last bytes. */
  const slow = async (missing = 1): Promise<Slow> => {
    const socket = await open();
    const bytes = requestBytes('POST', '/mcp', HEADERS, initializeOf(MAX));
    const req = await write(socket, bytes.subarray(0, -missing), MAX - missing);
    return { socket, req, rest: bytes.subarray(-missing) };
  };
  const finish = async ({ socket, rest }: Slow): Promise<RawResponse> => {
    await socket.write(rest);
    return socket.response();
  };
  const inPieces = async (): Promise<RawResponse> => {
    const body = initializeOf(MAX);
    return (await open()).exchange('POST', '/mcp', CHUNKED, chunked(body.subarray(0, 5_000), body.subarray(5_000)));
  };

  test('is freed from stalled bodies: the one that waits longest gets 503, and its socket stays usable', async () => {
    const [first, second] = [await slow(), await slow()];
    expect(await inPieces()).toMatchObject({ status: 200 });
    const refused = await first.socket.response();
    expectRow(refused, 'bodiesAtCapacity');
    expect(refused.headers.get('retry-after')).toBe('5');
    await first.socket.write(first.rest);
    const again = await first.socket.exchange('POST', '/mcp', HEADERS, JSON.stringify(initializeBody()));
    expect(again).toMatchObject({ status: 200 });
    expect(await finish(second)).toMatchObject({ status: 200 });
  });

  test('stays with the body that got the latest chunk', async () => {
    const [first, second] = [await slow(2), await slow()];
    const read = hasRead(first.req, 1);
    await first.socket.write(first.rest.subarray(0, 1));
    await read;
    expect(await inPieces()).toMatchObject({ status: 200 });
    expectRow(await second.socket.response(), 'bodiesAtCapacity');
    expect(await finish({ ...first, rest: first.rest.subarray(1) })).toMatchObject({ status: 200 });
  });

  test('counts the size of a buffer, which is more than the received bytes', async () => {
    const part = chunked(Buffer.alloc(3_000, ' '), Buffer.alloc(1, ' ')).subarray(0, -'0\r\n\r\n'.length);
    const bytes = Buffer.concat([requestBytes('POST', '/mcp', CHUNKED), part]);
    const halves: RawSocket[] = [];
    // Buffers of 6,000 bytes.
    for (let n = 0; n < 4; n += 1) {
      halves.push(await open());
      await write(halves.at(-1)!, bytes, 3_001);
    }
    expectRow(await halves[0]!.response(), 'bodiesAtCapacity');
    for (const half of halves.slice(1)) {
      await half.write(chunked(Buffer.from(JSON.stringify(initializeBody()))));
      expect(await half.response()).toMatchObject({ status: 200 });
    }
  });

  test('does not apply to a body in one piece, so slow bodies block no other call', async () => {
    const halves = [await slow(), await slow()];
    for (let n = 0; n < 3; n += 1) expect((await post(harness.url, initializeBody())).status).toBe(200);
    for (const half of halves) expect(await finish(half)).toMatchObject({ status: 200 });
  });

  test.each<[string, (half: Slow) => Promise<unknown>]>([
    ['comes to its end', finish],
    ['breaks off', ({ socket }) => Promise.resolve(socket.destroy())],
    ['grows too large', async ({ socket, rest }) => socket.write(Buffer.concat([rest, rest]))],
  ])('is released when a body %s', async (_, end) => {
    for (const half of [await slow(), await slow()]) await end(half);
    for (const half of [await slow(), await slow()]) expect(await finish(half)).toMatchObject({ status: 200 });
  });
});

test('a body that never ends keeps no HTTP server open once the router closes, also with Connection: close', async () => {
  const { router, http, url } = await start();
  const socket = await RawSocket.open(url.port);
  const headers = [...HEADERS, ['Connection', 'close'], ['Content-Length', '100']] as [string, string][];
  const arrived = once(http, 'request');
  await socket.write(requestBytes('POST', '/mcp', headers));
  await arrived;
  await router.close();
  expectRow(await socket.response(), 'draining');
  await soon('the HTTP server closes', new Promise((resolve) => http.close(resolve)));
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
