import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, createClientPool, createSentinel } from 'redis';
import { createClientPool as createClientPool5, createSentinel as createSentinel5 } from 'redis5';
import { redisStore, type NodeRedisSentinel } from '../../src/stores/redis.js';
import { ensureDebianTool } from '../support/debian.js';
import { freePort } from '../support/free-port.js';
import { killWithThisProcess } from '../support/watchdog.js';
import type { Connect } from '../support/redis-clients.js';
import { until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster } from './in-process.js';

let cluster: InProcessCluster;
let sentinel: ChildProcess;
let disarm: () => void;
let folder: string;
let port: number;
beforeAll(async () => {
  cluster = await InProcessCluster.start();
  folder = await mkdtemp(join(tmpdir(), 'sentinel-'));
  port = await freePort();
  const file = join(folder, 'sentinel.conf');
  const monitor = `sentinel monitor main 127.0.0.1 ${cluster.redis.port} 1`;
  await writeFile(file, `port ${port}\nbind 127.0.0.1\ndir ${folder}\n${monitor}\n`);
  const server = await ensureDebianTool('redis-server', 'redis-server');
  sentinel = spawn(server, [file, '--sentinel'], { stdio: 'ignore' });
  disarm = killWithThisProcess(sentinel.pid!);
  await until('Sentinel answers', async () => {
    const client = createClient({ url: `redis://127.0.0.1:${port}`, socket: { reconnectStrategy: false } });
    client.on('error', () => undefined);
    const answers = await client.connect().then(
      () => true,
      () => false,
    );
    if (answers) client.destroy();
    return answers;
  });
}, 300_000);
afterEach(() => cluster.clear());
afterAll(async () => {
  const exited = once(sentinel, 'exit');
  sentinel.kill('SIGKILL');
  await exited;
  disarm();
  await rm(folder, { recursive: true, force: true });
  await cluster.stop();
});

const options = () => ({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port }] });

interface Sentinel extends NodeRedisSentinel {
  on(event: 'error', listener: () => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
}

const connected =
  (create: () => Sentinel): Connect =>
  async () => {
    const client = create();
    client.on('error', () => undefined);
    await client.connect();
    let open = true;
    const close = (): unknown => {
      if (open) client.destroy();
      open = false;
      return undefined;
    };
    return { access: { client }, ask: (...args) => client.sendCommand(false, args), close };
  };

test.each([
  ['redis 6', connected(() => createSentinel(options()))],
  ['redis 5', connected(() => createSentinel5(options()))],
])(
  'a cluster works on the Sentinel client of %s, given as client (docs/scaling.md: any client of Redis)',
  async (_name, connect) => {
    const [a, b] = await cluster.nodes(2, { connect });
    const session = await AnyNodeSession.open(a!.url);
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'a', epoch: 0, count: 1 });
    await a!.close();
    expect(await session.call(b!.url, 'add')).toMatchObject({ node: 'b', epoch: 1, count: 2 });
    expect((await session.delete(b!.url)).status).toBe(200);
    expect(b!.lines('failure')).toEqual([]);
  },
);

test.each([
  ['redis 6', () => createClientPool({ url: 'redis://127.0.0.1:1' })],
  ['redis 5', () => createClientPool5({ url: 'redis://127.0.0.1:1' })],
])('a pool of %s is refused at construction, and the error says what to hand over', (_name, create) => {
  const refused = (): unknown => redisStore({ client: create() });
  expect(refused).toThrow(TypeError);
  expect(refused).toThrow(/option client must be a client of createClient or createSentinel, and no pool/);
});
