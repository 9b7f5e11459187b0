import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import fc from 'fast-check';
import { Refusal } from '../../src/errors.js';
import { bearerPrincipal, createIdentify, trustedProxyPrincipal } from '../../src/http/identity.js';
import type { HttpRequest, PrincipalFunction } from '../../src/options/options.js';
import { runs } from '../support/runs.js';

/** The thrown value in short: the reason of a Refusal, the message of another error. */
function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error instanceof Refusal ? error.reason : error;
  }
  throw new Error('nothing was thrown');
}

/** A request with what a middleware in front of the router left on it. */
function authorized(auth: unknown): HttpRequest {
  return { headers: {}, auth } as unknown as HttpRequest;
}

function auth(extra?: Record<string, unknown>, clientId = 'agent'): AuthInfo {
  return { token: 'secret', clientId, scopes: [], ...(extra && { extra }) };
}

function silent(principal?: PrincipalFunction, requirePrincipal = false) {
  return createIdentify({ principal, requirePrincipal }, () => undefined);
}

const servers: http.Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

/** Sends the header lines over TCP to a real server on 127.0.0.1; gives the request as Node made it, its reply still open. */
async function received(...headerLines: string[]): Promise<IncomingMessage> {
  const server = http.createServer().listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  client.write(['GET / HTTP/1.1', 'Host: localhost', ...headerLines, '', ''].join('\r\n'), 'latin1');
  const [req] = (await once(server, 'request')) as [IncomingMessage];
  return req;
}

/** A request that came from an address which this machine cannot send from. */
function cameFrom(remoteAddress: string | undefined, names = ['alice']): HttpRequest {
  return {
    headersDistinct: { 'x-preferred-username': names },
    socket: { remoteAddress },
  } as unknown as HttpRequest;
}

describe('the default principal, from req.auth', () => {
  test('is the issuer with the subject: the same for every token of one user, whatever client it was given to', () => {
    const identify = silent();
    const alice = identify(authorized(auth({ iss: 'https://idp.example', sub: 'alice' })));
    expect(alice).toBe('{"iss":"https://idp.example","sub":"alice"}');
    const refreshed = { ...auth({ sub: 'alice', iss: 'https://idp.example', jti: '2' }, 'other'), token: 'refreshed' };
    expect(identify(authorized(refreshed))).toBe(alice);
  });

  test('two parties never have one name: neither two pairs of issuer and subject, nor a pair and a clientId', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('a', 'b', '"', '\\', '","sub":"', '{"sub":"a"}', '{"clientId":"a"}', '\ud800', '\\ud800'),
    );
    const party = fc.oneof(
      fc.record({ iss: fc.option(text, { nil: undefined }), sub: text.filter((sub) => sub !== '') }),
      fc.record({ clientId: text.filter((clientId) => clientId !== '') }),
    );
    const name = (of: { iss?: string | undefined; sub?: string; clientId?: string }) =>
      silent()(authorized(auth({ iss: of.iss, sub: of.sub }, of.clientId ?? 'a')));
    fc.assert(
      fc.property(party, party, (one, other) => {
        const [first, second] = [Object.entries(one).sort(), Object.entries(other).sort()];
        const alike = JSON.stringify(first) === JSON.stringify(second);
        expect(name(one) === name(other)).toBe(alike);
      }),
      { numRuns: runs(500) },
    );
  });

  test('is undefined without req.auth', () => {
    expect(silent()(authorized(undefined))).toBeUndefined();
    expect(silent()(authorized(null))).toBeUndefined();
  });

  test.each([
    ['no extra', auth()],
    ['no sub', auth({ iss: 'https://idp.example' })],
    ['an empty sub', auth({ iss: 'https://idp.example', sub: '' })],
    ['a null sub', auth({ sub: null })],
  ])('is the clientId where there is %s, with one warning that its users are not told apart', (_, given) => {
    const warnings: string[] = [];
    const identify = createIdentify({ principal: undefined, requirePrincipal: false }, (text) => warnings.push(text));
    expect(identify(authorized(given))).toBe('{"clientId":"agent"}');
    expect(identify(authorized(given))).toBe('{"clientId":"agent"}');
    expect(warnings).toEqual([expect.stringContaining('not told apart')]);
  });

  test('each router warns once, and a principal with a sub causes no warning', () => {
    const warnings: string[] = [];
    for (const router of ['a', 'b']) {
      const identify = createIdentify({ principal: undefined, requirePrincipal: false }, () => warnings.push(router));
      identify(authorized(auth({ sub: 'alice' })));
      expect(warnings).not.toContain(router);
      identify(authorized(auth()));
    }
    expect(warnings).toEqual(['a', 'b']);
  });

  test.each([
    ['an empty clientId', auth({}, '')],
    ['the claims themselves, as express-jwt leaves them', { iss: 'https://idp.example', sub: 'alice' }],
  ])('is undefined with %s, with a warning that there is no principal', (_, given) => {
    const warnings: string[] = [];
    const identify = createIdentify({ principal: undefined, requirePrincipal: false }, (text) => warnings.push(text));
    expect(identify(authorized(given))).toBeUndefined();
    expect(identify(authorized(given))).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining('no principal')]);
  });

  test.each([
    ['extra.sub', auth({ sub: 42 })],
    ['extra.sub', auth({ sub: ['alice'] })],
    ['extra.iss', auth({ iss: 1, sub: 'alice' })],
    ['clientId', { ...auth(), clientId: 7 }],
  ])('is an error, not another principal, when %s is no string', (name, given) => {
    expect(String(thrownBy(() => silent()(authorized(given))))).toContain(`req.auth.${name} must be a string`);
  });
});

