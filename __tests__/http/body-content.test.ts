import { gzipSync } from 'node:zlib';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express, { type Express, type RequestHandler } from 'express';
import { pino } from 'pino';
import type { ErrorName } from '../../src/errors.js';
import { mcpErrorHandler, type McpRouter } from '../../src/index.js';
import { initializeBody, JSON_HEADERS, messagesOf, post, start, type Harness } from '../support/harness.js';
import { LogLines } from '../support/log-lines.js';
import { chunked, RawSocket, type RawResponse } from '../support/raw-http.js';
import { expectRow } from '../support/rows.js';

const HEADERS = Object.entries(JSON_HEADERS);
const CHUNKED = [...HEADERS, ['Transfer-Encoding', 'chunked']] as [string, string][];

describe('the media type (RFC 8259, 8.1 and 11: JSON between systems is UTF-8, and has no charset parameter)', () => {
  let harness: Harness;
  beforeAll(async () => (harness = await start()));
  afterAll(() => harness.close());

  const send = async (headers: [string, string][], body: string | Buffer = JSON.stringify(initializeBody())) => {
    const socket = await RawSocket.open(harness.url.port);
    const response = await socket.exchange('POST', '/mcp', [['Accept', '*/*'], ...headers], body);
    socket.destroy();
    return response;
  };

  test.each([
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json; charset=UTF-8',
    'application/json; charset="utf-8"',
    'application/json; charset=utf8',
    'application/json; charset=us-ascii',
    'application/json ; profile=x',
    'application/json;',
  ])('taken: %s', async (type) => {
    expect(await send([['Content-Type', type]])).toMatchObject({ status: 200 });
  });

  test.each([
    'text/plain',
    'application/jsonx',
    'application/json-rpc',
    'application/vnd.api+json',
    'text/html; application/json',
    'multipart/form-data; boundary=application/json',
    'application/x-www-form-urlencoded',
    'application/json, application/json',
    'application/json; charset=utf-16',
    'application/json; charset=iso-8859-1',
    'json',
    '',
  ])('refused with 415: %s', async (type) => {
    expectRow(await send([['Content-Type', type]]), 'unsupportedMediaType');
  });

  test('none is refused with 415', async () => {
    expectRow(await send([]), 'unsupportedMediaType');
  });

  test.each(['gzip', 'br', 'deflate', 'identity, gzip', 'x'])(
    'Content-Encoding %s is refused with 415',
    async (coding) => {
      const headers: [string, string][] = [
        ['Content-Type', 'application/json'],
        ['Content-Encoding', coding],
      ];
      expectRow(await send(headers, gzipSync(JSON.stringify(initializeBody()))), 'unsupportedMediaType');
    },
  );

  test.each(['identity', 'Identity'])('Content-Encoding %s is no encoding', async (coding) => {
    const headers: [string, string][] = [
      ['Content-Type', 'application/json'],
      ['Content-Encoding', coding],
    ];
    expect(await send(headers)).toMatchObject({ status: 200 });
  });
});

