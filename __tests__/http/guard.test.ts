import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import express from 'express';
import fc from 'fast-check';
import { Refusal } from '../../src/errors.js';
import { createGuard, createHostCheck } from '../../src/http/guard.js';
import type { ResolvedOptions } from '../../src/options/options.js';

type Guard = ReturnType<typeof createGuard>;
type GuardOptions = Pick<ResolvedOptions, 'allowedHosts' | 'allowedOrigins'>;

const OPEN: GuardOptions = { allowedHosts: undefined, allowedOrigins: [] };
const PUBLIC_ADDRESS = '203.0.113.7';

interface Facts {
  host?: string | undefined;
  origin?: string | undefined;
  localAddress?: string | undefined;
  destroyed?: boolean;
}

/** A request as the guard sees it: addresses that this machine does not have cannot be had from a real one. */
function request({ host, origin, localAddress = '127.0.0.1', destroyed = false }: Facts): IncomingMessage {
  return { headers: { host, origin }, socket: { localAddress, destroyed } } as unknown as IncomingMessage;
}

function guardOf(
  { allowedHosts, allowedOrigins }: GuardOptions,
  onRefused: (hint: string) => void = () => undefined,
  onExposed: (warning: string) => void = () => undefined,
): Guard {
  return createGuard(allowedOrigins, createHostCheck(allowedHosts, onRefused, onExposed), onRefused);
}

/** 'passes', or the reason of the refusal; anything else that is thrown fails the test. */
function verdict(guard: Guard, req: IncomingMessage): string {
  try {
    guard(req);
    return 'passes';
  } catch (error) {
    if (error instanceof Refusal) return error.reason;
    throw error;
  }
}

function silentGuard(options: Partial<GuardOptions> = {}): Guard {
  return guardOf({ ...OPEN, ...options });
}

function judge(options: Partial<GuardOptions>, facts: Facts): string {
  return verdict(silentGuard(options), request(facts));
}

function hintFor(options: Partial<GuardOptions>, facts: Facts): string {
  const hints: string[] = [];
  verdict(
    guardOf({ ...OPEN, ...options }, (hint) => hints.push(hint)),
    request(facts),
  );
  expect(hints).toHaveLength(1);
  return hints[0]!;
}

const servers: http.Server[] = [];

async function listen(server: http.Server): Promise<number> {
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What a server answers to a request with these headers; `fetch` sends a Host of its own. */
async function textOf(port: number, headers: http.OutgoingHttpHeaders): Promise<string> {
  const [res] = (await once(http.get({ port, host: '127.0.0.1', headers, agent: false }), 'response')) as [
    IncomingMessage,
  ];
  return (await res.toArray()).join('');
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

const label = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const hostName = fc.array(label, { minLength: 2, maxLength: 3 }).map((labels) => labels.join('.'));
const loopbackName = fc.oneof(
  fc.constantFrom('localhost', '[::1]'),
  fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255)).map((rest) => `127.${rest.join('.')}`),
);
const port = fc.integer({ min: 1, max: 65_535 });
const portSuffix = fc.option(port).map((value) => (value === null ? '' : `:${value}`));

