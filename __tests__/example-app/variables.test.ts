import { readFileSync } from 'node:fs';
import { APP, VARIABLES } from '../../example-app/src/variables.js';
import { resolveCluster } from '../../src/options/resolve-cluster.js';
import { resolveOptions } from '../../src/options/resolve.js';

interface Row {
  readonly name: string;
  readonly fallback: string;
  readonly about: string;
}

const routerDefaults = resolveOptions({ serverFactory: () => ({ connect: async () => {}, close: async () => {} }) });

/** As it stands in a file: a list with commas, and nothing where there is no default. */
const written = (value: unknown): string => [value].flat().join(',');

const IN_CODE: readonly Row[] = VARIABLES.map((variable) => {
  const value = 'option' in variable ? routerDefaults[variable.option] : variable.fallback;
  return { name: variable.name, fallback: written(value), about: variable.about };
});

const envExample = readFileSync('.env.example', 'utf8');
const readme = readFileSync('example-app/README.md', 'utf8');

describe("the example app's list of environment variables", () => {
  it('is in .env.example, each with its explanation above it and its default, and no other is', () => {
    const rows = [...envExample.matchAll(/^# (.+)\n#(\w+)=(.*)$/gm)].map(([, about, name, fallback]) => ({
      name,
      fallback,
      about,
    }));
    expect(rows).toEqual(IN_CODE);
    expect(envExample.match(/^#?\s*[A-Z_]+\s*=/gm)).toHaveLength(IN_CODE.length);
  });

  it('is in the README, each with its default and its explanation, and no other is', () => {
    const rows = readme
      .split('\n')
      .filter((line) => /^\| `[A-Z_]+` /.test(line))
      .map((line) => {
        const [, name = '', fallback = '', about = ''] = line.split('|').map((cell) => cell.trim());
        return { name: name.replaceAll('`', ''), fallback: fallback.replaceAll('`', ''), about };
      });
    expect(rows).toEqual(IN_CODE);
    const named = new Set(readme.match(/\bMCP_[A-Z_]+\b/g));
    expect([...named].filter((name) => !IN_CODE.some((row) => row.name === name))).toEqual([]);
  });

  it('is MCP_-prefixed but for the three names that every platform sets', () => {
    const others = IN_CODE.map(({ name }) => name).filter((name) => !name.startsWith('MCP_'));
    expect(others).toEqual(['PORT', 'HOST', 'LOG_LEVEL']);
  });

  it('names each variable and each router option once', () => {
    const names = IN_CODE.map(({ name }) => name);
    const options = VARIABLES.flatMap((variable) => ('option' in variable ? [variable.option] : []));
    expect(names).toEqual([...new Set(names)]);
    expect(options).toEqual([...new Set(options)]);
  });

  it('has one for each option of the router but those that are no text', () => {
    const set: string[] = VARIABLES.flatMap((variable) => ('option' in variable ? [variable.option] : []));
    expect(Object.keys(routerDefaults).filter((option) => !set.includes(option))).toEqual([
      'serverFactory',
      'perRequest', // MCP_PER_REQUEST, which is on in this app
      'principal', // MCP_AUTH_TRUST_PROXY_IDENTITY and its two companions
      'requirePrincipal', // the same
      'resourceMetadataUrl', // of an OAuth resource server, which this app is not
      'eventStore', // MCP_RESUMABLE
      'store', // MCP_SESSION_STORE and its two companions
      'cluster', // MCP_CLUSTER and its companions
      'metrics',
      'telemetry', // MCP_OTLP_ENDPOINT
      'logger', // LOG_LEVEL
      'path',
      'sessionIdGenerator',
      'clock',
    ]);
  });

  it("has the router's own defaults for what makes a cluster", () => {
    const secret = 'long enough to be taken for a secret';
    const defaults = resolveCluster({ redis: { sendCommand: () => Promise.resolve() }, secret });
    expect([APP.clusterHost, APP.clusterPort, APP.clusterRouting].map(({ fallback }) => fallback)).toEqual([
      defaults.host,
      defaults.port,
      defaults.routing,
    ]);
    expect(defaults.advertise).toBe(defaults.host);
  });

  it('parses every default of its own back into that default', () => {
    for (const variable of VARIABLES) {
      const value = 'option' in variable ? routerDefaults[variable.option] : variable.fallback;
      const text = written(value);
      if (text !== '') expect([variable.name, variable.kind.parse(text)]).toEqual([variable.name, value]);
    }
  });
});