/** Bytes that are not UTF-8 (RFC 3629, 3 and 10). */
const BAD_UTF_8: readonly [string, number[]][] = [
  ['a byte of Latin-1', [0xe9]],
  ['an overlong form', [0xc0, 0xaf]],
  ['a surrogate', [0xed, 0xa0, 0x80]],
  ['half a character', [0xe2, 0x82]],
  ['a code point past U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
];
const inString = (bytes: readonly number[]): Buffer =>
  Buffer.concat([Buffer.from('{"text":"'), Buffer.from(bytes), Buffer.from('"}')]);
/** An `initialize` with something before it. */
const afterMark = (text = JSON.stringify(initializeBody())): Buffer => Buffer.from(`\ufeff${text}`);

describe('text', () => {
  let harness: Harness;
  let socket: RawSocket;
  const begin = async (mount?: Parameters<typeof start>[1]): Promise<void> => {
    harness = await start({}, mount);
    socket = await RawSocket.open(harness.url.port);
  };
  afterEach(async () => {
    socket.destroy();
    await harness.close();
  });

  describe('with a byte order mark (RFC 8259, 8.1: a parser may ignore it)', () => {
    test.each<[string, RequestHandler[]]>([
      ['the router', []],
      ['express.json()', [express.json()]],
      ['express.text()', [express.text({ type: '*/*', defaultCharset: 'utf-8' })]],
      ['express.raw()', [express.raw({ type: '*/*' })]],
    ])('is served, read by %s', async (_, parsers) => {
      await begin((app, router) => app.use('/mcp', ...parsers, router));
      const body = afterMark();
      expect(await socket.exchange('POST', '/mcp', HEADERS, body)).toMatchObject({ status: 200 });
      const parts = chunked(body.subarray(0, 1), body.subarray(1, 2), body.subarray(2));
      expect(await socket.exchange('POST', '/mcp', CHUNKED, parts)).toMatchObject({ status: 200 });
    });

    test('is served when other middleware has read the body as a string', async () => {
      const keep: RequestHandler = (req, _res, next) => {
        const chunks: string[] = [];
        req.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
        req.once('end', () => {
          req.body = chunks.join('');
          next();
        });
      };
      await begin((app, router) => app.use('/mcp', keep, router));
      expect(await socket.exchange('POST', '/mcp', HEADERS, afterMark())).toMatchObject({ status: 200 });
    });
  });

  test('a replacement character that the client sent itself is served (U+FFFD is valid UTF-8)', async () => {
    await begin();
    const response = await post(harness.url, initializeBody('\ufffd'));
    expect(messagesOf(await response.text())).toMatchObject([{ id: '\ufffd', result: {} }]);
  });
});

describe('a body that is none', () => {
  let harness: Harness;
  let socket: RawSocket;
  beforeAll(async () => {
    harness = await start();
    socket = await RawSocket.open(harness.url.port);
  });
  afterAll(async () => {
    socket.destroy();
    await harness.close();
  });

  test.each<[string, [string, string][], Buffer | string | undefined]>([
    ['Content-Length: 0', HEADERS, ''],
    ['neither Content-Length nor Transfer-Encoding', HEADERS, undefined],
    ['no chunk', CHUNKED, chunked()],
    ['white space', HEADERS, ' \r\n\t'],
    ['a byte order mark and nothing', HEADERS, '\ufeff'],
    ['two byte order marks', HEADERS, '\ufeff\ufeff{}'],
    ['a JavaScript literal', HEADERS, '{jsonrpc:"2.0"}'],
    ['two documents', HEADERS, '{}{}'],
    ['NaN', HEADERS, 'NaN'],
    ['bytes that are no UTF-8 outside a string', HEADERS, Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
    ...BAD_UTF_8.map((row): [string, [string, string][], Buffer] => [
      `${row[0]} in a string`,
      HEADERS,
      inString(row[1]),
    ]),
    [
      'half a character at the end of a chunk',
      CHUNKED,
      chunked(inString([0xe2, 0x82]).subarray(0, 12), Buffer.from('"}')),
    ],
    ['UTF-16', HEADERS, Buffer.from(`\ufeff${JSON.stringify(initializeBody())}`, 'utf16le')],
  ])('%s gets -32700', async (_, headers, body) => {
    expectRow(await socket.exchange('POST', '/mcp', headers, body), 'parseError');
  });

  test.each([
    'null',
    'true',
    '0',
    '-1.5e300',
    '"text"',
    '{}',
    '[[]]',
    '[null]',
    '{"jsonrpc":"2.0","id":null,"method":"ping"}',
  ])('JSON that is no JSON-RPC gets -32600: %s', async (body) => {
    expectRow(await socket.exchange('POST', '/mcp', HEADERS, body), 'invalidRequest');
  });
});

describe('a body that middleware before the router has parsed', () => {
  let harness: Harness | undefined;
  afterEach(async () => {
    await harness?.close();
    harness = undefined;
  });
  const mounted = async (...handlers: RequestHandler[]) => {
    const mount = (app: Express, router: McpRouter) => app.use('/mcp', ...handlers, router, mcpErrorHandler());
    harness = await start({}, mount);
    return harness.url;
  };

  test.each<[string, RequestHandler]>([
    ['express.json()', express.json()],
    ['express.text()', express.text({ type: '*/*' })],
    ['express.raw()', express.raw({ type: '*/*' })],
  ])('%s: is taken as it is', async (_, parser) => {
    const url = await mounted(parser);
    const response = await post(url, { ...initializeBody('€'), params: initializeBody().params });
    expect(messagesOf(await response.text())).toMatchObject([{ id: '€', result: {} }]);
    expectRow(await answerTo(url, '{"jsonrpc"'), 'parseError');
    expectRow(await answerTo(url, '{"jsonrpc":"2.0"}'), 'invalidRequest');
  });

  test.each<[string, RequestHandler, ErrorName]>([
    ['express.json(), which makes {} of it,', express.json(), 'invalidRequest'],
    ['express.text()', express.text({ type: '*/*' }), 'parseError'],
    ['express.raw()', express.raw({ type: '*/*' }), 'parseError'],
  ])('%s: an empty one is answered, though there was nothing to read', async (_, parser, name) => {
    const url = await mounted(parser);
    expectRow(await answerTo(url, ''), name);
  });

  test.each<[string, RequestHandler]>([
    ['express.json()', express.json()],
    ['express.text()', express.text()],
    ['express.urlencoded()', express.urlencoded({ extended: true })],
  ])('%s that left the body alone, for its type: gets 415', async (_, parser) => {
    const url = await mounted(parser);
    const response = await post(url, initializeBody(), { 'content-type': 'application/octet-stream' });
    expectRow({ status: response.status, body: await response.text() }, 'unsupportedMediaType');
  });

  test('express.raw(): bytes that are not UTF-8 get -32700', async () => {
    const url = await mounted(express.raw({ type: '*/*' }));
    for (const [, bytes] of BAD_UTF_8) {
      const response = await fetch(url, { method: 'POST', headers: JSON_HEADERS, body: inString(bytes) });
      expectRow({ status: response.status, body: await response.text() }, 'parseError');
    }
  });

  test('express.json() takes off a Content-Encoding', async () => {
    const url = await mounted(express.json());
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...JSON_HEADERS, 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify(initializeBody())),
    });
    expect(response.status).toBe(200);
    await response.text();
  });

  test('a parser that left an empty object and read nothing (Express 4 sets req.body so) does not hide the body', async () => {
    const url = await mounted((req, _res, next) => {
      req.body = {};
      next();
    });
    expect((await post(url, initializeBody())).status).toBe(200);
  });

  test('a stream that was read before without a parsed body gets -32700, and the log says why', async () => {
    const lines = new LogLines();
    const consume: RequestHandler = (req, _res, next) => {
      req.resume().once('end', () => next());
    };
    harness = await start({ logger: pino({}, lines) }, (app, router) => app.use('/mcp', consume, router));
    expectRow(await answerTo(harness.url, JSON.stringify(initializeBody())), 'parseError');
    expect(lines.text).toContain('other middleware read the body and left no req.body');
  });

  async function answerTo(url: URL, body: string): Promise<Pick<RawResponse, 'status' | 'body'>> {
    const response = await post(url, body);
    return { status: response.status, body: await response.text() };
  }
});