describe('Host on a loopback address (DNS rebinding: spec 2025-11-25, basic/transports, "Security Warning")', () => {
  test.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])(
    '%s refuses the name of a rebound page',
    (address) => {
      expect(judge({}, { host: 'evil.example:3000', localAddress: address })).toBe('hostNotAllowed');
      expect(judge({}, { host: 'localhost:3000', localAddress: address })).toBe('passes');
    },
  );

  test.each(['203.0.113.7', '12.7.0.1', '2001:db8::1', '::ffff:203.0.113.7', '::127.0.0.1'])(
    '%s is no loopback address: any Host passes, even none',
    (address) => {
      expect(judge({}, { host: 'mcp.example.com', localAddress: address })).toBe('passes');
      expect(judge({}, { localAddress: address })).toBe('passes');
    },
  );

  test('any loopback name passes, with any port, in any case', () => {
    fc.assert(
      fc.property(fc.mixedCase(loopbackName), portSuffix, (name, suffix) => {
        expect(judge({}, { host: name + suffix })).toBe('passes');
      }),
    );
  });

  test('no other name passes', () => {
    fc.assert(
      fc.property(hostName, portSuffix, (name, suffix) => {
        expect(judge({}, { host: name + suffix })).toBe('hostNotAllowed');
      }),
    );
  });

  test.each([
    '127.evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.256',
    '127.1',
    'localhost.evil.example',
    'evil.example:localhost',
    'localhost@evil.example',
    'evil.example#localhost',
    'localhost:3000:3000',
    'localhost:123456',
    'localhost:-1',
    'http://localhost',
    'localhost, evil.example',
    'localhost ',
    '::1',
    '[::1',
    '[::1].evil.example',
    '[::2]',
    '\u017flocalhost',
    '',
    ':3000',
  ])('%j is not a loopback name', (host) => {
    expect(judge({}, { host })).toBe('hostNotAllowed');
  });

  test('a request without Host is refused', () => {
    expect(judge({}, { host: undefined })).toBe('hostNotAllowed');
  });

  test('a request without Host is refused by a real server', async () => {
    const guard = silentGuard();
    const server = http.createServer((req, res) => res.end(verdict(guard, req)));
    const port = await listen(server);
    expect(await textOf(port, {})).toBe('passes');
    expect(await textOf(port, { Host: `evil.example:${port}` })).toBe('hostNotAllowed');
  });

  test('a client that hangs up at once does not bypass the check, although Node forgets the address of a destroyed socket', async () => {
    const server = http.createServer();
    const client = net.connect(await listen(server), '127.0.0.1');
    client.write('GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n');
    const [req] = (await once(server, 'request')) as [IncomingMessage];
    client.destroy();
    await once(req.socket, 'close');

    expect(req.socket.localAddress).toBeUndefined();
    expect(verdict(silentGuard(), req)).toBe('hostNotAllowed');
  });

  test('a Unix domain socket has no address, and no page can be rebound to it: any Host passes', () => {
    const req = request({ host: 'mcp.example.com' });
    Object.assign(req.socket, { localAddress: undefined });
    expect(verdict(silentGuard(), req)).toBe('passes');
  });
});

describe('allowedHosts', () => {
  const allowedHosts = ['mcp.example.com', 'Other.Example:8080', '[2001:DB8::1]'];

  test.each([
    ['mcp.example.com', 'passes'],
    ['mcp.example.com:', 'passes'],
    ['mcp.example.com:443', 'passes'],
    ['MCP.Example.Com:3000', 'passes'],
    ['other.example:8080', 'passes'],
    ['[2001:db8::1]:3000', 'passes'],
    ['other.example', 'hostNotAllowed'],
    ['other.example:8081', 'hostNotAllowed'],
    ['other.example:80800', 'hostNotAllowed'],
    ['other.example:8080:8080', 'hostNotAllowed'],
    ['sub.mcp.example.com', 'hostNotAllowed'],
    ['mcp.example.com.evil.example', 'hostNotAllowed'],
    ['evil.example', 'hostNotAllowed'],
  ])('on any address, %s: %s (an entry without port is for any port, one with port for that one)', (host, expected) => {
    expect(judge({ allowedHosts }, { host, localAddress: PUBLIC_ADDRESS })).toBe(expected);
    expect(judge({ allowedHosts }, { host, localAddress: '127.0.0.1' })).toBe(expected);
  });

  test('loopback names still pass on a loopback address, which a rebound page never sends, and nowhere else', () => {
    expect(judge({ allowedHosts }, { host: 'localhost:3000', localAddress: '::1' })).toBe('passes');
    expect(judge({ allowedHosts }, { host: 'localhost:3000', localAddress: PUBLIC_ADDRESS })).toBe('hostNotAllowed');
  });

  test('one guard gives both verdicts in either order', () => {
    const guard = silentGuard({ allowedHosts });
    const ask = (localAddress: string) => verdict(guard, request({ host: 'localhost', localAddress }));
    expect([ask('127.0.0.1'), ask(PUBLIC_ADDRESS), ask('127.0.0.1'), ask(PUBLIC_ADDRESS)]).toEqual([
      'passes',
      'hostNotAllowed',
      'passes',
      'hostNotAllowed',
    ]);
  });

  test('a request without Host is refused on any address', () => {
    expect(judge({ allowedHosts }, { localAddress: PUBLIC_ADDRESS })).toBe('hostNotAllowed');
  });

  test('an empty list allows none but loopback names on a loopback address', () => {
    expect(judge({ allowedHosts: [] }, { host: 'mcp.example.com', localAddress: PUBLIC_ADDRESS })).toBe(
      'hostNotAllowed',
    );
    expect(judge({ allowedHosts: [] }, { host: 'localhost' })).toBe('passes');
  });

  test('any entry passes in any case; with port for that port only', () => {
    fc.assert(
      fc.property(hostName, fc.mixedCase(hostName), fc.option(port), port, (other, name, entryPort, hostPort) => {
        fc.pre(other !== name.toLowerCase());
        const guard = silentGuard({ allowedHosts: [entryPort === null ? name : `${name}:${entryPort}`] });
        const ask = (host: string) => verdict(guard, request({ host, localAddress: PUBLIC_ADDRESS }));
        const fits = entryPort === null || entryPort === hostPort;
        expect(ask(`${name.toLowerCase()}:${hostPort}`)).toBe(fits ? 'passes' : 'hostNotAllowed');
        expect(ask(name)).toBe(entryPort === null ? 'passes' : 'hostNotAllowed');
        expect(ask(`${other}:${hostPort}`)).toBe('hostNotAllowed');
      }),
    );
  });

  test.each(['https://mcp.example.com', 'mcp.example.com/', '*.example.com', '*', '::1', 'a b', 'bücher.example', ''])(
    'an entry that no Host could equal, %j, throws at construction and is named',
    (entry) => {
      const construct = () => silentGuard({ allowedHosts: ['ok.example', entry] });
      expect(construct).toThrow(TypeError);
      expect(construct).toThrow(JSON.stringify(entry));
      expect(construct).toThrow('allowedHosts');
    },
  );
});