describe('requirePrincipal', () => {
  test('refuses a request without a principal with 401', () => {
    expect(thrownBy(() => silent(undefined, true)(authorized(undefined)))).toBe('unauthorized');
    expect(thrownBy(() => silent(() => undefined, true)(authorized(undefined)))).toBe('unauthorized');
    expect(thrownBy(() => silent(() => '', true)(authorized(undefined)))).toBe('unauthorized');
  });

  test('accepts a request with a principal', () => {
    expect(silent(undefined, true)(authorized(auth({ sub: 'alice' })))).toBe('{"sub":"alice"}');
    expect(silent(() => 'bob', true)(authorized(undefined))).toBe('bob');
  });
});

describe('a principal function of the user', () => {
  test('sees the request and names the principal as it likes', () => {
    const req = authorized(auth({ sub: 'alice' }));
    const seen: unknown[] = [];
    const principal = (given: HttpRequest) => {
      seen.push(given);
      return 'bob';
    };
    expect(silent(principal)(req)).toBe('bob');
    expect(seen).toEqual([req]);
  });

  test('returns undefined or an empty string for no principal', () => {
    expect(silent(() => undefined)(authorized(auth({ sub: 'alice' })))).toBeUndefined();
    expect(silent(() => '')(authorized(auth({ sub: 'alice' })))).toBeUndefined();
  });

  test('may throw, and the error is passed on unchanged', () => {
    const broken = new Error('the directory is down');
    const principal = () => {
      throw broken;
    };
    expect(thrownBy(() => silent(principal)(authorized(undefined)))).toBe(broken);
  });

  test.each([
    [null, 'null'],
    [42, 'a value of type number'],
    [{ id: 'alice' }, 'a value of type object'],
    [true, 'a value of type boolean'],
  ])('is an error when it returns %j', (value, shown) => {
    const error = thrownBy(() => silent((() => value) as unknown as PrincipalFunction)(authorized(undefined)));
    expect(String(error)).toBe(
      `Error: mcpRouter: option principal must return a string or undefined; it returned ${shown}`,
    );
  });

  test('is an error when it returns a promise, and the promise may reject without ending the process', async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', onUnhandled);
    const principal = (async () => {
      throw new Error('later');
    }) as unknown as PrincipalFunction;
    expect(String(thrownBy(() => silent(principal)(authorized(undefined))))).toContain('it returned a promise');
    // Node tells of unhandled rejections once the microtasks are done.
    await new Promise(setImmediate);
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
  });
});

