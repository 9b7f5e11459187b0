import { RedisServer } from '../support/redis-server.js';
import { soon, until } from '../support/waiting.js';
import { AppProcesses, type AppProcess } from './app-process.js';
import { LastingClient } from './lasting-clients.js';

const processes = new AppProcesses();
let redis: RedisServer;
beforeAll(async () => {
  processes.build();
  redis = await RedisServer.start();
});
afterAll(() => redis.stop());

const NOTES = '1: milk\n2: bread\n3: tea';

interface Node {
  readonly url: string;
  readonly app: AppProcess;
}

let nodes: Node[] = [];
let client: LastingClient;
/** Answers to POSTs, by the node that was asked. */
const answers = new Map<string, number>();

/** Whoever is ready takes the next request in turn, as a balancer would have it that knows nothing of sessions. */
let turn = 0;
const roundRobin: typeof fetch = async (target, init) => {
  for (let tries = 0; tries < nodes.length; tries += 1) {
    const { url } = nodes[(turn += 1) % nodes.length]!;
    const ready = await fetch(`${url}/readyz`).catch(() => undefined);
    await ready?.body?.cancel();
    if (ready?.ok !== true) continue;
    const { pathname } = new URL(target instanceof Request ? target.url : target);
    const response = await fetch(new URL(pathname, url), init);
    if (init?.method === 'POST') answers.set(url, (answers.get(url) ?? 0) + 1);
    return response;
  }
  throw new Error('no node is ready');
};

/** A sample of each node that lives, by what the node itself says. */
async function metric(sample: string): Promise<Map<Node, number>> {
  const read = async (node: Node): Promise<[Node, number]> => {
    const text = await (await fetch(`${node.url}/metrics`)).text();
    const line = text.split('\n').find((line) => line.startsWith(`${sample} `));
    return [node, Number(line?.slice(sample.length + 1))];
  };
  return new Map(await Promise.all(living().map(read)));
}

const living = (): Node[] => nodes.filter(({ app: { child } }) => child.exitCode === null && child.signalCode === null);
const sum = async (sample: string): Promise<number> =>
  [...(await metric(sample)).values()].reduce((all, value) => all + value);

async function owner(): Promise<Node> {
  const [found, ...others] = [...(await metric('mcp_cluster_owned'))].filter(([, owned]) => owned > 0);
  expect(others).toEqual([]);
  return found![0];
}

beforeEach(async () => {
  const env = {
    MCP_CLUSTER: 'true',
    MCP_CLUSTER_SECRET: 'of the nodes of this test and of nobody else',
    MCP_REDIS_URL: redis.url,
    MCP_RETRY_INTERVAL_MS: '200',
  };
  const apps = Array.from({ length: 3 }, () => processes.start(['--port', '0'], env));
  nodes = await Promise.all(apps.map(async (app) => ({ app, url: await app.url() })));
  const areReady = () => Promise.all(nodes.map(async ({ url }) => (await fetch(`${url}/readyz`)).ok));
  await until('all nodes are members', async () => !(await areReady()).includes(false));
  answers.clear();
  client = await LastingClient.v1(nodes[0]!.url, roundRobin);
  for (const text of ['milk', 'bread', 'tea']) await client.call('add_note', { text });
  await client.sdk.setLoggingLevel('warning');
  await client.sdk.subscribeResource({ uri: 'notes://1' });
});
afterEach(async () => {
  await client.sdk.close();
  await processes.killAll();
});

/** Every live node answers, and the client gets each notification once. */
async function expectAllThere(): Promise<void> {
  await until('the GET stream is open', async () => (await sum('mcp_streams_open{kind="standalone"}')) === 1);
  client.logged.length = client.updated.length = 0;
  answers.clear();
  for (let n = 0; n < 3; n += 1) {
    expect(await client.call('list_notes')).toBe(NOTES);
    await client.call('announce', { text: 'below', level: 'notice' });
    await client.call('edit_note', { id: '2', text: 'bread' });
    await client.call('edit_note', { id: '1', text: 'milk' });
    await client.call('announce', { text: String(n), level: 'warning' });
  }
  await until('the last is heard', () => client.logged.at(-1) === '2');
  expect(client.logged).toEqual(['0', '1', '2']);
  expect(client.updated).toEqual(Array(3).fill('notes://1'));
  expect([...answers.keys()].sort()).toEqual(
    living()
      .map(({ url }) => url)
      .sort(),
  );
}

it('SIGTERM of the owner: calls in flight finish, those that come meanwhile are answered, and the next node goes on', async () => {
  const { app } = await owner();
  let signalled = false;
  const inFlight = client.countdown(() => (signalled ||= app.child.kill('SIGTERM')));
  while (living().length === 3) expect(await client.call('list_notes')).toBe(NOTES);
  expect(await inFlight).toMatchObject({ content: [{ text: 'Counted down from 2.' }] });
  expect(await soon('it ends', app.exited)).toMatchObject({ code: 0, signal: null });
  expect(living()).toHaveLength(2);
  await expectAllThere();
  expect(await sum('mcp_cluster_claimed_total')).toBe(1);
});

it('notes, log level, subscriptions and the GET stream are there whichever node answers, and go on after kill -9 of the owner', async () => {
  await expectAllThere();
  expect(await sum('mcp_sessions_opened_total')).toBe(1);
  expect(await sum('mcp_sessions_restored_total')).toBe(0);
  expect(await sum('mcp_cluster_forwarded_total{outcome="answered"}')).toBeGreaterThan(0);

  const { app } = await owner();
  app.child.kill('SIGKILL');
  await app.exited;
  expect(await client.call('list_notes')).toBe(NOTES);
  await expectAllThere();
  expect(await sum('mcp_cluster_claimed_total')).toBe(1);
});
