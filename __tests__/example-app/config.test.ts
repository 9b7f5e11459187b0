import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { ConfigError, inVariables, loadConfig } from '../../example-app/src/config.js';
import { editDistance, nearestName } from '../../example-app/src/nearest.js';
import { VARIABLES } from '../../example-app/src/variables.js';
import { quietApp } from './start.js';

/** The text that a value is written as, with what surrounds it in a file or a shell. */
const padded = (text: string) => fc.constantFrom(text, ` ${text}`, `${text} `, `\t${text}\n`);

describe('the configuration from the environment', () => {
  it('leaves to the router every option that is not set, but for MCP_PER_REQUEST', () => {
    const { router, ...rest } = loadConfig({});
    const set = Object.entries(router).filter(([, value]) => value !== undefined);
    expect(set).toEqual([['perRequest', true]]);
    expect(rest).toEqual({
      port: 3000,
      host: '127.0.0.1',
      logLevel: 'info',
      drainTimeoutMs: 10_000,
      keepAliveTimeoutMs: 65_000,
      place: undefined,
      resumable: true,
      sdk: 'v1',
      otlpEndpoint: undefined,
      warnings: [],
    });
  });

  it('takes an empty value for an unset one', () => {
    const empty = Object.fromEntries(VARIABLES.map(({ name }, index) => [name, ' '.repeat(index % 3)]));
    expect(JSON.stringify(loadConfig(empty))).toBe(JSON.stringify(loadConfig({})));
  });

  it('reads any whole number as it is written', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat().chain((number) => fc.tuple(fc.constant(number), padded(String(number)))),
        ([number, text]) => {
          expect(loadConfig({ MCP_SESSION_TTL_MS: text }).router.ttl).toBe(number);
          expect(loadConfig({ MCP_MAX_BODY_BYTES: text }).router.maxBodySize).toBe(number);
        },
      ),
    );
  });

  it('refuses a number that is not digits only, and names the variable, the value and the rule', () => {
    fc.assert(
      fc.property(
        fc
          .oneof(
            fc.string(),
            fc.double({ noDefaultInfinity: true }).map(String),
            fc.constantFrom('30m', '1e3', '0x10', '-1', '+1', '1_000', '1 000', 'NaN', 'Infinity', '9007199254740993'),
          )
          .filter((text) => text.trim() !== '' && !(/^\d+$/.test(text.trim()) && Number.isSafeInteger(Number(text)))),
        (text) => {
          expect(() => loadConfig({ MCP_KEEP_ALIVE_MS: text })).toThrow(
            new ConfigError(
              `MCP_KEEP_ALIVE_MS must be a whole number of milliseconds; got ${JSON.stringify(text.trim())}`,
            ),
          );
        },
      ),
    );
  });

  it('reads true and false in any case, and refuses any other word', () => {
    const cased = (word: string) =>
      fc
        .tuple(...Array.from(word).map((message) => fc.constantFrom(message, message.toUpperCase())))
        .map((all) => all.join(''));
    fc.assert(
      fc.property(
        fc.constantFrom('true', 'false').chain((word) => fc.tuple(fc.constant(word), cased(word))),
        ([word, text]) => {
          expect(loadConfig({ MCP_STATELESS: text }).router.stateless).toBe(word === 'true');
        },
      ),
    );
    fc.assert(
      fc.property(
        fc.string().filter((text) => !/^\s*(true|false)?\s*$/i.test(text)),
        (text) => {
          expect(() => loadConfig({ MCP_STATELESS: text })).toThrow(
            `MCP_STATELESS must be true or false; got ${JSON.stringify(text.trim())}`,
          );
        },
      ),
    );
  });

  it('reads a list as its entries without the spaces around them, and refuses one with an empty entry', () => {
    const entry = fc.stringMatching(/^[a-z0-9.:-]{1,20}$/);
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1 }), fc.constantFrom(',', ', ', ' ,\t'), (entries, comma) => {
        expect(loadConfig({ MCP_ALLOWED_HOSTS: entries.join(comma) }).router.allowedHosts).toEqual(entries);
        for (const text of [
          [...entries, ''],
          ['', ...entries],
        ].map((all) => all.join(comma))) {
          expect(() => loadConfig({ MCP_ALLOWED_HOSTS: text })).toThrow(
            `MCP_ALLOWED_HOSTS must be a list, its entries separated by commas; got ${JSON.stringify(text.trim())}`,
          );
        }
      }),
    );
  });

  it.each([
    ['PORT', '65536', 'a port from 0 to 65535'],
    ['LOG_LEVEL', 'loud', 'one of fatal, error, warn, info, debug, trace, silent'],
    ['MCP_DRAIN_TIMEOUT_MS', '2147483648', 'a whole number of milliseconds from 0 to 2147483647'],
  ])('refuses %s=%s, which the router never sees', (name, value, wanted) => {
    expect(() => loadConfig({ [name]: value })).toThrow(
      new ConfigError(`${name} must be ${wanted}; got ${JSON.stringify(value)}`),
    );
  });

  it.each([
    [
      { MCP_SESSION_TTL_MS: '0' },
      'MCP_SESSION_TTL_MS must be a whole number of milliseconds from 1 to 2147483647; got 0',
    ],
    [
      { MCP_SESSION_TTL_MS: '1000', MCP_ORPHAN_AFTER_MS: '2000' },
      'MCP_ORPHAN_AFTER_MS must be at most MCP_SESSION_TTL_MS (1000); got 2000',
    ],
    [
      { MCP_SESSIONS: 'false', MCP_PER_REQUEST: 'false' },
      'MCP_SESSIONS must be true without MCP_PER_REQUEST, or no client is served; got false',
    ],
    [{ MCP_STATELESS: 'true', MCP_RESUMABLE: 'true' }, 'MCP_RESUMABLE has no meaning with MCP_STATELESS: true'],
    [{ MCP_AUTH_TRUST_PROXY_IDENTITY: 'true', MCP_AUTH_PROXY_HEADER: 'x user' }, 'MCP_AUTH_PROXY_HEADER must be'],
    [
      { MCP_AUTH_TRUST_PROXY_IDENTITY: 'true', MCP_AUTH_TRUSTED_PROXIES: 'proxy.local' },
      'MCP_AUTH_TRUSTED_PROXIES must',
    ],
    [
      { MCP_HIBERNATE_AFTER_MS: '1740000' },
      'MCP_HIBERNATE_AFTER_MS must be less than MCP_SESSION_TTL_MS - MCP_ORPHAN_AFTER_MS (1740000)',
    ],
  ])('says in terms of variables what the package refuses: %j', async (env, message) => {
    const refused = quietApp(env);
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(message);
  });

  it.each([
    [{ MCP_SESSION_STORE: 'postgres' }, 'MCP_SESSION_STORE must be one of memory, file, redis; got "postgres"'],
    [{ MCP_SESSION_STORE: 'file' }, 'MCP_SESSION_FILE is needed with MCP_SESSION_STORE=file'],
    [{ MCP_SESSION_STORE: 'redis' }, 'MCP_REDIS_URL is needed with MCP_SESSION_STORE=redis'],
    [
      { MCP_SESSION_STORE: 'memory', MCP_STATELESS: 'true', MCP_PER_REQUEST: 'false' },
      'MCP_SESSION_STORE has no meaning with MCP_STATELESS: true, which keeps no sessions',
    ],
  ])('refuses, before anything is opened, %j', (env, message) => {
    expect(() => loadConfig(env)).toThrow(new ConfigError(message));
  });

  it('reads where sessions are recorded', () => {
    const file = { MCP_SESSION_STORE: 'FILE', MCP_SESSION_FILE: '/var/lib/mcp' };
    expect(loadConfig(file).place).toEqual({ kind: 'file', path: '/var/lib/mcp' });
    const redis = { MCP_SESSION_STORE: 'redis', MCP_REDIS_URL: 'rediss://u:p@redis:6380/1' };
    expect(loadConfig(redis).place).toEqual({ kind: 'redis', url: 'rediss://u:p@redis:6380/1' });
    expect(loadConfig({ MCP_SESSION_STORE: 'memory' }).place).toEqual({ kind: 'memory' });
  });

  it('does not repeat a wrong Redis URL, as it may hold a password', () => {
    for (const url of ['http://u:secret@redis', 'redis:secret@host/x', 'u:secret@redis:6379', 'redis://:secret@h/db']) {
      expect(() => loadConfig({ MCP_REDIS_URL: url })).toThrow(
        new ConfigError('MCP_REDIS_URL must be a URL such as redis://localhost:6379/0, with rediss for TLS'),
      );
    }
  });

  it('does not report a fault of the code as a bad value', () => {
    for (const fault of [new TypeError('x is not a function'), new Error('mcpRouter: no'), new RangeError('ttl')]) {
      const thrown = (): never => {
        throw fault;
      };
      expect(() => inVariables(thrown)).toThrow(fault);
      expect(() => inVariables(thrown)).not.toThrow(ConfigError);
    }
  });

  it('wants a principal of every request once it trusts a proxy to name them', () => {
    expect(loadConfig({ MCP_AUTH_TRUST_PROXY_IDENTITY: 'true' }).router).toMatchObject({ requirePrincipal: true });
    expect(loadConfig({ MCP_AUTH_TRUST_PROXY_IDENTITY: 'false' }).router).not.toHaveProperty('principal');
  });

  it('starts alike with .env.example as it is, and with every line of it in force', async () => {
    const lines = [...readFileSync('.env.example', 'utf8').matchAll(/^#([A-Z_]+)=(.*)$/gm)];
    const inForce = Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value]));
    expect(Object.keys(inForce)).toHaveLength(VARIABLES.length);
    await quietApp(inForce);
    expect(loadConfig(inForce)).toMatchObject({ ...loadConfig({}), router: {} });
  });

  it('keeps no events when stateless, as there is nothing to resume', async () => {
    expect(loadConfig({ MCP_STATELESS: 'true' }).resumable).toBe(false);
    expect(loadConfig({ MCP_RESUMABLE: 'false' }).resumable).toBe(false);
    expect(loadConfig({ MCP_STATELESS: 'false' }).resumable).toBe(true);
    await quietApp({ MCP_STATELESS: 'true' });
  });

  it('warns of MCP_SESSION_FILE and MCP_REDIS_URL without MCP_SESSION_STORE', () => {
    expect(loadConfig({ MCP_SESSION_FILE: '/x', MCP_REDIS_URL: 'redis://redis' }).warnings).toEqual([
      'MCP_SESSION_FILE has no effect without MCP_SESSION_STORE=file',
      'MCP_REDIS_URL has no effect without MCP_SESSION_STORE=redis or MCP_CLUSTER=true',
    ]);
    expect(loadConfig({ MCP_SESSION_FILE: '/x', MCP_SESSION_STORE: 'memory' }).warnings).toEqual([]);
  });

  it('warns of proxy settings that do nothing, as MCP_AUTH_TRUST_PROXY_IDENTITY is not set', () => {
    expect(loadConfig({ MCP_AUTH_TRUSTED_PROXIES: '10.0.0.1' }).warnings).toEqual([
      'MCP_AUTH_TRUSTED_PROXIES has no effect without MCP_AUTH_TRUST_PROXY_IDENTITY=true',
    ]);
    for (const decided of ['true', 'false']) {
      const env = { MCP_AUTH_TRUSTED_PROXIES: '10.0.0.1', MCP_AUTH_TRUST_PROXY_IDENTITY: decided };
      expect(loadConfig(env).warnings).toEqual([]);
    }
  });
});