describe('trustedProxyPrincipal', () => {
  test('believes the header of a trusted proxy, whatever its case', async () => {
    const req = await received('X-Preferred-Username: alice');
    expect(trustedProxyPrincipal({ trustedProxies: ['loopback'] })(req)).toBe('alice');
    expect(trustedProxyPrincipal({ trustedProxies: ['127.0.0.1'], header: 'X-Preferred-USERNAME' })(req)).toBe('alice');
  });

  test('reads the header of the option', async () => {
    const principal = trustedProxyPrincipal({ trustedProxies: ['loopback'], header: 'X-Auth-User' });
    expect(principal(await received('X-Preferred-Username: alice', 'x-auth-user: bob'))).toBe('bob');
  });

  test.each([
    ['missing', []],
    ['empty', ['X-Preferred-Username:']],
    ['blank', ['X-Preferred-Username:   ']],
    ['sent twice', ['X-Preferred-Username: alice', 'x-preferred-username: bob']],
    ['sent twice, alike', ['X-Preferred-Username: alice', 'X-Preferred-Username: alice']],
    ['sent twice, once empty', ['X-Preferred-Username:', 'X-Preferred-Username: alice']],
    ['spelt with underscores', ['X_Preferred_Username: alice']],
  ])('refuses, with 401, where the header is %s', async (_, lines) => {
    const req = await received(...lines);
    expect(thrownBy(() => trustedProxyPrincipal({ trustedProxies: ['loopback'] })(req))).toBe('unauthorized');
  });

  test('refuses a header from elsewhere, whatever X-Forwarded-For says: only the address of the socket counts', async () => {
    const req = await received('X-Preferred-Username: alice', 'X-Forwarded-For: 10.0.0.1', 'Forwarded: for=10.0.0.1');
    Object.defineProperty(req, 'ip', { value: '10.0.0.1' });
    expect(thrownBy(() => trustedProxyPrincipal({ trustedProxies: ['10.0.0.1'] })(req))).toBe('unauthorized');
  });

  test('refuses a request after its proxy has disconnected, as Node forgets the address of a destroyed socket', async () => {
    const req = await received('X-Preferred-Username: alice');
    req.socket.destroy();
    await once(req.socket, 'close');
    expect(thrownBy(() => trustedProxyPrincipal({ trustedProxies: ['loopback'] })(req))).toBe('unauthorized');
  });

  test('makes 401 of it in a router, even without requirePrincipal', () => {
    const identify = silent(trustedProxyPrincipal({ trustedProxies: ['loopback'] }));
    expect(thrownBy(() => identify(cameFrom('203.0.113.7')))).toBe('unauthorized');
  });

  test.each([
    ['loopback', '127.0.0.1', true],
    ['loopback', '127.255.0.1', true],
    ['loopback', '::1', true],
    ['loopback', '::ffff:127.0.0.1', true],
    ['loopback', '128.0.0.1', false],
    ['loopback', '::2', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '::ffff:10.1.2.3', true],
    ['::ffff:10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.30', false],
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.0/8', '::ffff:11.0.0.1', false],
    ['10.0.0.0/8', 'a00::1', false],
    ['192.0.2.128/25', '192.0.2.127', false],
    ['192.0.2.128/25', '192.0.2.128', true],
    ['0.0.0.0/0', '203.0.113.7', true],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['2001:DB8::7', '2001:db8:0:0::7', true],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['fe80::1', 'fe80::1%no-such-interface', true],
    ['fe80::1', 'fe80::2%eth0', false],
    ['loopback', undefined, false],
    ['loopback', '', false],
    ['loopback', 'localhost', false],
  ])('trustedProxies [%s] and address %s: trusted is %s', (entry, address, trusted) => {
    const principal = trustedProxyPrincipal({ trustedProxies: ['198.51.100.1', entry] });
    if (trusted) expect(principal(cameFrom(address))).toBe('alice');
    else expect(thrownBy(() => principal(cameFrom(address)))).toBe('unauthorized');
  });

  test('any IPv4 range holds what its bits say, in either spelling', () => {
    const number = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), fc.nat(32), fc.boolean(), (network, address, prefix, mapped) => {
        const size = 2 ** (32 - prefix);
        const within = Math.floor(number(network) / size) === Math.floor(number(address) / size);
        const principal = trustedProxyPrincipal({ trustedProxies: [`${network}/${prefix}`] });
        const ask = () => principal(cameFrom(mapped ? `::ffff:${address}` : address));
        if (within) expect(ask()).toBe('alice');
        else expect(thrownBy(ask)).toBe('unauthorized');
      }),
      { numRuns: runs(200) },
    );
  });

  test.each([
    'localhost',
    'proxy.internal',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/x',
    '2001:db8::/129',
    '2001:db8::g',
    '[::1]',
    '10.0.0.1:80',
    'Loopback',
    '',
  ])('throws at construction and names the entry that is no address: %j', (entry) => {
    const construct = () => trustedProxyPrincipal({ trustedProxies: ['127.0.0.1', entry, '10.0.0.1'] });
    expect(construct).toThrow(TypeError);
    expect(construct).toThrow(`got ${JSON.stringify(entry)}`);
  });

  test.each([[[]], ['loopback'], [undefined]])(
    'throws at construction for trustedProxies %j: none would be trusted',
    (given) => {
      const construct = () => trustedProxyPrincipal({ trustedProxies: given as unknown as string[] });
      expect(construct).toThrow(TypeError);
      expect(construct).toThrow('trustedProxies');
    },
  );

  test.each(['', 'x user', 'x-user:', 'x-\u00fcser', 7])('throws at construction for the header %j', (header) => {
    const construct = () => trustedProxyPrincipal({ trustedProxies: ['loopback'], header: header as string });
    expect(construct).toThrow(TypeError);
    expect(construct).toThrow(`got ${JSON.stringify(header)}`);
  });

  test.each(['constructor', '__proto__'])('a header named %s is read like any other', async (header) => {
    const principal = trustedProxyPrincipal({ trustedProxies: ['loopback'], header });
    expect(principal(await received(`${header}: alice`))).toBe('alice');
    const without = await received();
    expect(thrownBy(() => principal(without))).toBe('unauthorized');
  });
});

