import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { ConfigError, loadConfig } from '../../example-app/src/config.js';
import { VARIABLES } from '../../example-app/src/variables.js';
import { quietApp } from './start.js';

const SECRET = 'thirty-two bytes at least, in all';
/** Nothing listens there, and no test waits for a connection. */
const REDIS = 'redis://127.0.0.1:1';
const CLUSTER = { MCP_CLUSTER: 'true', MCP_CLUSTER_SECRET: SECRET, MCP_REDIS_URL: REDIS };
const COMPANIONS = {
  MCP_CLUSTER_SECRET: SECRET,
  MCP_CLUSTER_HOST: '0.0.0.0',
  MCP_CLUSTER_PORT: '7000',
  MCP_CLUSTER_ADVERTISE: '10.0.0.1',
  MCP_CLUSTER_ROUTING: 'migrate',
};

type Case = [env: Record<string, string>, message: string];

describe('the configuration of a cluster', () => {
  // A client of Redis that is closed lets its wait for the next try pass first, and would hold up the end of the tests.
  afterAll(() => sleep(600));

  it('is read whether or not Redis is named as the session store too', () => {
    const options = { secret: SECRET, host: '127.0.0.1', port: 0, advertise: undefined, routing: 'forward' };
    for (const store of [{}, { MCP_SESSION_STORE: 'redis' }]) {
      const { place, warnings } = loadConfig({ ...CLUSTER, ...store });
      expect({ place, warnings }).toEqual({ place: { kind: 'cluster', url: REDIS, options }, warnings: [] });
    }
    const given = { secret: SECRET, host: '0.0.0.0', port: 7000, advertise: '10.0.0.1', routing: 'migrate' };
    const { place, warnings } = loadConfig({ ...CLUSTER, ...COMPANIONS });
    expect({ place, warnings }).toEqual({ place: { kind: 'cluster', url: REDIS, options: given }, warnings: [] });
  });

  it('is only that of a cluster where MCP_CLUSTER is true', () => {
    expect(loadConfig({ ...CLUSTER, MCP_CLUSTER: 'false' }).place).toBeUndefined();
    const redis = { ...CLUSTER, MCP_CLUSTER: '', MCP_SESSION_STORE: 'redis' };
    expect(loadConfig(redis).place).toEqual({ kind: 'redis', url: REDIS });
  });

  it('takes as its secret any text of at least 32 bytes, and never repeats one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (given) => {
        const text = given.trim();
        const read = () => loadConfig({ ...CLUSTER, MCP_CLUSTER_SECRET: given });
        if (Buffer.byteLength(text) >= 32) {
          expect(read().place).toMatchObject({ options: { secret: text } });
          return;
        }
        const wrong = text === '' ? 'is needed with MCP_CLUSTER=true' : 'must be a text of at least 32 bytes';
        expect(read).toThrow(new ConfigError(`MCP_CLUSTER_SECRET ${wrong}`));
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    [{ MCP_CLUSTER: 'yes' }, 'MCP_CLUSTER must be true or false; got "yes"'],
    [{ MCP_CLUSTER: 'true', MCP_CLUSTER_SECRET: SECRET }, 'MCP_REDIS_URL is needed with MCP_CLUSTER=true'],
    [{ MCP_CLUSTER: 'true', MCP_REDIS_URL: REDIS }, 'MCP_CLUSTER_SECRET is needed with MCP_CLUSTER=true'],
    ...['memory', 'file'].map((store): Case => [
      { ...CLUSTER, MCP_SESSION_STORE: store, MCP_SESSION_FILE: '/x' },
      `MCP_SESSION_STORE=${store} has no meaning with MCP_CLUSTER=true, which records sessions in Redis; leave out one of them`,
    ]),
    [
      { ...CLUSTER, MCP_STATELESS: 'true', MCP_PER_REQUEST: 'false' },
      'MCP_CLUSTER has no meaning with MCP_STATELESS: true, which keeps no sessions',
    ],
    [
      { ...CLUSTER, MCP_CLUSTER_ROUTING: 'sticky' },
      'MCP_CLUSTER_ROUTING must be one of forward, migrate; got "sticky"',
    ],
    [{ ...CLUSTER, MCP_CLUSTER_PORT: '65536' }, 'MCP_CLUSTER_PORT must be a port from 0 to 65535; got "65536"'],
  ] as Case[])('refuses, before anything is opened, %j', (env, message) => {
    expect(() => loadConfig(env)).toThrow(new ConfigError(message));
  });

  it.each([
    [
      { MCP_CLUSTER_HOST: '0.0.0.0' },
      'MCP_CLUSTER_ADVERTISE must be given with MCP_CLUSTER_HOST 0.0.0.0, by which no other node can reach this one',
    ],
    [{ MCP_CLUSTER_HOST: 'a host' }, 'MCP_CLUSTER_HOST must be a host name or an IP address'],
    [{ MCP_CLUSTER_ADVERTISE: 'node:?' }, 'MCP_CLUSTER_ADVERTISE must be a host name or an IP address'],
  ] as Case[])('says in terms of variables what the package refuses: %j', async (env, message) => {
    const refused = quietApp({ ...CLUSTER, ...env });
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(message);
  });

  it('warns of cluster variables that have no effect without MCP_CLUSTER', () => {
    const companions = Object.keys(COMPANIONS);
    expect(companions).toEqual(VARIABLES.map(({ name }) => name).filter((name) => name.startsWith('MCP_CLUSTER_')));
    expect(loadConfig(COMPANIONS).warnings).toEqual(
      companions.map((name) => `${name} has no effect without MCP_CLUSTER=true`),
    );
    expect(loadConfig({ ...COMPANIONS, MCP_CLUSTER: 'false' }).warnings).toEqual([]);
  });
});
