import fc from 'fast-check';
import { initializeBody, JSON_HEADERS } from '../support/harness.js';
import { chunked } from '../support/raw-http.js';
import { perRequest } from './fuzz-per-request.js';

type Header = readonly [string, string];

/** Which session a request names; which of that kind is for the sender to choose, by `pick`. */
export interface SessionChoice {
  readonly kind: 'live' | 'dead' | 'foreign' | 'odd';
  readonly pick: number;
  readonly odd: string;
}

/** A request that is well-formed HTTP, whatever else it is. */
export interface FuzzRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly Header[];
  readonly session: SessionChoice | undefined;
  /** Which of the event IDs seen so far it asks to resume after. */
  readonly lastEvent: number | undefined;
  readonly body: Buffer | undefined;
  /** Whether it is a `subscriptions/listen`, whose reply may stay open. */
  readonly listens: boolean;
  /** After this one the socket may not serve another. */
  readonly lastOnSocket: boolean;
  /** Bytes to break the request with, so that it need not even be HTTP. */
  readonly damage: Damage | undefined;
}

export interface Damage {
  readonly at: number;
  readonly remove: number;
  readonly insert: Buffer;
}

/** Paths at which the routers under test stand. */
export const ENDPOINTS = ['/mcp', '/json', '/stateless', '/parsed'] as const;

/** Names of tools of the server under test, and of one that it does not have. */
export const TOOLS = [
  'echo',
  'hang',
  'fail',
  'report',
  'ask',
  'unwritable',
  'leave',
  'large',
  'elicit',
  'none',
] as const;

const oneIn = <T>(many: number, rare: fc.Arbitrary<T>, usual: fc.Arbitrary<T>) =>
  fc.oneof({ weight: many - 1, arbitrary: usual }, { weight: 1, arbitrary: rare });

/** Any code points. `unit: 'binary'` says the same, but makes a table of all of them first. */
const unicode = (maxLength: number) =>
  fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength }).map((points) => String.fromCodePoint(...points));

// HTTP allows visible ASCII, space, tab and what Latin-1 has above that (RFC 9110, 5.5).
const headerValue = fc
  .array(fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff }), fc.constant(9)), {
    maxLength: 60,
  })
  .map((codes) => String.fromCharCode(...codes).trim());
const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/);

const id = oneIn<unknown>(
  20,
  fc.oneof(fc.jsonValue(), fc.double()),
  fc.oneof(fc.nat(30), fc.string({ maxLength: 8 }), fc.constantFrom<unknown>(0, -1, '', '0')),
);
const anyParams = fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue(), { maxKeys: 4 });

const call = fc.record({
  jsonrpc: fc.constant('2.0'),
  id,
  method: fc.constant('tools/call'),
  params: fc.record({
    name: oneIn<string>(8, fc.constantFrom(...TOOLS), fc.constant('echo')),
    arguments: oneIn<unknown>(4, fc.jsonValue(), fc.record({ text: unicode(30) })),
    _meta: oneIn<unknown>(
      5,
      fc.jsonValue(),
      fc.record({ progressToken: fc.oneof(fc.nat(9), fc.string({ maxLength: 5 })) }),
    ),
  }),
});
const request = fc.record({
  jsonrpc: fc.constant('2.0'),
  id,
  method: oneIn<string>(
    8,
    fc.string({ maxLength: 20 }),
    fc.constantFrom(
      'ping',
      'tools/list',
      'resources/list',
      'logging/setLevel',
      'server/discover',
      'completion/complete',
      'tasks/get',
    ),
  ),
  params: anyParams,
});
const notification = fc.record({
  jsonrpc: fc.constant('2.0'),
  method: fc.constantFrom(
    'notifications/initialized',
    'notifications/cancelled',
    'notifications/progress',
    'notifications/x',
    'initialize',
  ),
  params: fc.oneof(anyParams, fc.record({ requestId: id, progressToken: id, progress: fc.nat(9) })),
});
const response = fc.oneof(
  fc.record({ jsonrpc: fc.constant('2.0'), id, result: anyParams }),
  fc.record({ jsonrpc: fc.constant('2.0'), id, error: fc.record({ code: fc.integer(), message: fc.string() }) }),
);
const initialize = fc
  .record({
    id,
    version: oneIn(
      5,
      fc.string({ maxLength: 12 }),
      fc.constantFrom('2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05', '2026-07-28'),
    ),
    params: oneIn<unknown>(6, fc.jsonValue(), fc.constant(undefined)),
    name: fc.string({ maxLength: 10 }),
  })
  .map(({ id, version, params, name }) => {
    const valid = initializeBody(0, version);
    return { ...valid, id, params: params ?? { ...valid.params, clientInfo: { name, version: '1' } } };
  });