describe('bearerPrincipal', () => {
  const key = 'k'.repeat(32);
  const withAuthorization = (authorization?: string) => ({ headers: { authorization } }) as unknown as HttpRequest;
  const named = (authorization?: string, secret: string | Uint8Array = key) =>
    bearerPrincipal({ key: secret })(withAuthorization(authorization));

  test('is the HMAC-SHA256 of the token, in base64url', async () => {
    const expected = createHmac('sha256', key).update('abc.def-_~+/==').digest('base64url');
    expect(bearerPrincipal({ key })(await received('Authorization: Bearer abc.def-_~+/=='))).toBe(expected);
  });

  test('holds across restarts, and differs by token and by key', () => {
    expect(named('Bearer a')).toBe(named('Bearer a'));
    expect(named('Bearer a')).toBe(named('Bearer a', Buffer.from(key)));
    expect(named('Bearer a')).not.toBe(named('Bearer b'));
    expect(named('Bearer a')).not.toBe(named('Bearer A'));
    expect(named('Bearer a')).not.toBe(named('Bearer a', 'l'.repeat(32)));
  });

  test.each(['bearer a', 'BEARER a', 'BeArEr   a'])(
    'takes the scheme in any case (RFC 9110, 11.1): %s',
    (authorization) => {
      expect(named(authorization)).toBe(named('Bearer a'));
    },
  );

  test.each([undefined, '', 'Bearer', 'Bearer ', 'Basic YTpi', 'Bearera', 'XBearer a', 'Bearer a b', 'a'])(
    'is undefined for Authorization %j',
    (authorization) => {
      expect(named(authorization)).toBeUndefined();
    },
  );

  test('never throws, and never shows the token', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(named(`Bearer ${text}`) ?? '').toMatch(/^([\w-]{43})?$/);
      }),
    );
  });

  test('keeps a copy of the key, whatever happens to the buffer', () => {
    const buffer = Buffer.from(key);
    const principal = bearerPrincipal({ key: buffer });
    buffer.fill(0);
    expect(principal(withAuthorization('Bearer a'))).toBe(named('Bearer a'));
  });

  test.each([
    ['31 characters', 's'.repeat(31)],
    ['31 bytes', Buffer.alloc(31)],
    ['nothing', undefined],
    ['a number', 2 ** 53],
    ['an array', new Array(64).fill(1)],
  ])('throws at construction for a key of %s, without showing it', (_, bad) => {
    const error = thrownBy(() => bearerPrincipal({ key: bad as string }));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toBe('TypeError: bearerPrincipal: key must be a string or a Buffer of at least 32 bytes');
  });

  test('counts a string in bytes of UTF-8', () => {
    expect(named('Bearer a', '\u00fc'.repeat(16))).toHaveLength(43);
  });
});