describe('an unknown MCP_ variable', () => {
  it.each([
    ['MCP_SESSION_TTL', 'MCP_SESSION_TTL_MS'],
    ['MCP_ALLOWED_HOST', 'MCP_ALLOWED_HOSTS'],
    ['MCP_PORT', 'PORT'],
  ])('%s is warned of with the nearest known name, %s', (name, nearest) => {
    expect(loadConfig({ [name]: '1' }).warnings).toEqual([
      `${name} is not a variable of this app; did you mean ${nearest}?`,
    ]);
  });

  it('is warned of without a guess where none is near, and never stops the start (Kubernetes injects such names)', () => {
    const injected = {
      MCP_SERVICE_HOST: '10.0.0.1',
      MCP_SERVICE_PORT: '3000',
      MCP_PORT_3000_TCP: 'tcp://10.0.0.1:3000',
      MCP_PORT_3000_TCP_PROTO: 'tcp',
      MCP_PORT_3000_TCP_ADDR: '10.0.0.1',
      MCP_HOSTNAME: 'mcp-7d9f',
    };
    expect(loadConfig(injected).warnings).toEqual(
      Object.keys(injected).map((name) => `${name} is not a variable of this app`),
    );
  });

  it('is not warned of when it is empty or has another prefix', () => {
    expect(loadConfig({ MCP_NONSENSE: '', MCPX: '1', PROT: '1' }).warnings).toEqual([]);
  });
});

describe('the distance between two names', () => {
  it('is that of Levenshtein', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('', 'AB')).toBe(2);
  });

  it('finds the name itself among others, whatever the order', () => {
    const names = VARIABLES.map(({ name }) => name);
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: 1 }), fc.nat(), (known, at) => {
        const name = known[at % known.length]!;
        expect(nearestName(name, known, 'MCP_')).toBe(name);
      }),
    );
  });
});
