import { createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import { authOf, seal, unseal } from '../../src/cluster/port/envelope.js';
import type { RequestHeaders } from '../../src/cluster/port/node-port.js';
import { runs } from '../support/runs.js';

const KEY = createSecretKey(Buffer.from('of the nodes of this test, and of nobody else'));
const TO = { to: 'node', challenge: 'challenge', kind: 'request' };

/** As Node gives them: names in lower case, a value or, for some, more than one. */
const headers = fc.dictionary(
  fc.stringMatching(/^[a-z][a-z-]{0,12}$/),
  fc.oneof(fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) })),
  { noNullPrototype: true },
);
const text = fc.string({ unit: 'binary', maxLength: 40 });
const request: fc.Arbitrary<RequestHeaders> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'DELETE'),
  path: text,
  headers,
  protocol: fc.constantFrom('http', 'https'),
  principal: fc.option(text, { nil: undefined }),
  auth: fc.constant(undefined),
  sessionId: fc.option(text, { nil: undefined }),
});
/** JSON as the router sends it on: any text at all within it, but well-formed itself. */
const body = fc.oneof(
  fc.constant(''),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('\n', '\r\n\n', '{"a":\n"b"}\n', '\u2028\u2029\u0000', '"\\ud800"'),
  fc.json(),
);

/** As it goes over the wire, where `undefined` is nothing. */
const wire = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('a sealed message (docs/scaling.md: HMAC over method, path, headers, identity, body and nonce)', () => {
  test('comes through as it was: the request, and a body of any text with its line breaks', () => {
    fc.assert(
      fc.property(request, body, (given, text) => {
        const { payload, signature } = seal(KEY, { ...TO, headers: given }, text);
        const opened = unseal(KEY, payload, signature)!;
        expect(opened.body.toString()).toBe(text);
        expect(opened.envelope).toEqual({ ...TO, nonce: expect.stringMatching(/^[\w-]{22}$/), headers: wire(given) });
      }),
      { numRuns: runs(100) },
    );
  });

  test('is refused with any one byte of it changed, added or taken away', () => {
    fc.assert(
      fc.property(request, body, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, text, at, change) => {
        const { payload, signature } = seal(KEY, { ...TO, headers: given }, text);
        const place = at % payload.length;
        const changed = Buffer.from(payload);
        changed[place]! ^= change;
        const without = Buffer.concat([payload.subarray(0, place), payload.subarray(place + 1)]);
        const more = Buffer.concat([payload.subarray(0, place), Buffer.of(change), payload.subarray(place)]);
        for (const forged of [changed, without, more]) expect(unseal(KEY, forged, signature)).toBeUndefined();
        expect(unseal(KEY, payload, signature)).toBeDefined();
      }),
      { numRuns: runs(100) },
    );
  });

  test('is refused with any other signature: of other bytes, of another key, cut, padded, in another writing, or none', () => {
    fc.assert(
      fc.property(request, body, fc.nat(), fc.nat(63), (given, text, at, digit) => {
        const { payload, signature } = seal(KEY, { ...TO, headers: given }, text);
        const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
        const place = at % signature.length;
        const changed = signature.slice(0, place) + digits[digit]! + signature.slice(place + 1);
        fc.pre(changed !== signature);
        const other = seal(createSecretKey(Buffer.from('another')), { ...TO, headers: given }, text).signature;
        const padded = [`${signature}=`, ` ${signature}`, `${signature}A`, signature.slice(1), signature.slice(0, -1)];
        const hex = Buffer.from(signature, 'base64url').toString('hex');
        for (const forged of [changed, other, ...padded, hex, '', undefined, [signature], 7]) {
          expect(unseal(KEY, payload, forged)).toBeUndefined();
        }
      }),
      { numRuns: runs(60) },
    );
  });

  test('is another each time, with the same request for the same node', () => {
    const sealed = Array.from({ length: 100 }, () => seal(KEY, { ...TO, kind: 'list', headers: {} }));
    expect(new Set(sealed.map(({ signature }) => signature)).size).toBe(100);
  });
});

describe('AuthInfo on its way to another node', () => {
  const auth: fc.Arbitrary<AuthInfo> = fc.record(
    {
      token: fc.string(),
      clientId: fc.string(),
      scopes: fc.array(fc.string()),
      expiresAt: fc.integer(),
      resource: fc.webUrl({ withQueryParameters: true }).map((url) => new URL(url)),
      extra: fc.dictionary(fc.string(), fc.jsonValue() as fc.Arbitrary<unknown>, { noNullPrototype: true }),
    },
    { requiredKeys: ['token', 'clientId', 'scopes'] },
  );

  test('is what the SDK’s own middleware left on the request, its resource a URL again', () => {
    fc.assert(
      fc.property(auth, (given) => {
        const arrived = authOf(wire(given) as AuthInfo)!;
        expect(wire(arrived)).toEqual(wire(given));
        expect(arrived.resource?.href).toBe(given.resource?.href);
        if (given.resource !== undefined) expect(arrived.resource).toBeInstanceOf(URL);
      }),
    );
    expect(authOf(undefined)).toBeUndefined();
  });
});