describe('behind a proxy (docs/identity.md, "Hosts and origins")', () => {
  const own = 'http://localhost';
  const forwarded = 'https://mcp.example.com';

  test.each<[host: string, forwardedHost: string, origin: string | undefined, expected: string]>([
    ['localhost', 'mcp.example.com', undefined, 'passes'],
    ['mcp.example.com', 'localhost', undefined, 'hostNotAllowed'],
    ['localhost', 'mcp.example.com', own, 'passes'],
    ['localhost', 'mcp.example.com', forwarded, 'originNotAllowed'],
  ])(
    'Host %s counts, and X-Forwarded-Host %s does not, though Express trusts the proxy: Origin %s, %s',
    async (host, forwardedHost, origin, expected) => {
      const guard = silentGuard();
      const app = express().set('trust proxy', true);
      app.use((req, res) => res.end(verdict(guard, req)));
      const port = await listen(http.createServer(app));
      const headers = {
        Host: host,
        'X-Forwarded-Host': forwardedHost,
        ...(origin !== undefined && { Origin: origin }),
      };
      expect(await textOf(port, headers)).toBe(expected);
    },
  );
});

describe('the cache of Host verdicts', () => {
  test('never changes a verdict, however many hosts clients send', () => {
    const allowedHosts = ['mcp.example.com:1'];
    const guard = silentGuard({ allowedHosts });
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            host: fc.oneof(
              fc.nat(300).map((n) => `localhost:${n}`),
              fc.nat(300).map((n) => `h${n}.example`),
              fc.constantFrom('mcp.example.com:1', 'mcp.example.com', 'constructor', '__proto__'),
            ),
            localAddress: fc.constantFrom('127.0.0.1', PUBLIC_ADDRESS),
          }),
          { minLength: 200, maxLength: 400 },
        ),
        (sequence) => {
          for (const facts of sequence) {
            const loopback = facts.localAddress === '127.0.0.1' && facts.host.startsWith('localhost:');
            const expected = loopback || facts.host === 'mcp.example.com:1' ? 'passes' : 'hostNotAllowed';
            expect(verdict(guard, request(facts))).toBe(expected);
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('Origin (spec 2025-11-25, basic/transports: "Servers MUST validate the Origin header", 403)', () => {
  const from = (origin: string | undefined, host?: string, options: Partial<GuardOptions> = {}) =>
    judge(options, { origin, host, localAddress: PUBLIC_ADDRESS });

  test.each([
    ['http://mcp.example.com', 'mcp.example.com'],
    ['https://mcp.example.com', 'mcp.example.com'],
    ['https://mcp.example.com', 'mcp.example.com:443'],
    ['https://mcp.example.com:443', 'mcp.example.com'],
    ['http://mcp.example.com', 'mcp.example.com:80'],
    ['http://mcp.example.com:3000', 'MCP.example.com:3000'],
    ['HTTP://MCP.example.com:3000', 'mcp.example.com:3000'],
    ['http://[2001:db8::1]:3000', '[2001:DB8::1]:3000'],
  ])('%s is the own one of Host %s: the scheme may differ, as TLS may end at a proxy', (origin, host) => {
    expect(from(origin, host)).toBe('passes');
  });

  test.each([
    ['http://evil.example', 'mcp.example.com'],
    ['http://mcp.example.com:3000', 'mcp.example.com'],
    ['http://mcp.example.com', 'mcp.example.com:3000'],
    ['http://mcp.example.com', 'mcp.example.com:443'],
    ['https://mcp.example.com', 'mcp.example.com:80'],
    ['http://mcp.example.com:3000', 'mcp.example.com:3001'],
    ['http://mcp.example.com.evil.example', 'mcp.example.com'],
    ['http://mcp.example.com@evil.example', 'mcp.example.com'],
    ['http://mcp.example.com/', 'mcp.example.com'],
    ['http://mcp.example.com, http://mcp.example.com', 'mcp.example.com'],
    ['chrome-extension://mcp.example.com', 'mcp.example.com'],
    ['mcp.example.com', 'mcp.example.com'],
    ['//mcp.example.com', 'mcp.example.com'],
    ['null', 'mcp.example.com'],
    ['null', 'null'],
    ['', 'mcp.example.com'],
    ['http://', ''],
    ['http://mcp.example.com', ''],
    ['http://mcp.example.com', undefined],
  ])('%j is another one than that of Host %j', (origin, host) => {
    expect(from(origin, host)).toBe('originNotAllowed');
  });

  test('no Origin: not a browser page, nothing to check', () => {
    expect(from(undefined, 'mcp.example.com')).toBe('passes');
  });

  test('Host comes first: a rebound page is same-origin', () => {
    expect(judge({}, { host: 'evil.example:3000', origin: 'http://evil.example:3000' })).toBe('hostNotAllowed');
    expect(judge({}, { host: 'localhost:3000', origin: 'http://localhost:3000' })).toBe('passes');
    expect(judge({}, { host: 'localhost:3000', origin: 'http://evil.example' })).toBe('originNotAllowed');
    expect(judge({}, { host: 'localhost:3000', origin: 'http://localhost:3001' })).toBe('originNotAllowed');
  });

  test.each([
    ['https://app.example', 'https://app.example', 'passes'],
    ['https://app.example:443', 'https://app.example', 'passes'],
    ['HTTPS://App.Example', 'https://app.example', 'passes'],
    ['https://app.example', 'HTTPS://App.Example:443', 'passes'],
    ['https://app.example', 'http://app.example', 'originNotAllowed'],
    ['https://app.example', 'https://app.example:8443', 'originNotAllowed'],
    ['https://app.example:8443', 'https://app.example:8443', 'passes'],
    ['vscode-webview://1a2b3c', 'vscode-webview://1a2b3c', 'passes'],
    ['null', 'null', 'passes'],
  ])('allowedOrigins: [%j] and Origin %j: %s', (entry, origin, expected) => {
    expect(from(origin, 'mcp.example.com', { allowedOrigins: [entry] })).toBe(expected);
    expect(from(origin, undefined, { allowedOrigins: [entry] })).toBe(expected);
  });

  test('an Origin passes exactly if WHATWG URL gives it and the endpoint the same host under the scheme of the page', () => {
    const url = fc
      .tuple(
        fc.constantFrom('http', 'https'),
        fc.constantFrom('a.example', 'b.example', 'localhost', '127.0.0.1', '[::1]'),
        fc.constantFrom('', ':80', ':443', ':3000', ':30000'),
      )
      .map(([scheme, name, suffix]) => new URL(`${scheme}://${name}${suffix}/mcp`));
    fc.assert(
      fc.property(url, url, (endpoint, page) => {
        expect(from(endpoint.origin, endpoint.host)).toBe('passes');
        const same = new URL(`${page.protocol}//${endpoint.host}`).host === page.host;
        expect(from(page.origin, endpoint.host)).toBe(same ? 'passes' : 'originNotAllowed');
      }),
      { numRuns: 500 },
    );
  });
});

describe('bad input', () => {
  const piece = fc.oneof(
    fc.constantFrom('http://', 'https://', 'localhost', '127.0.0.1', '[::1]', '[', ']', ':', ':80', ',', '@', 'null'),
    fc.string({ unit: 'binary', maxLength: 5 }),
  );
  const header = fc.option(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
      fc.constantFrom('127.'.repeat(4_000), '['.repeat(16_000), ':'.repeat(16_000), `http://${'a.'.repeat(8_000)}`),
    ),
    { nil: undefined },
  );

  test('no bytes in Host and Origin make the guard throw anything but a Refusal, and each refusal has one hint', () => {
    fc.assert(
      fc.property(header, header, fc.constantFrom('127.0.0.1', PUBLIC_ADDRESS), (host, origin, localAddress) => {
        const hints: string[] = [];
        const guard = guardOf(
          { allowedHosts: ['mcp.example.com'], allowedOrigins: ['https://app.example', 'null'] },
          (hint) => hints.push(hint),
        );
        const result = verdict(guard, request({ host, origin, localAddress }));
        expect(hints).toHaveLength(result === 'passes' ? 0 : 1);
        expect(['passes', 'hostNotAllowed', 'originNotAllowed']).toContain(result);
      }),
      { numRuns: 1_000 },
    );
  });

  test('hints quote what the client sent, cut short', () => {
    const hint = hintFor({}, { host: `evil\n${'x'.repeat(10_000)}` });
    expect(hint).toContain('"evil\\nxxx');
    expect(hint.length).toBeLessThan(500);
  });
});

describe('the hint for the log says what to do', () => {
  test('a reverse proxy on the same machine: its Host into allowedHosts', () => {
    const hint = hintFor({}, { host: 'mcp.example.com:8443' });
    expect(hint).toContain('"mcp.example.com:8443"');
    expect(hint).toContain('reverse proxy');
    expect(hint).toContain('allowedHosts: ["mcp.example.com"]');
  });

  test('a Host that is not among allowedHosts', () => {
    const hint = hintFor({ allowedHosts: ['a.example'] }, { host: 'b.example:1', localAddress: PUBLIC_ADDRESS });
    expect(hint).toMatch(/not in allowedHosts.*add "b\.example"/);
  });

  test('no Host, and one that is none', () => {
    expect(hintFor({}, {})).toContain('without Host');
    expect(hintFor({}, { host: 'a b' })).toContain('"a b": it is not a host name');
  });

  test('an Origin: the endpoint’s own, and allowedOrigins', () => {
    const facts = { origin: 'https://app.example', localAddress: PUBLIC_ADDRESS };
    expect(hintFor({}, { ...facts, host: 'a.example' })).toMatch(
      /"https:\/\/app\.example".*"a\.example".*allowedOrigins/,
    );
    expect(hintFor({}, facts)).toContain('for want of a Host');
  });
});

describe('beyond loopback without allowedHosts (docs/identity.md, "Behind a container or on a private network")', () => {
  const warnings = (options: Partial<GuardOptions>, ...facts: Facts[]): string[] => {
    const told: string[] = [];
    const guard = guardOf(
      { ...OPEN, ...options },
      () => undefined,
      (warning) => told.push(warning),
    );
    for (const fact of facts) verdict(guard, request(fact));
    return told;
  };

  test.each(['172.17.0.2', '10.0.0.7', '192.168.1.2', 'fd00::7', '::ffff:10.0.0.7', PUBLIC_ADDRESS])(
    'the log warns at the first request on %s, and at no later one',
    (localAddress) => {
      const facts = { host: 'evil.example', localAddress };
      const [warning, ...more] = warnings({}, { host: 'localhost' }, facts, facts, {
        ...facts,
        localAddress: '10.9.9.9',
      });
      expect(warning).toContain(localAddress);
      expect(warning).toContain('allowedHosts');
      expect(more).toEqual([]);
    },
  );

  test('the log does not warn on a loopback address, on a socket without address, or with allowedHosts', () => {
    const exposed = { host: 'a.example', localAddress: PUBLIC_ADDRESS };
    expect(warnings({}, { host: 'localhost' }, { host: 'evil.example' })).toEqual([]);
    expect(warnings({ allowedHosts: ['a.example'] }, exposed)).toEqual([]);
    expect(warnings({ allowedHosts: [] }, exposed)).toEqual([]);
    const bare = request({ host: 'a.example' });
    const told: string[] = [];
    Object.assign(bare.socket, { localAddress: undefined });
    guardOf(
      OPEN,
      () => undefined,
      (warning) => told.push(warning),
    )(bare);
    expect(told).toEqual([]);
  });
});