const message = fc.oneof(
  { weight: 8, arbitrary: call },
  { weight: 4, arbitrary: request },
  { weight: 3, arbitrary: notification },
  { weight: 2, arbitrary: response },
);
const json = fc.oneof(
  { weight: 20, arbitrary: message },
  { weight: 4, arbitrary: initialize },
  { weight: 2, arbitrary: fc.array(message, { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.array(fc.oneof(message, initialize, fc.jsonValue()), { maxLength: 4 }) },
  { weight: 2, arbitrary: fc.jsonValue() },
  { weight: 1, arbitrary: fc.constant(Array.from({ length: 101 }, () => ({ jsonrpc: '2.0', id: 1, method: 'ping' }))) },
);

/** Texts of JSON that only a text can be: keys twice, `__proto__`, depth, numbers that are none. */
const textMutation = fc.oneof(
  fc.constantFrom<(text: string) => string>(
    (text) => text.slice(0, text.length / 2),
    (text) => text.replace('{', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},'),
    (text) => text.replace('"params":{', '"params":{"__proto__":{"polluted":1},"constructor":1,'),
    (text) => text.replace('"id"', '"id":1,"id"'),
    (text) => text.replace(/\d+/, '1e999'),
    (text) => text.replace(/"(?=[^"]*$)/, '\u0000"'),
    (text) => text.replace('"arguments":', `"arguments":${'['.repeat(5_000)}${']'.repeat(5_000)},"x":`),
    (text) => `\ufeff${text}`,
    (text) => `${text}${text}`,
    () => '['.repeat(20_000),
    () => ' '.repeat(60_000),
    () => '',
  ),
  fc.tuple(fc.nat(), unicode(5)).map(([at, insert]) => (text: string) => {
    const cut = at % (text.length + 1);
    return text.slice(0, cut) + insert + text.slice(cut + 1);
  }),
);
const mutation = oneIn(6, textMutation, fc.constant(undefined));
const text = fc
  .tuple(json, mutation)
  .map(([value, mutate]) => (mutate === undefined ? JSON.stringify(value) : mutate(JSON.stringify(value))));
const body = oneIn<Buffer>(
  30,
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  text.map((value) => Buffer.from(value)),
);

const acceptHeader = oneIn<string | undefined>(
  20,
  fc.oneof(
    headerValue,
    fc.constantFrom('*/*', 'application/json', 'text/event-stream', 'application/*;q=0, */*', '', undefined),
  ),
  fc.constant(JSON_HEADERS.accept),
);
const contentType = oneIn<string | undefined>(
  20,
  fc.oneof(
    headerValue,
    fc.constantFrom('application/json; charset=utf-8', 'application/json; charset=utf-16', 'text/plain', '', undefined),
  ),
  fc.constant(JSON_HEADERS['content-type']),
);
const versionHeader = oneIn<string | undefined>(
  12,
  fc.oneof(headerValue, fc.constantFrom('2025-06-18', '2024-10-07', '2026-07-28')),
  fc.constant(undefined),
);
/** The faults that the app under test commits. */
const fault = oneIn<string | undefined>(
  12,
  fc.constantFrom(
    'factory throws',
    'factory rejects',
    'factory returns nothing',
    'factory never settles',
    'server throws',
    'principal throws',
  ),
  fc.constant(undefined),
);
const extraHeader = oneIn<Header | undefined>(
  12,
  fc.oneof(
    fc.tuple(token, headerValue),
    fc.tuple(
      fc.constantFrom(
        'Host',
        'Origin',
        'Last-Event-ID',
        'Authorization',
        'Content-Encoding',
        'Accept',
        'Mcp-Session-Id',
        'X-User',
        'Cookie',
      ),
      fc.oneof(
        headerValue,
        fc.constantFrom('evil.example', 'http://localhost', 'https://evil.example', 'null', 'gzip', 'br', 'identity'),
      ),
    ),
    fc.constantFrom<Header>(
      ['Connection', 'close'],
      ['Expect', '100-continue'],
      ['Expect', 'x'],
      ['Upgrade', 'websocket'],
      ['Connection', 'Upgrade'],
    ),
  ),
  fc.constant(undefined),
);