describe('keys that mean something to JavaScript', () => {
  const EVIL =
    '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":1,"hasOwnProperty":1}';
  let harness: Harness;
  let received: Record<string, unknown> | undefined;
  // As it arrives, before the SDK's schemas make of it what they like.
  const serverFactory = () => {
    const server = new McpServer({ name: 'raw', version: '1.0.0' });
    server.server.fallbackRequestHandler = async ({ params }) => {
      received = params;
      return { echo: params?.arguments };
    };
    return server;
  };
  afterEach(() => harness.close());

  test.each<[string, RequestHandler[]]>([
    ['the router', []],
    ['express.json()', [express.json()]],
  ])('reach the server as own data, and pollute nothing: read by %s', async (_, parsers) => {
    harness = await start({ serverFactory }, (app, router) => app.use('/mcp', ...parsers, router));
    const opened = await post(harness.url, initializeBody());
    await opened.text();
    const session = opened.headers.get('mcp-session-id')!;
    const body = `{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"n","arguments":${EVIL}}}`;
    const response = await post(harness.url, body, { 'mcp-session-id': session });
    const data = (await response.text()).split('\n').find((line) => line.startsWith('data: {'));
    expect(data).toContain(`"echo":${EVIL}`);
    expect(Object.keys(received?.arguments as object)).toEqual([
      '__proto__',
      'constructor',
      'toString',
      'hasOwnProperty',
    ]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test.each([
    EVIL,
    `[${EVIL}]`,
    `{"jsonrpc":"2.0","id":1,"method":"ping","__proto__":{}}`,
    `{"__proto__":{"jsonrpc":"2.0","id":1,"method":"ping"}}`,
    `{"jsonrpc":"2.0","id":{"__proto__":1},"method":"ping"}`,
    `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"__proto__":{},"progressToken":{}}}}`,
  ])('do not make an invalid body valid: %s', async (body) => {
    harness = await start({ serverFactory });
    const response = await post(harness.url, body);
    expectRow({ status: response.status, body: await response.text() }, 'invalidRequest');
  });
});
