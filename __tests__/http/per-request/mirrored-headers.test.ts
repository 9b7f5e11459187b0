import fc from 'fast-check';
import { mirrorBody } from '../../../src/http/per-request/mirrored-headers.js';
import { mirrorArguments, paramHeadersOf } from '../../../src/http/per-request/param-headers.js';
import { decodeHeader, encodeHeader } from '../../../src/protocol/encoded-header.js';

const encoded = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`;
/** As a client must write a value: encoded where it is not plain ASCII, or could be taken for encoded. */
const written = (text: string) =>
  /^(?! )[ -~]*(?<! )$/.test(text) && !/^=\?base64\?.*\?=$/.test(text) ? text : encoded(text);

describe('a mirrored header (MCP 2026-07-28, basic/transports/streamable-http, "Value Encoding")', () => {
  test.each([
    ['us-west1', 'us-west1'],
    ['=?base64?SGVsbG8sIOS4lueVjA==?=', 'Hello, 世界'],
    ['=?base64?IHBhZGRlZCA=?=', ' padded '],
    ['=?base64?bGluZTEKbGluZTI=?=', 'line1\nline2'],
    ['=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=', '=?base64?literal?='],
    ['=?BASE64?SGVsbG8=?=', '=?BASE64?SGVsbG8=?='],
    ['=?base64?=', '=?base64?='],
    ['', ''],
  ])('%j stands for %j', (header, text) => {
    expect(decodeHeader(header)).toBe(text);
  });

  test.each(['caf\xe9', 'a\x7f', 'a\0b', '=?base64?SGVsbG8?=', '=?base64?SGV$bG8=?=', '=?base64?/w==?='])(
    '%j is invalid: its characters, its Base64 or its UTF-8',
    (header) => {
      expect(decodeHeader(header)).toBeUndefined();
    },
  );

  test('gives every text back that a client wrote (property)', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string()), (text) => {
        expect(decodeHeader(written(text))).toBe(text);
        expect(decodeHeader(encodeHeader(text))).toBe(text);
      }),
    );
  });
});

describe('the standard headers of a request ("Server Validation")', () => {
  const VERSION = '2026-07-28';
  const call = (name: unknown) => ({ jsonrpc: '2.0' as const, id: 1, method: 'tools/call', params: { name } });
  const headers = (more: Record<string, string | undefined> = {}) => ({
    'mcp-protocol-version': VERSION,
    'mcp-method': 'tools/call',
    'mcp-name': 'add',
    ...more,
  });

  test.each<[string, unknown, Record<string, string | undefined>, boolean]>([
    ['agree with it', 'add', {}, true],
    ['agree with it, encoded', 'añadir', { 'mcp-name': encoded('añadir') }, true],
    ['have no version', 'add', { 'mcp-protocol-version': undefined }, false],
    ['have another version', 'add', { 'mcp-protocol-version': '2025-11-25' }, false],
    ['have no method', 'add', { 'mcp-method': undefined }, false],
    ['have the method in other letters', 'add', { 'mcp-method': 'Tools/Call' }, false],
    ['have no name', 'add', { 'mcp-name': undefined }, false],
    ['have another name', 'add', { 'mcp-name': 'ADD' }, false],
    ['have a name that is not valid', 'add', { 'mcp-name': '=?base64?!?=' }, false],
    ['have a name, and the body has none', undefined, {}, false],
    ['have no name, as the body has none that could be mirrored', 7, { 'mcp-name': undefined }, true],
  ])('that %s', (_, name, change, agree) => {
    expect(mirrorBody(headers(change), call(name), VERSION)).toBe(agree);
  });

  test.each([
    ['prompts/get', { name: 'x' }, 'x'],
    ['resources/read', { uri: 'file:///x' }, 'file:///x'],
    ['tasks/get', { taskId: 'x' }, 'x'],
    ['tools/list', {}, undefined],
    ['constructor', {}, undefined],
  ])('of %s mirror %j', (method, params, name) => {
    const request = { jsonrpc: '2.0' as const, id: 1, method, params };
    const mirrored = { 'mcp-protocol-version': VERSION, 'mcp-method': method, 'mcp-name': name };
    expect(mirrorBody(mirrored, request, VERSION)).toBe(true);
    expect(mirrorBody({ ...mirrored, 'mcp-name': 'another' }, request, VERSION)).toBe(name === undefined);
  });
});

describe("the parameters of a tool that are mirrored ('Custom Headers from Tool Parameters')", () => {
  const schema = (properties: unknown) => ({ type: 'object', properties });
  const DECLARED = schema({
    region: { type: 'string', 'x-mcp-header': 'Region' },
    limit: { type: 'integer', 'x-mcp-header': 'Limit' },
    dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
    where: schema({ zone: { type: 'string', 'x-mcp-header': 'Zone' } }),
    query: { type: 'string' },
  });

  test('are those that a chain of properties leads to', () => {
    expect(paramHeadersOf(DECLARED)).toEqual([
      { header: 'mcp-param-region', path: ['region'] },
      { header: 'mcp-param-limit', path: ['limit'] },
      { header: 'mcp-param-dry-run', path: ['dry'] },
      { header: 'mcp-param-zone', path: ['where', 'zone'] },
    ]);
  });

  test.each<[string, unknown]>([
    ['no text', { a: { type: 'string', 'x-mcp-header': 7 } }],
    ['empty', { a: { type: 'string', 'x-mcp-header': '' } }],
    ['no token', { a: { type: 'string', 'x-mcp-header': 'A B' } }],
    ['of a number', { a: { type: 'number', 'x-mcp-header': 'A' } }],
    ['doubled', { a: { type: 'string', 'x-mcp-header': 'A' }, b: { type: 'string', 'x-mcp-header': 'a' } }],
    ['doubled further in', { a: { type: 'string', 'x-mcp-header': 'A' }, b: schema({ c: { 'x-mcp-header': 'A' } }) }],
  ])('are none where one is %s: no client may use the tool then', (_, properties) => {
    expect(paramHeadersOf(schema(properties))).toEqual([]);
  });

  test.each<[string, unknown, Record<string, string | undefined>, boolean]>([
    ['text', { region: 'us-west1' }, { region: 'us-west1' }, true],
    ['other text', { region: 'us-west1' }, { region: 'us-east1' }, false],
    ['encoded text', { region: ' ü ' }, { region: encoded(' ü ') }, true],
    ['invalid Base64', { region: 'us' }, { region: '=?base64?dXM?=' }, false],
    ['no header for an argument', { region: 'us' }, {}, false],
    ['a header without its argument', {}, { region: 'us' }, false],
    ['null, without a header', { region: null, limit: null }, {}, true],
    ['null, with a header', { region: null }, { region: 'null' }, false],
    ['a whole number', { limit: 42 }, { limit: '42' }, true],
    ['the same number, written otherwise', { limit: 42 }, { limit: '42.0' }, true],
    ['another number', { limit: -7 }, { limit: '7' }, false],
    ['no number', { limit: 0 }, { limit: '' }, false],
    ['a hexadecimal number', { limit: 16 }, { limit: '0x10' }, false],
    ['true', { dry: true }, { 'dry-run': 'true' }, true],
    ['true in other letters', { dry: true }, { 'dry-run': 'True' }, false],
    ['an argument further in', { where: { zone: 'b' } }, { zone: 'b' }, true],
    ['an argument further in that is missing', { where: 'b' }, { zone: 'b' }, false],
    ['arguments that are none', 'text', {}, true],
    ['an argument that the schema refuses', { region: ['us'] }, {}, true],
  ])('with %s', (_, args, values, agree) => {
    const headers = Object.fromEntries(Object.entries(values).map(([name, value]) => [`mcp-param-${name}`, value]));
    expect(mirrorArguments(headers, paramHeadersOf(DECLARED), args)).toBe(agree);
  });

  test('agree with every call of a client that follows the page (property)', () => {
    const primitive = fc.oneof(fc.string({ unit: 'binary' }), fc.maxSafeInteger(), fc.boolean(), fc.constant(null));
    const name = fc.stringMatching(/^[\w!#$%&'*+.^`|~-]{1,12}$/);
    fc.assert(
      fc.property(fc.dictionary(name, primitive, { maxKeys: 5 }), (args) => {
        const properties = Object.fromEntries(
          Object.keys(args).map((key, n) => [key, { type: 'string', 'x-mcp-header': `P${n}` }]),
        );
        const headers = Object.fromEntries(
          Object.values(args).flatMap((value, n) =>
            value === null ? [] : [[`mcp-param-p${n}`, written(String(value))]],
          ),
        );
        expect(mirrorArguments(headers, paramHeadersOf(schema(properties)), args)).toBe(true);
      }),
    );
  });

  test('are read from any JSON without a throw (property)', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (properties, args) => {
        mirrorArguments({}, paramHeadersOf(schema(properties)), args);
      }),
    );
  });
});