const method = oneIn(
  12,
  fc.constantFrom('PUT', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'),
  fc.constantFrom(...Array.from({ length: 30 }, () => 'POST'), 'GET', 'GET', 'DELETE'),
);
const target = fc
  .tuple(
    fc.constantFrom(...ENDPOINTS, ENDPOINTS[0], ENDPOINTS[0]),
    oneIn<string | undefined>(
      12,
      fc.oneof(
        fc.constantFrom('/', '?x=1', '/metrics', '/mcp', '//', '/%', '/%00', '#x'),
        fc.stringMatching(/^[/?][!$-;=@-Z_a-z~]{0,20}$/),
      ),
      fc.constant(undefined),
    ),
    oneIn<string | undefined>(
      100,
      fc.constantFrom('http://127.0.0.1', 'http://evil.example', '/x', '/'),
      fc.constant(undefined),
    ),
  )
  .map(([path, suffix, prefix]) => `${prefix ?? ''}${path}${suffix ?? ''}`);

const session = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  {
    weight: 9,
    arbitrary: fc.record<SessionChoice>({
      kind: fc.oneof(
        { weight: 8, arbitrary: fc.constant('live' as const) },
        { weight: 3, arbitrary: fc.constantFrom('dead' as const, 'foreign' as const, 'odd' as const) },
      ),
      pick: fc.nat(),
      odd: oneIn(
        10,
        fc.constant('x'.repeat(8 * 1024)),
        fc.oneof(headerValue, fc.constantFrom('__proto__', 'constructor', 'toString')),
      ),
    }),
  },
);

const lastEvent = oneIn<number | undefined>(6, fc.nat(), fc.constant(undefined));

const damage = oneIn<Damage | undefined>(
  30,
  fc.record<Damage>({
    at: fc.nat(400),
    remove: oneIn(3, fc.constant(Infinity), fc.nat(5)),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 10 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          '\r\n',
          '\n',
          '\0',
          ': ',
          ' ',
          `X: ${'x'.repeat(20_000)}\r\n`,
          'Transfer-Encoding: chunked\r\n',
          'Content-Length: 5\r\n',
        )
        .map((value) => Buffer.from(value)),
    ),
  }),
  fc.constant(undefined),
);

/** A request to one of the routers: about half are as a client would send them, the others are wrong somewhere. */
export const fuzzRequest: fc.Arbitrary<FuzzRequest> = fc
  .record({
    method,
    target,
    session,
    lastEvent,
    body,
    modern: oneIn(3, fc.tuple(perRequest(id, TOOLS, headerValue), mutation), fc.constant(undefined)),
    acceptHeader,
    contentType,
    versionHeader,
    fault,
    extraHeader,
    damage,
    chunkSize: oneIn(5, fc.integer({ min: 1, max: 50 }), fc.constant(undefined)),
  })
  .map((parts) => {
    const hasBody = !['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'].includes(parts.method);
    const [modern, mutate = (text: string) => text] = (hasBody ? parts.modern : undefined) ?? [];
    const body = modern === undefined ? parts.body : Buffer.from(mutate(JSON.stringify(modern.body)));
    const chunkSize = hasBody ? parts.chunkSize : undefined;
    const headers: [string, string | undefined][] = [
      ['Accept', parts.acceptHeader],
      ['Content-Type', hasBody ? parts.contentType : undefined],
      ...(modern?.headers ?? [['MCP-Protocol-Version', parts.versionHeader] as const]).map(
        ([name, value]): [string, string | undefined] => [name, value],
      ),
      ['X-Fault', parts.fault],
      ['Transfer-Encoding', chunkSize === undefined ? undefined : 'chunked'],
      parts.extraHeader === undefined ? ['', undefined] : [...parts.extraHeader],
    ];
    return {
      method: parts.method,
      target: parts.target,
      headers: headers.filter((header): header is [string, string] => header[1] !== undefined),
      session: parts.session,
      lastEvent: parts.method === 'GET' ? parts.lastEvent : undefined,
      body: hasBody ? inChunks(body, chunkSize) : undefined,
      listens: modern?.listens === true,
      lastOnSocket:
        parts.damage !== undefined || ['Connection', 'Expect', 'Upgrade'].includes(parts.extraHeader?.[0] ?? ''),
      damage: parts.damage,
    };
  });

function inChunks(body: Buffer, size: number | undefined): Buffer {
  if (size === undefined) return body;
  const count = Math.min(200, Math.ceil(body.length / size));
  const chunks = Array.from({ length: count }, (_, n) =>
    body.subarray(n * size, n === count - 1 ? undefined : (n + 1) * size),
  );
  return chunked(...chunks);
}
