import fc from 'fast-check';
import { declaredVersion, envelopeOf } from '../../../src/http/per-request/envelope.js';

const VERSION = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
const INFO = 'io.modelcontextprotocol/clientInfo';
const LEVEL = 'io.modelcontextprotocol/logLevel';

const request = (_meta: unknown) => ({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta } });
const complete = { [VERSION]: '2026-07-28', [CAPABILITIES]: {} };

describe('the envelope of a request (MCP 2026-07-28, basic/index, "Per-request protocol fields")', () => {
  test('has the version, the capabilities, and the name and log level where the client gives them', () => {
    expect(envelopeOf(request(complete))).toEqual({ version: '2026-07-28', clientCapabilities: {} });
    const clientInfo = { name: 'test', version: '1', title: 'Test' };
    const full = { ...complete, [CAPABILITIES]: { roots: {} }, [INFO]: clientInfo, [LEVEL]: 'notice' };
    expect(envelopeOf(request(full))).toEqual({
      version: '2026-07-28',
      clientCapabilities: { roots: {} },
      clientInfo,
      logLevel: 'notice',
    });
  });

  test.each<[string, Record<string, unknown>]>([
    ['the version', { [VERSION]: undefined }],
    ['the capabilities', { [CAPABILITIES]: undefined }],
    ['a version that is text', { [VERSION]: 20260728 }],
    ['capabilities that are an object', { [CAPABILITIES]: [] }],
    ['a name and a version of the client', { [INFO]: { name: 'test' } }],
    ['a level of RFC 5424', { [LEVEL]: 'verbose' }],
    ['a level that is text', { [LEVEL]: ['debug'] }],
  ])('is none without %s', (_, change) => {
    expect(envelopeOf(request({ ...complete, ...change }))).toBeUndefined();
  });

  test('is read from any JSON without a throw, and declares a version wherever `_meta` has the key (property)', () => {
    const meta = fc.dictionary(fc.constantFrom(VERSION, CAPABILITIES, INFO, LEVEL, '__proto__'), fc.jsonValue());
    const message = fc.oneof(
      fc.jsonValue(),
      meta.map(request),
      fc.jsonValue().map(request),
      fc.jsonValue().map((params) => ({ params })),
    );
    fc.assert(
      fc.property(message, (value) => {
        const envelope = envelopeOf(value);
        const declared = declaredVersion(value);
        expect(envelope === undefined || envelope.version === declared).toBe(true);
      }),
    );
    expect(declaredVersion(request({ [VERSION]: 7 }))).toBe(7);
    expect(declaredVersion(request({}))).toBeUndefined();
  });
});
