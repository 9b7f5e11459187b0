import nodeCluster from 'node:cluster';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { notReached } from '../../src/cluster/membership/unreachable.js';
import { FakeClock } from '../support/fake-clock.js';
import { freePort } from '../support/free-port.js';
import { soon, until } from '../support/waiting.js';
import { AnyNodeSession } from './any-node.js';
import { InProcessCluster, type InProcessNode, type InProcessNodeInit } from './in-process.js';

let cluster: InProcessCluster;
let others: Server[] = [];
beforeAll(async () => {
  cluster = await InProcessCluster.start();
}, 300_000);
afterEach(async () => {
  for (const other of others) other.close();
  others = [];
  await cluster.clear();
});
afterAll(() => cluster.stop());

/** Starts a node, and does not wait until it has joined. */
function joining(times: NonNullable<InProcessNodeInit['times']>, init: InProcessNodeInit = {}): Promise<InProcessNode> {
  return cluster.node({ ...init, name: 'late', joins: false, times });
}

/** The first failure in the node's log, once there is one. */
async function complaint(node: InProcessNode): Promise<{ what: unknown; message: string }> {
  await until('it says why it does not join', () => node.lines('failure').length > 0);
  const [{ what, err }] = node.lines('failure') as [{ what: unknown; err: { message: string } }];
  return { what, message: err.message };
}

async function taken(host: string): Promise<{ port: number; free: () => Promise<unknown> }> {
  const port = await freePort();
  const other = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n')).listen(port, host);
  others.push(other);
  await once(other, 'listening');
  return {
    port,
    free: () => {
      other.close();
      return once(other, 'close');
    },
  };
}

describe('a node joins only if it reaches itself at the address that it advertises (docs/scaling.md, "The private listener")', () => {
  test('a fixed port that is taken is named in the log, once; ready is 503, and the node joins when the port is free', async () => {
    const { port, free } = await taken('127.0.0.1');
    const node = await joining({ port });
    const { what, message } = await complaint(node);
    expect(what).toBe('cluster: this node is not reached');
    expect(message).toContain(`cannot listen for other nodes on port ${port} of 127.0.0.1: it is taken`);
    expect(message).toContain('cluster.port');
    expect(await node.ready()).toBe(503);
    await free();
    await until('it has joined', async () => (await node.ready()) === 200);
    expect(node.lines('failure')).toHaveLength(1);
    const session = await AnyNodeSession.open(node.url);
    expect(await session.call(node.url, 'add')).toMatchObject({ node: 'late', count: 1 });
  });

  test('an address where nothing answers is named in the log, and the node does not join', async () => {
    const node = await joining({ host: '127.0.0.1', advertise: '127.0.0.2' });
    const { message } = await complaint(node);
    expect(message).toMatch(/does not reach itself at 127\.0\.0\.2:\d+, .*: nothing that is a node answers there/);
    expect(await node.ready()).toBe(503);
    expect(await cluster.ask('KEYS', `${cluster.prefix}node:*`)).toEqual([]);
    const response = await fetch(node.url, { method: 'POST' });
    expect(response.status).toBeGreaterThanOrEqual(400);
  });

  test('an address where another server answers does not count as this node', async () => {
    const { port } = await taken('127.0.0.1');
    const node = await joining({ host: '127.0.0.2', port, advertise: '127.0.0.1' });
    const { message } = await complaint(node);
    expect(message).toContain(`does not reach itself at 127.0.0.1:${port}`);
    expect(message).toContain('nothing that is a node answers there');
    expect(await node.ready()).toBe(503);
  });

  test('an address where another node answers does not count as this node, though both have the same secret', async () => {
    const port = await freePort();
    const first = await cluster.node({ name: 'a', times: { port } });
    const node = await joining({ host: '127.0.0.2', port, advertise: '127.0.0.1' });
    const { message } = await complaint(node);
    expect(message).toContain(`127.0.0.1:${port}`);
    expect(message).toContain('another process answers there (notThis)');
    expect([await first.ready(), await node.ready()]).toEqual([200, 503]);
  });

  test('a node whose probe of itself hangs can be closed at once', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    others.push(silent);
    await once(silent, 'listening');
    const called = once(silent, 'connection');
    const { port } = silent.address() as AddressInfo;
    // No timer ends the call.
    const node = await joining({ host: '127.0.0.2', port, advertise: '127.0.0.1' }, { clock: new FakeClock() });
    await called;
    await soon('it is closed', node.close());
  });

  test('with routing: migrate no node calls another, and a node joins even if its address is wrong', async () => {
    const node = await cluster.node({ name: 'a', times: { routing: 'migrate', advertise: '127.0.0.2' } });
    expect(await node.ready()).toBe(200);
    expect(node.lines('failure')).toEqual([]);
  });

  test('a port that this process may not bind is named in the log with the reason of the system', async () => {
    // RFC 5737: an address of documentation, which no interface of a machine has.
    const node = await joining({ host: '192.0.2.1' });
    const { what, message } = await complaint(node);
    expect(what).toBe('cluster: this node is not reached');
    expect(message).toMatch(/cannot listen for other nodes on port 0 of 192\.0\.2\.1: .*EADDRNOTAVAIL/);
    expect(await node.ready()).toBe(503);
  });

  test('the log names the address that is not reached, and the options to check, and blames no shared port', () => {
    const lease = { id: 'a', host: '10.0.0.7', port: 7_000, proof: undefined, challenge: 'c', leaving: false };
    const message = (): string => notReached(lease, 'notThis').message;
    const worker = jest.replaceProperty(nodeCluster, 'isWorker', true);
    expect(message()).toMatch(
      /10\.0\.0\.7:7000, .* Are the options cluster.host, cluster.port and cluster.advertise right/,
    );
    expect(message()).not.toContain('node:cluster');
    worker.restore();
  });
});
